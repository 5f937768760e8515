//! Reports to the appliance how a worker's streams ended, because its vsock daemon turns every reset into an orderly end.
//!
//! The appliance begins each stream with an identifier. When the worker's side has ended, the relay reports the outcome under
//! that identifier before it closes the appliance's side.

use super::target::connect_vsock;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use weir_agent::protocol::{Answer, LINE_MAX, Request};

/// Time limit for a stream's identifier, which the appliance sends at once.
pub(super) const NAME_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for an agent's reply; the appliance waits a little longer.
const AGENT_LIMIT: Duration = Duration::from_secs(2);
/// Flag in `/proc/PID/stat`: the process is exiting (`PF_EXITING`).
const EXITING: u64 = 4;

/// Called with the identifier of a stream, and whether the worker's data was delivered up to an orderly end.
pub type ReportEnd = Rc<dyn Fn(u64, bool)>;

/// Source of knowledge about whether an orderly end was one.
#[derive(Clone, Debug)]
pub enum Witness {
    /// None needed: the operating system reports resets.
    Nobody,
    /// The process behind the streams or their VM: if it is being killed, what it leaves looks like an orderly end.
    Process(u32),
    /// The agent in the worker's VM, which saw how the server's connection ended.
    Agent(Rc<Agent>),
}

impl Witness {
    /// Whether the orderly end of a stream, known to the vsock daemon by this port, is confirmed.
    pub(super) async fn confirms(&self, port: Option<u32>) -> bool {
        match (self, port) {
            (Self::Nobody, _) => true,
            (Self::Process(pid), _) => is_alive(*pid),
            (Self::Agent(agent), Some(port)) => agent.ended_whole(port).await,
            (Self::Agent(_), None) => false,
        }
    }
}

/// Whether a process exists and is not exiting. A killed process is flagged before its sockets are closed.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, words)) = stat.rsplit_once(')') else { return false };
    let mut words = words.split_whitespace();
    let state = words.next();
    let flags = words.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    !matches!(state, Some("Z" | "X")) && flags.is_some_and(|flags| flags & EXITING == 0)
}

/// An open stream to an agent's control port.
#[derive(Debug)]
pub struct Agent {
    vsock: PathBuf,
    stream: Mutex<Option<BufReader<UnixStream>>>,
}

impl Agent {
    /// The agent of the VM with this vsock.
    pub fn new(vsock: PathBuf) -> Self {
        Self { vsock, stream: Mutex::new(None) }
    }

    async fn ended_whole(&self, port: u32) -> bool {
        let mut stream = self.stream.lock().await;
        // The stream may have ended since the last question.
        for _ in 0..2 {
            match timeout(AGENT_LIMIT, self.ask(&mut stream, port)).await {
                Ok(Ok(answer)) => return answer == Answer::Whole,
                Ok(Err(_)) | Err(_) => *stream = None,
            }
        }
        false
    }

    async fn ask(&self, stream: &mut Option<BufReader<UnixStream>>, port: u32) -> Result<Answer> {
        let open = match stream.take() {
            Some(open) => open,
            None => BufReader::new(connect_vsock(&self.vsock, weir_agent::CONTROL_PORT).await?.0),
        };
        let open = stream.insert(open);
        open.write_all(Request::Ended { port }.to_string().as_bytes()).await?;
        let mut line = Vec::new();
        (&mut *open).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
        Ok(Answer::parse(line.strip_suffix(b"\n").context("no answer")?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_killed_is_not_alive_although_it_is_there() -> Result<()> {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn()?;
        assert!(is_alive(child.id()));
        child.kill()?;
        // Not waited for: it becomes a zombie once it is scheduled and exits.
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        child.wait()?;
        assert!(!is_alive(child.id()));
        Ok(())
    }
}
