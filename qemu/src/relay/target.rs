//! Targets of a relay.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::either::Either;
pub use tokio_util::sync::CancellationToken as Until;

/// A worker as the relay sees it.
#[derive(Clone, Debug)]
pub enum Target {
    /// A VM that the supervisor starts and ends: where it is now, `None` while it is down.
    Vm(watch::Receiver<Option<Running>>),
    /// A server on a TCP port; its streams end with the token.
    Tcp(String, u16, Until),
    /// A server on a Unix socket; its streams end with the token.
    Unix(PathBuf, Until),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vm(_) => f.write_str("a VM"),
            Self::Tcp(host, port, _) => write!(f, "tcp:{host}:{port}"),
            Self::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A worker VM that is up.
#[derive(Clone, Debug)]
pub struct Running {
    /// The host's end of its vsock.
    pub vsock: PathBuf,
    /// The port it listens on.
    pub port: u32,
    /// Cancelled when the VM ends.
    pub until: Until,
}

/// A stream to a worker.
pub type Stream = Either<UnixStream, TcpStream>;

/// A worker that accepts connections.
#[derive(Debug)]
pub struct Ready {
    place: Place,
    /// Cancelled when the worker ends.
    pub until: Until,
}

#[derive(Debug)]
enum Place {
    Vsock(PathBuf, u32),
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Target {
    /// Waits until the worker is up; `None` if it never will be.
    pub async fn ready(&self) -> Option<Ready> {
        let (place, until) = match self {
            Self::Vm(state) => {
                let mut state = state.clone();
                let running = state.wait_for(Option::is_some).await.ok()?.clone()?;
                (Place::Vsock(running.vsock, running.port), running.until)
            }
            Self::Tcp(host, port, until) => (Place::Tcp(host.clone(), *port), until.clone()),
            Self::Unix(path, until) => (Place::Unix(path.clone()), until.clone()),
        };
        Some(Ready { place, until })
    }
}

impl Ready {
    /// Opens a stream. For a VM it includes the port by which the VM knows the stream.
    pub async fn open(&self) -> Result<(Stream, Option<u32>)> {
        Ok(match &self.place {
            Place::Vsock(path, port) => {
                let (stream, port) = connect_vsock(path, *port).await?;
                (Either::Left(stream), Some(port))
            }
            Place::Unix(path) => (Either::Left(UnixStream::connect(path).await?), None),
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                (Either::Right(stream), None)
            }
        })
    }
}

/// Time limit for a reply to a connection request.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Opens a stream to `port` of the VM whose daemon is at `path`. Returns it with the port that the VM sees for this end.
///
/// If the caller gives up, the stream stays open until the VM replies or its daemon ends, because vhost-device-vsock 0.3 does not
/// survive a reply to a peer that has gone.
pub async fn connect_vsock(path: &Path, port: u32) -> Result<(UnixStream, u32)> {
    let path = path.to_owned();
    let asking = tokio::spawn(async move { ask(&path, port).await });
    let answer = timeout(ANSWER_LIMIT, asking).await;
    answer.with_context(|| format!("vsock port {port}: no answer"))?.context("connecting")?
}

async fn ask(path: &Path, port: u32) -> Result<(UnixStream, u32)> {
    let mut stream = UnixStream::connect(path).await.with_context(|| format!("{}", path.display()))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
    // Byte by byte: whatever follows the line is the worker's and must stay in the socket.
    let mut answer = Vec::with_capacity(32);
    loop {
        match stream.read_u8().await.with_context(|| format!("vsock port {port} does not accept"))? {
            b'\n' => break,
            _ if answer.len() == 32 => break,
            byte => answer.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    match text.strip_prefix("OK ").map(|ours| ours.trim().parse()) {
        Some(Ok(ours)) => Ok((stream, ours)),
        _ => bail!("vsock port {port}: the daemon answered {text:?}"),
    }
}
