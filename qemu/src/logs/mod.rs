//! The log collector: takes the appliance's log lines from its vsock stream and writes files.
//!
//! Every line begins with a byte that says what it is and ends with LF ([`appliance::log::Kind`]). The appliance
//! opens the stream when it has something to say and again when it ended; a line that was cut off by that is thrown away.
//! What was written is acknowledged, as a number of bytes in four bytes, least significant first: the appliance sends the rest again.

mod files;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use appliance::log::Kind;
use files::Files;
use image::config::Log;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Longest line: what the appliance's longest takes, escaped, and more. A stream with a longer one is closed.
const MAX_LINE: usize = 128 << 10;
/// Streams at a time: the appliance has one.
const MAX_STREAMS: usize = 4;

/// Listens for the appliance's log stream. Runs on a [`tokio::task::LocalSet`].
#[derive(Debug)]
pub struct Collector {
    listener: UnixListener,
    path: PathBuf,
    files: Rc<RefCell<Files>>,
}

impl Collector {
    /// Makes the directory and begins to listen, which has to happen before the appliance starts.
    pub fn bind(path: &Path, log: &Log) -> Result<Self> {
        let files = Files::new(log).with_context(|| format!("log directory {}", log.directory.display()))?;
        let listener = UnixListener::bind(path).with_context(|| format!("log socket {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned(), files: Rc::new(RefCell::new(files)) })
    }

    /// Collects until dropped.
    pub async fn run(self) {
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if streams.len() < MAX_STREAMS => {
                        streams.spawn_local(collect(stream, self.files.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        eprintln!("[log] {}: {error}", self.path.display());
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = streams.join_next() => {}
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes what comes over a stream until it ends.
async fn collect(mut stream: impl AsyncRead + AsyncWrite + Unpin, files: Rc<RefCell<Files>>) {
    let mut pending = Vec::with_capacity(64 << 10);
    while let Ok(1..) = stream.read_buf(&mut pending).await {
        let whole = pending.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if whole > 0 {
            write(&pending[..whole], &mut files.borrow_mut());
            pending.drain(..whole);
            let Ok(count) = u32::try_from(whole) else { return };
            if stream.write_all(&count.to_le_bytes()).await.is_err() {
                return;
            }
        }
        if pending.len() > MAX_LINE {
            eprintln!("[log] a line of more than {MAX_LINE} bytes, expected one of the appliance's");
            return;
        }
    }
}

/// Whole lines.
fn write(lines: &[u8], files: &mut Files) {
    lines.split_inclusive(|&b| b == b'\n').for_each(|line| take(line, files));
    files.flush();
}

/// One line with its first byte and its end.
fn take(line: &[u8], files: &mut Files) {
    let Some((&kind, text)) = line.split_first() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match kind {
        k if k == Kind::Access as u8 => files.access(text, now),
        k if k == Kind::Error as u8 => files.error(text, now),
        k if k == Kind::Dropped as u8 => {
            let count = String::from_utf8_lossy(text).trim().parse::<u64>().unwrap_or(0);
            eprintln!("[log] the appliance dropped {count} lines that found no room");
            files.dropped(count, now);
        }
        _ => eprintln!("[log] a line that begins with byte {kind:#04x}, expected one of the appliance's"),
    }
}
