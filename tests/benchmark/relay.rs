//! Cost of the relay: the same bytes from a worker VM directly from its vsock daemon, and through the relay.

use crate::machine::Lab;
use crate::median;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use weir::relay::target::{Running, Target, Until, connect_vsock};
use weir::relay::{Limits, Relay};
use weir::vm::Vm;

const BYTES: usize = 200_000_000;
const ROUNDS: usize = 5;
const REQUESTS: usize = 1000;

pub(crate) async fn measure(lab: &Lab) -> Result<()> {
    let directory = lab.directory.path().join("worker");
    std::fs::create_dir(&directory)?;
    let vsock = directory.join("vsock");
    let spec = lab.spec("worker", &lab.worker, 32, None);
    let vm = Vm::start(&spec, &lab.host, &directory, &vsock).await?;
    let began = Instant::now();
    while connect_vsock(&vsock, weir_worker::PORT).await.is_err() {
        ensure!(began.elapsed() < Duration::from_secs(20), "the worker VM does not answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running = Running { vsock: vsock.clone(), port: weir_worker::PORT, until: Until::new() };
    let (_state, target) = watch::channel(Some(running));
    let path = directory.join("relay");
    let relay = spawn_relay(path.clone(), target)?;

    let mut figures: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (way, figures) in figures.iter_mut().enumerate() {
            let mut stream = open(way, &vsock, &path).await?;
            figures[0].push(download(&mut stream).await?);
            figures[1].push(upload(&mut stream).await?);
            figures[2].push(round_trip(&mut stream).await?);
        }
    }
    let [plain, relayed] = figures.map(|way| way.map(|values| median(&values)));
    println!(
        "| worker VM's vsock | straight from its daemon | through the relay | ratio |\n|---|---|---|---|"
    );
    for (what, i) in [("guest to host, MB/s", 0), ("host to guest, MB/s", 1)] {
        println!("| {what} | {:.0} | {:.0} | {:.2} |", plain[i], relayed[i], relayed[i] / plain[i]);
    }
    println!(
        "| request and response, ms | {:.3} | {:.3} | {:.2} |\n",
        plain[2],
        relayed[2],
        relayed[2] / plain[2]
    );
    drop(relay);
    vm.stop().await;
    Ok(())
}

/// The relay gets its own thread, because the supervisor is a separate process.
fn spawn_relay(
    path: std::path::PathBuf,
    target: watch::Receiver<Option<Running>>,
) -> Result<tokio::sync::oneshot::Sender<()>> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (bound, is_bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let relay = Relay::bind(&path, Target::Vm(target), Limits::default())?;
            let _ = bound.send(());
            tokio::select! {
                () = relay.run() => {}
                _ = stopped => {}
            }
            Ok(())
        })
    });
    is_bound.recv().context("the relay does not start")?;
    Ok(stop)
}

async fn open(way: usize, vsock: &Path, relay: &Path) -> Result<UnixStream> {
    match way {
        0 => connect_vsock(vsock, weir_worker::PORT).await.map(|(stream, _)| stream),
        _ => Ok(UnixStream::connect(relay).await?),
    }
}

async fn download(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<f64> {
    let began = Instant::now();
    stream.write_all(format!("GET /api/bytes/{BYTES} HTTP/1.1\r\n\r\n").as_bytes()).await?;
    head(stream).await?;
    let mut left = BYTES;
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let n = stream.read(&mut buffer[..left.min(64 * 1024)]).await?;
        ensure!(n > 0, "cut off");
        left -= n;
    }
    Ok(BYTES as f64 / 1e6 / began.elapsed().as_secs_f64())
}

async fn upload(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<f64> {
    let began = Instant::now();
    stream
        .write_all(format!("POST /api/discard HTTP/1.1\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes())
        .await?;
    let buffer = vec![0; 64 * 1024];
    let mut left = BYTES;
    while left > 0 {
        left -= stream.write(&buffer[..left.min(buffer.len())]).await?;
    }
    head(stream).await?;
    let rate = BYTES as f64 / 1e6 / began.elapsed().as_secs_f64();
    until(stream, b"}\n").await?;
    Ok(rate)
}

async fn round_trip(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..REQUESTS {
        stream.write_all(b"GET /api/hello HTTP/1.1\r\n\r\n").await?;
        let mut answer = [0; 512];
        let n = stream.read(&mut answer).await?;
        ensure!(answer[..n].starts_with(b"HTTP/1.1 200"), "no response");
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / REQUESTS as f64)
}

/// Reads and discards a head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    until(stream, b"\r\n\r\n").await
}

/// Reads up to a mark and no further.
async fn until(stream: &mut (impl AsyncRead + Unpin), mark: &[u8]) -> Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(mark) {
        seen.push(stream.read_u8().await.context("cut off")?);
    }
    Ok(())
}
