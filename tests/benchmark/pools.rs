//! Cost of a dead pool for another: load on a healthy pool while many clients keep requesting a pool without workers, whose queue
//! is full. Also measures how long it takes until the supervisor is told that a pool needs a worker.

use crate::machine::{Kind, Lab};
use crate::uploads::Sink;
use crate::wrk::{Figures, Wrk};
use crate::{Options, median};
use anyhow::{Context, Result, ensure};
use model::control::message::{Answer, Request};
use model::id::PoolId;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use weir::supervisor::client::{Client, Notification};
use weir_tests::net::GUEST;

/// Clients of the dead pool; a thousand of them are queued, the others are rejected.
const FLOOD: usize = 1200;
const QUEUE: u64 = 1000;
/// Delay between a rejection and the next request of the same client.
const RETRY: Duration = Duration::from_secs(1);
/// Number of demand measurements.
const DEMANDS: usize = 21;
/// Time limit for the flood to fill the queue, and for its memory to be freed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(lab: &Lab, options: &Options) -> Result<()> {
    let machine = lab.boot(Kind::Weir).await?;
    machine.first_200(PATIENCE)?;
    let _worker = Sink::start(&lab.vsock())?;
    let (news, told) = mpsc::unbounded_channel();
    let (client, connection) = Client::start(lab.vsock(), Some(news));
    let connection = tokio::task::spawn_local(connection);
    demand(&client, told).await?;
    let healthy = Wrk {
        path: "/",
        host: Some("healthy.test"),
        connections: 32,
        close: false,
        pinned: false,
        seconds: options.seconds,
    };
    let (mut alone, mut beside, mut most_held) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.rounds {
        alone.push(run(healthy).await?);
        let flood = Flood::start()?;
        waits_for(&client, "dead", |waiting, _| waiting == QUEUE).await.context("the queue does not fill")?;
        beside.push(run(healthy).await?);
        most_held = most_held.max(state(&client, "dead").await?.1);
        drop(flood);
        waits_for(&client, "dead", |waiting, held| waiting == 0 && held == 0)
            .await
            .context("something is left")?;
    }
    connection.abort();
    let column = |figures: &[Figures]| {
        let of = |f: fn(&Figures) -> f64| median(&figures.iter().map(f).collect::<Vec<_>>());
        (of(|f| f.per_second), of(|f| f.p99_ms))
    };
    let ((alone, alone99), (beside, beside99)) = (column(&alone), column(&beside));
    println!("| a healthy pool, 32 connections | alone | beside a dead pool with {FLOOD} clients | ratio |");
    println!("|---|---|---|---|");
    let ratio = beside / alone;
    println!(
        "| requests/s (p99) | {alone:.0} ({alone99:.1} ms) | {beside:.0} ({beside99:.1} ms) | {ratio:.3} |\n\n\
         The dead pool's {QUEUE} requests held {} KiB, and nothing once their clients had gone.\n",
        most_held >> 10
    );
    Ok(())
}

/// From the first byte of a request on the host to the supervisor's end of the control connection, and back to an idle state.
async fn demand(client: &Client, mut told: mpsc::UnboundedReceiver<Notification>) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..DEMANDS {
        let mut stream = connect(at()?).await?;
        // No supervisor can shorten the time until now.
        sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: cold.test\r\n\r\n").await?;
        while !matches!(
            timeout(PATIENCE, told.recv()).await?.context("no control connection")?,
            Notification::Demand(..)
        ) {}
        took.push(began.elapsed().as_secs_f64() * 1e3);
        drop(stream);
        waits_for(client, "cold", |waiting, _| waiting == 0).await?;
    }
    took.sort_by(f64::total_cmp);
    println!(
        "From a request's first byte to the supervisor told, through TCP and vsock: median {:.2} ms, longest of {DEMANDS} {:.2} ms.\n",
        median(&took),
        took.last().copied().unwrap_or(f64::NAN)
    );
    Ok(())
}

fn at() -> Result<SocketAddr> {
    Ok(SocketAddr::new(GUEST.parse()?, 80))
}

async fn run(wrk: Wrk) -> Result<Figures> {
    tokio::task::spawn_blocking(move || wrk.run()).await.context("wrk")?
}

/// Requests queued for this pool, and bytes of heads and content held for all.
async fn state(client: &Client, pool: &str) -> Result<(u64, u64)> {
    let Answer::Pools(pools) = client.ask(Request::Pools(PoolId(0))).await?? else {
        anyhow::bail!("no pools")
    };
    let Answer::Status(status) = client.ask(Request::Status).await?? else { anyhow::bail!("no status") };
    let found = pools.iter().find(|found| found.name == pool).context("no such pool")?;
    Ok((found.waiting.into(), status.held_bytes))
}

async fn waits_for(client: &Client, pool: &str, enough: impl Fn(u64, u64) -> bool) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let (waiting, held) = state(client, pool).await?;
        if enough(waiting, held) {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "{waiting} requests wait, {held} bytes are held");
        sleep(RETRY / 20).await;
    }
}

/// Clients that request the dead pool, and retry after rejections, until dropped.
struct Flood {
    _clients: JoinSet<()>,
}

impl Flood {
    fn start() -> Result<Self> {
        let at = at()?;
        let mut clients = JoinSet::new();
        for _ in 0..FLOOD {
            clients.spawn(async move {
                loop {
                    // A rejected or closed connection belongs to a client that comes back.
                    let _ = ask(at).await;
                    sleep(RETRY).await;
                }
            });
        }
        Ok(Self { _clients: clients })
    }
}

/// Ends with a reset, because after an orderly end it might still wait for its response.
async fn connect(at: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    stream.set_zero_linger()?;
    Ok(stream)
}

async fn ask(at: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(at).await?;
    let mut answer = [0; 4096];
    loop {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: dead.test\r\n\r\n").await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        sleep(RETRY).await;
    }
}
