//! The relay between sockets whose other ends are these tests.

mod common;

use common::{PATIENCE, Result, within};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;
use weir::relay::ends::Witness;
use weir::relay::target::{Running, Target, Until};
use weir::relay::{Limits, Relay};

/// A relay to a worker that listens on a Unix socket.
struct Bench {
    directory: TempDir,
    worker: UnixListener,
}

impl Bench {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let worker = UnixListener::bind(directory.path().join("worker"))?;
        Ok(Self { directory, worker })
    }

    fn start(&self, target: Target, limits: Limits) -> Result<PathBuf> {
        let path = Relay::path_for(&self.directory.path().join("appliance"), 10_000);
        tokio::task::spawn_local(Relay::bind(&path, target, limits)?.run());
        Ok(path)
    }

    fn target(&self) -> Target {
        Target::Unix(self.directory.path().join("worker"), Until::new())
    }

    /// Both ends of one relayed stream.
    async fn pair(&self) -> Result<(UnixStream, UnixStream)> {
        let path = self.start(self.target(), Limits::default())?;
        let appliance = UnixStream::connect(path).await?;
        Ok((appliance, self.worker.accept().await?.0))
    }
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len as u32 / 4).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn bytes_are_exact_in_both_directions_at_once() -> Result {
    within(async {
        let (appliance, worker) = Bench::new()?.pair().await?;
        let (up, down) = (numbered(8 << 20), numbered(12 << 20));
        let (mut ar, mut aw) = appliance.into_split();
        let (mut wr, mut ww) = worker.into_split();
        let (mut got_up, mut got_down) = (vec![0; up.len()], vec![0; down.len()]);
        tokio::try_join!(
            async { aw.write_all(&up).await },
            async { ww.write_all(&down).await },
            async { wr.read_exact(&mut got_up).await.map(drop) },
            async { ar.read_exact(&mut got_down).await.map(drop) },
        )?;
        assert!(got_up == up && got_down == down);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer() -> Result {
    within(async {
        let (mut appliance, mut worker) = Bench::new()?.pair().await?;
        let mut accepted = 0;
        let piece = numbered(4096);
        while timeout(Duration::from_millis(300), appliance.write_all(&piece)).await.is_ok() {
            accepted += piece.len();
            assert!(accepted < 2 << 20, "nobody reads, and {accepted} bytes were taken");
        }
        // The stream still works once the reader reads.
        let mut first = vec![0; 4096];
        worker.read_exact(&mut first).await?;
        assert_eq!(first, piece);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_end_of_either_side_ends_the_other_after_its_last_byte() -> Result {
    within(async {
        for appliance_ends in [true, false] {
            let (appliance, worker) = Bench::new()?.pair().await?;
            let (mut ends, mut stays) =
                if appliance_ends { (appliance, worker) } else { (worker, appliance) };
            let sent = numbered(100_000);
            ends.write_all(&sent).await?;
            drop(ends);
            let mut got = Vec::new();
            timeout(PATIENCE, stays.read_to_end(&mut got)).await??;
            assert!(got == sent);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_answers_and_leaves_amid_an_upload_is_heard() -> Result {
    within(async {
        let (appliance, mut worker) = Bench::new()?.pair().await?;
        let (mut reader, mut writer) = appliance.into_split();
        let upload =
            tokio::task::spawn_local(async move { while writer.write_all(&vec![0; 65536]).await.is_ok() {} });
        worker.read_exact(&mut vec![0; 100_000]).await?;
        worker.write_all(b"too large").await?;
        drop(worker);
        let mut answer = Vec::new();
        // On Unix sockets, a stream closed with unread bytes ends with an error; what came before it matters.
        let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await?;
        assert_eq!(answer, b"too large");
        timeout(PATIENCE, upload).await??;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn streams_beyond_the_limit_are_closed_at_once() -> Result {
    within(async {
        let bench = Bench::new()?;
        let path = bench.start(bench.target(), Limits { streams: 2, ..Limits::default() })?;
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push((UnixStream::connect(&path).await?, bench.worker.accept().await?.0));
        }
        let mut third = UnixStream::connect(&path).await?;
        assert_eq!(timeout(PATIENCE, third.read(&mut [0])).await??, 0);
        // A stream that ends makes room once the relay has noticed.
        streams.pop();
        loop {
            let (mut stream, mut end) = (UnixStream::connect(&path).await?, [0]);
            tokio::select! {
                _ = bench.worker.accept() => return Ok(()),
                _ = stream.read(&mut end) => {}
            }
        }
    })
    .await
}

/// Acts as a VM's vsock daemon: replies to `CONNECT 80`, then echoes everything.
async fn play_daemon(listener: UnixListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let mut line = [0; 11];
            if stream.read_exact(&mut line).await.is_ok() && &line == b"CONNECT 80\n" {
                let _ = stream.write_all(b"OK 1024\n").await;
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            }
        });
    }
}

#[tokio::test]
async fn a_stream_waits_for_its_worker_and_ends_with_it() -> Result {
    within(async {
        let Bench { directory, worker } = Bench::new()?;
        let vsock = directory.path().join("worker");
        let (state, target) = watch::channel(None);
        let path = Relay::path_for(&directory.path().join("appliance"), 10_000);
        let relay = Relay::bind(&path, Target::Vm(target), Limits::default())?;
        let counters = relay.counters();
        tokio::task::spawn_local(relay.run());
        tokio::task::spawn_local(play_daemon(worker));
        let mut stream = UnixStream::connect(&path).await?;
        stream.write_all(b"early").await?;
        while counters.accepted.get() == 0 {
            yield_now().await;
        }

        let until = Until::new();
        state.send_replace(Some(Running { vsock, port: 80, until: until.clone() }));
        let mut echoed = [0; 5];
        timeout(PATIENCE, stream.read_exact(&mut echoed)).await??;
        assert_eq!(&echoed, b"early");

        state.send_replace(None);
        until.cancel();
        assert_eq!(timeout(PATIENCE, stream.read(&mut echoed)).await??, 0, "the worker is gone");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_does_not_come_is_not_waited_for_forever() -> Result {
    within(async {
        let bench = Bench::new()?;
        let (_state, target) = watch::channel(None);
        let limits = Limits { hold: Duration::from_millis(100), ..Limits::default() };
        let mut stream = UnixStream::connect(bench.start(Target::Vm(target), limits)?).await?;
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await??, 0);
        Ok(())
    })
    .await
}

/// Behaviour of a worker after it has received a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ends,
    Resets,
    /// Ended by its supervisor.
    IsEnded,
    /// It never accepts the stream.
    IsNotThere,
    /// It ends because its process was killed.
    Dies,
    /// Ended by the appliance.
    IsLeft,
}

/// The reported outcome of a stream that begins with its identifier.
async fn told(fate: Fate) -> Result<Vec<(u64, bool)>> {
    let directory = tempfile::tempdir()?;
    let (listener, until) = (TcpListener::bind("127.0.0.1:0").await?, Until::new());
    let target = Target::Tcp("127.0.0.1".into(), listener.local_addr()?.port(), until.clone());
    let path = Relay::path_for(&directory.path().join("appliance"), 10_000);
    let told = Rc::new(RefCell::new(Vec::new()));
    let (tells, mut child) = (told.clone(), std::process::Command::new("true").spawn()?);
    // A process that has ended, or this one.
    let pid = if fate == Fate::Dies { child.id() } else { std::process::id() };
    child.wait()?;
    let tell = Rc::new(move |name, whole| tells.borrow_mut().push((name, whole)));
    let tell: weir::relay::ends::ReportEnd = tell;
    let ends = Some((tell, Witness::Process(pid)));
    let relay = Relay::bind_telling(&path, target, Limits::default(), ends)?;
    let mut listener = Some(listener).filter(|_| fate != Fate::IsNotThere);
    let relaying = tokio::task::spawn_local(relay.run());
    let mut appliance = UnixStream::connect(&path).await?;
    appliance.write_all(&7_u64.to_le_bytes()).await?;
    appliance.write_all(b"request").await?;
    if let Some(listener) = &mut listener {
        let mut worker: TcpStream = listener.accept().await?.0;
        let mut request = [0; 7];
        worker.read_exact(&mut request).await?;
        assert_eq!(&request, b"request", "the name is not for the worker");
        worker.write_all(b"half").await?;
        let mut half = [0; 4];
        appliance.read_exact(&mut half).await?;
        match fate {
            Fate::IsEnded => until.cancel(),
            Fate::IsLeft => appliance.shutdown().await?,
            Fate::Resets => worker.set_zero_linger()?,
            _ => {}
        }
        if !matches!(fate, Fate::IsEnded | Fate::IsLeft) {
            drop(worker);
        } else {
            assert_eq!(worker.read(&mut [0]).await?, 0);
        }
    }
    // The appliance's side ends after the report.
    assert_eq!(timeout(PATIENCE, appliance.read(&mut [0])).await??, 0);
    relaying.abort();
    Ok(told.take())
}

#[tokio::test]
async fn how_a_stream_ended_is_told_before_it_ends() -> Result {
    within(async {
        assert_eq!(told(Fate::Ends).await?, [(7, true)]);
        for fate in [Fate::Resets, Fate::IsEnded, Fate::IsNotThere, Fate::Dies] {
            assert_eq!(told(fate).await?, [(7, false)], "{fate:?}");
        }
        assert_eq!(told(Fate::IsLeft).await?, [], "who ended it knows");
        Ok(())
    })
    .await
}
