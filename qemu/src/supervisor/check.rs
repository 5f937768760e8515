//! Health check of a worker over one connection.
//!
//! Accepting a connection proves little: the kernel does it even for a stopped process. A process or a server at an address
//! therefore gets an HTTP request: the pool's own (`[pool.ping] path`), or `GET /`, where any response counts as healthy.

use crate::relay::target::Stream;
use image::config::HttpCheck;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Maximum number of bytes read of a status line.
const LINE_MAX: usize = 64;
/// How much of the rest of a response is read, and for how long, so that the server sees no broken pipe.
const REST_MAX: u64 = 1 << 20;
const REST_LIMIT: Duration = Duration::from_secs(1);

/// Why a worker is unhealthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unhealthy {
    /// Connecting fails.
    Unreachable(String),
    /// It responded unexpectedly.
    Answered(String),
    /// It did not respond.
    Silent,
}

impl std::fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be connected to: {why}"),
            Self::Answered(what) => write!(f, "answers its pings with {what}"),
            Self::Silent => f.write_str("does not answer its pings"),
        }
    }
}

/// What to request, and what to expect.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// The pool's health check.
    pub(super) check: Option<HttpCheck>,
    /// It uses TLS: any data, or closing the connection, counts as healthy.
    pub(super) secured: bool,
}

impl Question {
    /// Runs the check over a newly opened stream.
    pub(super) async fn ask(&self, mut stream: Stream) -> Result<(), Unhealthy> {
        let (path, host) = match &self.check {
            Some(check) => (check.path.as_str(), check.host.as_str()),
            None => ("/", "localhost"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-ping\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        // A worker that closes at once may still have responded.
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

    fn judge(&self, line: &[u8]) -> Result<(), Unhealthy> {
        if self.secured {
            return Ok(());
        }
        let Some(status) = status(line) else {
            return Err(Unhealthy::Answered(match line {
                [] => "the end of the connection".into(),
                other => format!("{:?}", String::from_utf8_lossy(other)),
            }));
        };
        match &self.check {
            Some(check) if !check.expect.iter().any(|range| range.contains(&status)) => {
                Err(Unhealthy::Answered(format!("{status} to GET {}", check.path)))
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
