//! The log collector: receives log lines from the appliance over vsock and writes the log files.
//!
//! Every line begins with a byte for its kind and ends with LF ([`model::log::Kind`]). The appliance opens the stream when it has
//! lines, and again if it ended; a partial line at the end of a stream is dropped. Lines on disk are acknowledged with their
//! number of bytes (32 bits, little-endian); after a reconnect the appliance sends the others again. Lines that cannot be written
//! are not acknowledged and are retried every second. Meanwhile the appliance buffers lines, drops and counts those that do not
//! fit, and reports the number in the log afterwards.

mod append;
mod files;
mod series;
mod state;
#[cfg(test)]
mod tests;

pub use state::LogState;
pub(crate) use state::State;

use anyhow::{Context, Result};
use files::Files;
use image::config::Log;
use image::place::SocketFile;
use model::log::Kind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

/// Maximum length of a line, more than the appliance's longest, escaped. A stream with a longer one is closed.
const MAX_LINE: usize = 128 << 10;
/// Maximum bytes waiting to be written, more than the appliance ever holds unacknowledged.
const MAX_WAITING: usize = 2 << 20;
/// Maximum number of concurrent streams; the appliance has one.
const MAX_STREAMS: usize = 4;
/// Interval between attempts to write.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// SIGXFSZ, which ends a program that exceeds the file size limit.
const FILE_SIZE_SIGNAL: i32 = 25;

/// Listens for the appliance's log stream. Runs on a [`tokio::task::LocalSet`].
#[derive(Debug)]
pub struct Collector {
    listener: UnixListener,
    file: SocketFile,
    files: Arc<Mutex<Files>>,
    state: Arc<State>,
    /// While the signal is handled, exceeding the limit is a write error instead.
    _file_size: Signal,
}

impl Collector {
    /// Creates the directory and listens, which must happen before the appliance starts. Progress is recorded in `state`.
    pub(crate) fn bind(path: &Path, log: &Log, state: Arc<State>) -> Result<Self> {
        let files = Files::new(log, state.clone())
            .with_context(|| format!("log directory {}", log.directory.display()))?;
        let listener = UnixListener::bind(path).with_context(|| format!("log socket {}", path.display()))?;
        let file = SocketFile::at(path).with_context(|| format!("log socket {}", path.display()))?;
        let file_size = signal(SignalKind::from_raw(FILE_SIZE_SIGNAL)).context("signals")?;
        let files = Arc::new(Mutex::new(files));
        Ok(Self { listener, file, files, state, _file_size: file_size })
    }

    /// Collects lines until dropped.
    pub async fn run(self) {
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if streams.len() < MAX_STREAMS => {
                        streams.spawn_local(collect(stream, self.files.clone(), self.state.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        eprintln!("[log] {}: {error}", self.file.path().display());
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = streams.join_next() => {}
            }
        }
    }
}

/// Writes the lines of a stream until it ends.
async fn collect(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    files: Arc<Mutex<Files>>,
    state: Arc<State>,
) {
    let mut waiting = Vec::with_capacity(64 << 10);
    let mut again: Option<Instant> = None;
    let mut ended = false;
    while !ended {
        tokio::select! {
            read = stream.read_buf(&mut waiting), if waiting.len() < MAX_WAITING => {
                ended = !matches!(read, Ok(1..));
            }
            () = async { sleep_until(again.unwrap_or_else(Instant::now)).await }, if again.is_some() => again = None,
        }
        if again.is_none() || ended {
            let written;
            (waiting, written, again) = match write(waiting, files.clone()).await {
                Ok((rest, written, all)) => (rest, written, (!all).then(|| Instant::now() + RETRY_PAUSE)),
                Err(error) => return eprintln!("[log] {error:#}"),
            };
            if written > 0 && stream.write_all(&written.to_le_bytes()).await.is_err() {
                ended = true;
            }
        }
        let last = waiting.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if waiting.len() - last > MAX_LINE {
            eprintln!("[log] a line of more than {MAX_LINE} bytes, expected one of the appliance's");
            ended = true;
        }
    }
    let left = waiting.iter().filter(|&&b| b == b'\n').count() as u64;
    if left > 0 {
        state.gave_up(left);
        eprintln!(
            "[log] {left} lines of a stream that ended could not be written; a running appliance sends them again"
        );
    }
}

/// Writes all whole lines of `waiting` on another thread, so that other work does not wait for the disk. Returns the rest, the
/// number of bytes to acknowledge, and whether all whole lines were written.
async fn write(mut waiting: Vec<u8>, files: Arc<Mutex<Files>>) -> Result<(Vec<u8>, u32, bool)> {
    let whole = waiting.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    if whole == 0 {
        return Ok((waiting, 0, true));
    }
    spawn_blocking(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let lines = waiting.get_mut(..whole).unwrap_or_default();
        let written = files.lock().unwrap_or_else(PoisonError::into_inner).write(lines, now);
        waiting.drain(..written);
        Ok((waiting, u32::try_from(written)?, written == whole))
    })
    .await?
}
