//! Uploads in the bandwidth report: `curl` processes that send, and a worker on the host that counts received bytes.

use crate::curl::Curl;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir::relay::Relay;

/// The host's vsock port of the worker in `shaping/weir.toml`.
const PORT: u32 = 10_000;
/// More than any measurement takes.
const FILE_BYTES: u64 = 1 << 30;

/// A worker that discards content.
pub(crate) struct Sink {
    /// Bytes of content so far.
    pub(crate) got: Arc<AtomicU64>,
    path: PathBuf,
}

impl Sink {
    /// Serves streams from the machine with this vsock. Its threads end with the process.
    pub(crate) fn start(vsock: &Path) -> Result<Self> {
        let path = Relay::path_for(vsock, PORT);
        let listener = UnixListener::bind(&path).with_context(|| format!("{}", path.display()))?;
        let got = Arc::new(AtomicU64::new(0));
        let counter = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                // A stream that ends early is an upload that was stopped.
                std::thread::spawn(move || serve(&stream, &counter));
            }
        });
        Ok(Self { got, path })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(stream: &UnixStream, got: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    loop {
        let mut left = 0;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            let value = line.to_ascii_lowercase();
            if let Some(value) = value.strip_prefix("content-length:") {
                left = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut content = (&mut reader).take(left);
        let mut buffer = vec![0; 64 << 10];
        while let len @ 1.. = content.read(&mut buffer)? {
            got.fetch_add(len as u64, Ordering::Relaxed);
        }
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

/// One `curl` that uploads over several connections until it is dropped.
pub(crate) fn push(host: &str, connections: u32, directory: &Path) -> Result<Curl> {
    // Sparse, so it takes no space on disk.
    let file = directory.join("upload");
    std::fs::File::create(&file)?.set_len(FILE_BYTES)?;
    let mut curl = Curl::command(host, 80, connections);
    for n in 0..connections {
        curl.arg("-T").arg(&file).arg(format!("http://{host}/{n}"));
    }
    Curl::start(curl.stdout(Stdio::null()))
}
