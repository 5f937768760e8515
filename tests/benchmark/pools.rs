//! What one dead pool costs another: requests through a healthy pool while many clients ask a pool without workers, whose
//! queue is full, over and over.

use crate::machine::{Kind, Lab};
use crate::uploads::Sink;
use crate::wrk::Wrk;
use crate::{Options, median};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::net::GUEST;

/// Clients of the dead pool; `shaping/weir.toml` lets 500 of them wait.
const FLOOD: u32 = 900;
/// Between a refusal and the next request of the same client.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) async fn measure(lab: &Lab, options: &Options) -> Result<()> {
    let machine = lab.boot(Kind::Weir).await?;
    machine.first_200(Duration::from_secs(30))?;
    let _worker = Sink::start(&lab.vsock())?;
    let healthy = Wrk {
        path: "/",
        host: Some("up1m.test"),
        connections: 32,
        close: false,
        pinned: false,
        seconds: options.seconds,
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(run(healthy).await?);
        let flood = Flood::start()?;
        tokio::time::sleep(3 * RETRY).await;
        beside.push(run(healthy).await?);
        drop(flood);
        tokio::time::sleep(RETRY).await;
    }
    let column = |figures: &[crate::wrk::Figures]| {
        let of = |f: fn(&crate::wrk::Figures) -> f64| median(&figures.iter().map(f).collect::<Vec<_>>());
        (of(|f| f.per_second), of(|f| f.p99_ms))
    };
    let ((alone, alone99), (beside, beside99)) = (column(&alone), column(&beside));
    println!("| a healthy pool, 32 connections | alone | beside a dead pool with {FLOOD} clients | ratio |");
    println!("|---|---|---|---|");
    let ratio = beside / alone;
    println!(
        "| requests/s (p99) | {alone:.0} ({alone99:.1} ms) | {beside:.0} ({beside99:.1} ms) | {ratio:.3} |\n"
    );
    Ok(())
}

async fn run(wrk: Wrk) -> Result<crate::wrk::Figures> {
    tokio::task::spawn_blocking(move || wrk.run()).await.context("wrk")?
}

/// Clients that ask the dead pool, and ask again when they are refused, until this is dropped.
struct Flood {
    _clients: tokio::task::JoinSet<()>,
}

impl Flood {
    fn start() -> Result<Self> {
        let at = SocketAddr::new(GUEST.parse()?, 80);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..FLOOD {
            clients.spawn(async move {
                loop {
                    // A connection that was refused or ended is one more of the clients that come back.
                    let _ = ask(at).await;
                    tokio::time::sleep(RETRY).await;
                }
            });
        }
        Ok(Self { _clients: clients })
    }
}

async fn ask(at: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(at).await?;
    let mut answer = [0; 4096];
    loop {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: dead.test\r\n\r\n").await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(RETRY).await;
    }
}
