//! Asks a worker whether it is well.
//!
//! That a connection comes up says little: the kernel accepts it for a process that is stopped, too. So a process, and a server
//! at an address, is asked for something by HTTP: what the pool says (`[pool.ping] path`), else `GET /`, for which any
//! answer will do.

use crate::relay::target::Stream;
use image::config::HttpCheck;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Longest that is read of a status line.
const LINE_MAX: usize = 64;
/// What is read of the rest of an answer, so that its server sees no broken pipe, and for how long.
const REST_MAX: u64 = 1 << 20;
const REST_LIMIT: Duration = Duration::from_secs(1);

/// How a worker is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    /// It cannot be connected to: nobody is there.
    Unreachable(String),
    /// It answered something else than it should.
    Answered(String),
    /// It has not answered.
    Silent,
}

impl std::fmt::Display for Ill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be connected to: {why}"),
            Self::Answered(what) => write!(f, "answers its pings with {what}"),
            Self::Silent => f.write_str("does not answer its pings"),
        }
    }
}

/// What is asked, and what is expected.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Of the pool's own.
    pub(super) check: Option<HttpCheck>,
    /// It speaks TLS: that it says anything, or hangs up, is as much as can be asked of it.
    pub(super) secured: bool,
}

impl Question {
    /// Asks over a stream that has just been opened.
    pub(super) async fn ask(&self, mut stream: Stream) -> Result<(), Ill> {
        let (path, host) = match &self.check {
            Some(check) => (check.path.as_str(), check.host.as_str()),
            None => ("/", "localhost"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-ping\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        // One that ends the connection at once may have answered before that.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut line = Vec::with_capacity(LINE_MAX);
        while line.len() < LINE_MAX && !line.contains(&b'\n') {
            let mut piece = [0; LINE_MAX];
            match stream.read(&mut piece).await {
                Ok(n @ 1..) => line.extend_from_slice(&piece[..n]),
                Ok(0) | Err(_) => break,
            }
        }
        let verdict = self.judge(&line);
        let rest = async { tokio::io::copy(&mut stream.take(REST_MAX), &mut tokio::io::sink()).await };
        let _ = timeout(REST_LIMIT, rest).await;
        verdict
    }

    fn judge(&self, line: &[u8]) -> Result<(), Ill> {
        if self.secured {
            return Ok(());
        }
        let Some(status) = status(line) else {
            return Err(Ill::Answered(match line {
                [] => "the end of the connection".into(),
                other => format!("{:?}", String::from_utf8_lossy(other)),
            }));
        };
        match &self.check {
            Some(check) if !check.expect.iter().any(|range| range.contains(&status)) => {
                Err(Ill::Answered(format!("{status} to GET {}", check.path)))
            }
            _ => Ok(()),
        }
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let code = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
