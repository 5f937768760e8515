//! Commands to pools, with a supervisor whose appliance is the test.

mod common;

use common::{Result, within};
use image::config::Supervision;
use model::control::CONTROL_PORT;
use model::control::frame::{Decoder, encode};
use model::control::message::{Answer, Ask, Message, PREAMBLE, PoolInfo, Refusal, Request};
use model::id::PoolId;
use model::pool::{PoolState, Service};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use weir::host::child::Launcher;
use weir::host::programs::Programs;
use weir::supervisor::{Handle, Outcome, PoolOrder, PoolPlan, Supervisor};
use weir::vm::Host;

const POOL: &str = "app";

/// The appliance's end of the control connection.
struct Appliance {
    stream: BufReader<UnixStream>,
    decoder: Decoder,
    /// State of the pool to report.
    state: PoolState,
}

impl Appliance {
    /// Accepts the supervisor's connection.
    async fn accept(listener: &UnixListener) -> Result<Self> {
        let mut stream = BufReader::new(listener.accept().await?.0);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        assert_eq!(line, format!("CONNECT {CONTROL_PORT}\n"));
        stream.write_all(b"OK 1\n").await?;
        stream.write_all(&PREAMBLE).await?;
        Ok(Self { stream, decoder: Decoder::default(), state: PoolState::Running })
    }

    /// The next request, not answered yet.
    async fn next(&mut self) -> Result<Ask> {
        let mut bytes = [0; 1024];
        loop {
            if let Some(ask) = self.decoder.next_message::<Ask>()? {
                return Ok(ask.ok_or("a request that cannot be read")?);
            }
            let n = self.stream.read(&mut bytes).await?;
            if n == 0 {
                return Err("the supervisor has closed the connection".into());
            }
            self.decoder.push(&bytes[..n]);
        }
    }

    async fn reply(&mut self, ask: &Ask) -> Result {
        let result: std::result::Result<Answer, Refusal> = Ok(match ask.request {
            Request::Pools(PoolId(0)) => Answer::Pools(vec![PoolInfo {
                out: None,
                name: POOL.into(),
                state: self.state as u8,
                waiting: 0,
                in_hand: 0,
                workers: Vec::new(),
            }]),
            Request::Pools(_) => Answer::Pools(Vec::new()),
            _ => Answer::Done,
        });
        let mut frame = Vec::new();
        assert!(encode(&Message::Reply { id: ask.id, result }, &mut frame));
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Replies to everything until a `wanted` request arrives, which stays unanswered.
    async fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Result<Ask> {
        loop {
            let ask = self.next().await?;
            if wanted(&ask.request) {
                return Ok(ask);
            }
            self.reply(&ask).await?;
        }
    }
}

/// A supervisor of one pool without workers.
struct Bench {
    directory: TempDir,
    listener: UnixListener,
}

impl Bench {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let listener = UnixListener::bind(directory.path().join("vsock"))?;
        Ok(Self { directory, listener })
    }

    fn start(&self) -> Result<Handle> {
        let plan = PoolPlan {
            secured: false,
            name: POOL.into(),
            policy: Supervision::default(),
            places: Vec::new(),
            addresses: Vec::new(),
        };
        let nothing = || PathBuf::from("/nonexistent");
        let programs = Programs { qemu: nothing(), vsock_daemon: nothing(), passt: None };
        let host = Host { launcher: Launcher::through(&nothing()), programs };
        let directory = self.directory.path();
        let (handle, _, running) =
            Supervisor::start(vec![plan], host, directory.to_owned(), directory.join("vsock"), false)?;
        spawn_local(async { drop(running.await) });
        Ok(handle)
    }
}

fn give(handle: &Handle, order: PoolOrder) -> JoinHandle<Option<Outcome>> {
    let handle = handle.clone();
    spawn_local(async move { handle.order(POOL, order).await })
}

/// Lets every task run that can.
async fn all_have_had_their_turn() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

#[tokio::test]
async fn an_order_is_answered_when_it_is_in_force() -> Result {
    within(async {
        let bench = Bench::new()?;
        let handle = bench.start()?;
        let mut appliance = Appliance::accept(&bench.listener).await?;
        for (order, service, state) in [
            (PoolOrder::Stop, Service::Offline, PoolState::Disabled),
            (PoolOrder::Start, Service::Open, PoolState::Initialized),
        ] {
            let ordered = give(&handle, order);
            let told = appliance
                .until(|request| matches!(request, Request::SetService { service: told, .. } if *told == service))
                .await?;
            all_have_had_their_turn().await;
            assert!(!ordered.is_finished(), "{order:?} was answered before the appliance had taken it");
            appliance.state = state;
            appliance.reply(&told).await?;
            let asked = appliance.until(|request| *request == Request::Pools(PoolId(0))).await?;
            appliance.reply(&asked).await?;
            assert_eq!(ordered.await?, Some(Outcome::InForce), "{order:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_order_that_the_appliance_has_not_taken_is_not_said_to_be_in_force() -> Result {
    within(async {
        let bench = Bench::new()?;
        let handle = bench.start()?;
        let mut appliance = Appliance::accept(&bench.listener).await?;
        let ordered = give(&handle, PoolOrder::Stop);
        appliance.until(|request| matches!(request, Request::SetService { .. })).await?;
        // It leaves without a reply.
        drop(appliance);
        assert!(matches!(ordered.await?, Some(Outcome::NotYet(_))));
        assert_eq!(handle.order("nobody", PoolOrder::Stop).await, None);
        Ok(())
    })
    .await
}
