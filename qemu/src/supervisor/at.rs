//! Where a worker listens, and what it can be asked there.

use super::check::{Ill, Question};
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

/// First pause between two looks at whether a starting worker answers. It grows by an eighth each time: one that needs
/// seconds gets few looks.
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_millis(500);
/// How long a look may take.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Where a worker listens.
#[derive(Clone, Debug)]
pub(super) enum At {
    Vsock { path: PathBuf, port: u32, agent: bool },
    Unix(PathBuf),
    Tcp(u16),
}

impl At {
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

    /// Waits until the worker accepts a stream, and gives the answers that its pool expects, if that says which.
    pub(super) async fn answers(&self, question: &Question) {
        let mut pause = PROBE_PAUSE;
        // Until a VM's driver is up there is no socket.
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

    /// Whether it is well; its memory, where an agent in it tells.
    ///
    /// A process is asked by HTTP in any case, a machine only for what the pool says: an agent answers for its server, and of what
    /// runs in another machine nothing is known but that it takes streams.
    pub(super) async fn ping(&self, question: &Question) -> Result<Option<u64>, Ill> {
        let is_vm = matches!(self, Self::Vsock { .. });
        let has_agent = matches!(self, Self::Vsock { agent: true, .. });
        if question.check.is_some() || !has_agent {
            let stream = self.open().await.map_err(|error| Ill::Unreachable(format!("{error:#}")))?;
            if question.check.is_some() || !is_vm {
                question.ask(stream).await?;
            }
        }
        if !has_agent {
            return Ok(None);
        }
        match self.ask_agent(Request::Ping).await {
            Ok(Answer::Ok(status)) => Ok(status.memory),
            Ok(other) => Err(Ill::Answered(other.to_string().trim_end().to_owned())),
            Err(error) => Err(Ill::Unreachable(format!("{error:#}"))),
        }
    }

    /// Asks the agent in it.
    pub(super) async fn ask_agent(&self, request: Request) -> Result<Answer> {
        let Self::Vsock { path, agent: true, .. } = self else { bail!("there is no agent in it") };
        let (mut stream, _) = connect_vsock(path, weir_agent::CONTROL_PORT).await?;
        stream.write_all(request.to_string().as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LINE_MAX as u64)).read_until(b'\n', &mut line).await?;
        Ok(Answer::parse(line.strip_suffix(b"\n").unwrap_or(&line))?)
    }
}
