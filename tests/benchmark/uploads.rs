//! Uploads in the bandwidth report: `curl` processes that send, and a worker on the host that counts what arrives.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir::relay::Relay;
use weir_tests::net::GUEST;

/// The host's vsock port at which `shaping/weir.toml` looks for its worker.
const PORT: u32 = 10_000;
/// More than any of the measurements takes.
const FILE_BYTES: u64 = 1 << 30;

/// A worker that reads content away.
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
                // A stream that breaks off is an upload that was stopped.
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
pub(crate) struct Pusher(Child);

impl Pusher {
    pub(crate) fn start(host: &str, connections: u32, directory: &Path) -> Result<Self> {
        // Takes no room on the disk.
        let file = directory.join("upload");
        std::fs::File::create(&file)?.set_len(FILE_BYTES)?;
        let mut curl = Command::new("curl");
        curl.args(["-s", "-g", "-Z", "--parallel-immediate", "--noproxy", "*", "--max-time", "60"]).args([
            "--parallel-max",
            &connections.to_string(),
            "--resolve",
            &format!("{host}:80:{GUEST}"),
        ]);
        for n in 0..connections {
            curl.arg("-T").arg(&file).arg(format!("http://{host}/{n}"));
        }
        curl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(curl.spawn().context("starting curl")?))
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
