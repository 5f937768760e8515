//! Where a worker listens, and checks of it.

use super::check::{Question, Unhealthy};
use crate::relay::target::{Running, Stream, Target, Until, connect_vsock};
use anyhow::{Result, bail};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use weir_agent::protocol::{Answer, LINE_MAX, Request};

/// First interval of checks whether a starting worker is ready. It grows by an eighth each time, so that slow starters are
/// checked rarely.
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_millis(500);
/// Time limit of one check.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Where a worker listens.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    Vsock { path: PathBuf, port: u32, agent: bool },
    Unix(PathBuf),
    Tcp(u16),
}

impl Endpoint {
    pub(super) fn target(&self, until: &Until) -> (Option<watch::Sender<Option<Running>>>, Target) {
        match self {
            Self::Vsock { path, port, .. } => {
                let running = Running { vsock: path.clone(), port: *port, until: until.clone() };
                let (state, target) = watch::channel(Some(running));
                (Some(state), Target::Vm(target))
            }
            Self::Unix(path) => (None, Target::Unix(path.clone(), until.clone())),
            Self::Tcp(port) => (None, Target::Tcp("127.0.0.1".into(), *port, until.clone())),
        }
    }

    /// Waits until the worker accepts a stream and, if the pool has a health check, passes it.
    pub(super) async fn answers(&self, question: &Question) {
        let mut pause = PROBE_PAUSE;
        // The socket exists only once the VM's driver is up.
        while !matches!(timeout(PROBE_LIMIT, self.is_up(question)).await, Ok(true)) {
            sleep(pause).await;
            pause = (pause + pause / 8).min(LONGEST_PROBE_PAUSE);
        }
    }

    async fn is_up(&self, question: &Question) -> bool {
        match self.open().await {
            Ok(stream) if question.check.is_some() => question.ask(stream).await.is_ok(),
            opened => opened.is_ok(),
        }
    }

    async fn open(&self) -> Result<Stream> {
        Ok(match self {
            Self::Vsock { path, port, .. } => Either::Left(connect_vsock(path, *port).await?.0),
            Self::Unix(path) => Either::Left(tokio::net::UnixStream::connect(path).await?),
            Self::Tcp(port) => {
                Either::Right(tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?)
            }
        })
    }

    /// Checks the worker's health. Returns its memory use if an agent reports it.
    ///
    /// A process always gets an HTTP request, a VM only if the pool has a health check: an agent checks its server itself, and
    /// for any other VM all that is known is whether it accepts streams.
    pub(super) async fn ping(&self, question: &Question) -> Result<Option<u64>, Unhealthy> {
        let is_vm = matches!(self, Self::Vsock { .. });
        let has_agent = matches!(self, Self::Vsock { agent: true, .. });
        if question.check.is_some() || !has_agent {
            let stream = self.open().await.map_err(|error| Unhealthy::Unreachable(format!("{error:#}")))?;
            if question.check.is_some() || !is_vm {
                question.ask(stream).await?;
            }
        }
        if !has_agent {
            return Ok(None);
        }
        match self.ask_agent(Request::Ping).await {
            Ok(Answer::Ok(status)) => Ok(status.memory),
            Ok(other) => Err(Unhealthy::Answered(other.to_string().trim_end().to_owned())),
            Err(error) => Err(Unhealthy::Unreachable(format!("{error:#}"))),
        }
    }

    /// Sends a request to the agent in the VM.
    pub(super) async fn ask_agent(&self, request: Request) -> Result<Answer> {
        let Self::Vsock { path, agent: true, .. } = self else { bail!("there is no agent in it") };
        let (mut stream, _) = connect_vsock(path, weir_agent::CONTROL_PORT).await?;
        stream.write_all(request.to_string().as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LINE_MAX as u64)).read_until(b'\n', &mut line).await?;
        Ok(Answer::parse(line.strip_suffix(b"\n").unwrap_or(&line))?)
    }
}
