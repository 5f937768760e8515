//! Joins the appliance's vsock streams to a worker.
//!
//! A stream that the appliance opens to the host's CID 2 arrives from its vsock daemon at a Unix socket; a [`Relay`]
//! listens there, opens a stream to the worker and moves bytes until one of the two ends.
//!
//! - **Back-pressure**: a direction reads only when everything it read before has been written, so what the relay holds
//!   is one buffer of [`link::BUFFER`] bytes per direction and stream, and at most [`Limits::streams`] streams.
//! - **Ends**: half-closes do not survive the daemons, so the end of one side ends the other, after everything that the
//!   ended side sent has been delivered. A worker that takes no more but still answers gets its answer through.
//! - **A worker VM's end** ends its streams at once: [`Target::Vm`] carries a token that the supervisor cancels.
//! - **A worker that is not there yet**: the stream is held until it is, at most [`Limits::hold`]. The appliance cannot
//!   tell the difference from a slow worker, which is the point.

pub mod link;
pub mod target;

use anyhow::{Context, Result};
use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use target::Target;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

/// Bounds of one relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most streams at a time; further ones are closed at once.
    pub streams: usize,
    /// Longest wait for a worker that is being started.
    pub hold: Duration,
    /// Longest wait for a running worker to accept a stream.
    pub open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { streams: 256, hold: Duration::from_secs(20), open: Duration::from_secs(5) }
    }
}

/// What a relay has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams accepted from the appliance.
    pub accepted: Cell<u64>,
    /// Streams closed because there were too many.
    pub refused: Cell<u64>,
    /// Streams closed because the worker could not be reached.
    pub unreachable: Cell<u64>,
    /// Bytes that went to the worker.
    pub to_worker: Cell<u64>,
    /// Bytes that came from the worker.
    pub from_worker: Cell<u64>,
}

impl Counters {
    fn add(counter: &Cell<u64>, n: u64) {
        counter.set(counter.get().wrapping_add(n));
    }
}

/// Listens for one worker's streams. Runs on a [`tokio::task::LocalSet`].
#[derive(Debug)]
pub struct Relay {
    listener: UnixListener,
    path: PathBuf,
    target: Target,
    limits: Limits,
    counters: Rc<Counters>,
    open: Rc<Cell<usize>>,
}

impl Relay {
    /// Begins to listen. This has to happen before the appliance starts: a connection request to a port where nobody
    /// listens is not refused but times out.
    pub fn bind(path: &Path, target: Target, limits: Limits) -> Result<Self> {
        let listener =
            UnixListener::bind(path).with_context(|| format!("relay socket {}", path.display()))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            target,
            limits,
            counters: Rc::default(),
            open: Rc::default(),
        })
    }

    /// The path at which the vsock daemon of the VM at `vsock` looks for a listener on `port`.
    pub fn path_for(vsock: &Path, port: u32) -> PathBuf {
        let mut path = vsock.as_os_str().to_owned();
        path.push(format!("_{port}"));
        path.into()
    }

    /// Removes the sockets that the relays of a supervisor that was killed have left beside this vsock, from port `base` on,
    /// and returns the highest port of them. Nobody may listen on them any more.
    pub fn remove_stale(vsock: &Path, base: u32) -> Result<Option<u32>> {
        let (Some(directory), Some(name)) = (vsock.parent(), vsock.file_name()) else { return Ok(None) };
        let mut highest = None;
        for entry in std::fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
            let entry = entry.with_context(|| format!("{}", directory.display()))?;
            let port = |file: &OsStr| {
                file.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('_')?.parse::<u32>().ok()
            };
            let Some(port) = port(&entry.file_name()).filter(|port| *port >= base) else { continue };
            std::fs::remove_file(entry.path()).with_context(|| format!("{}", entry.path().display()))?;
            highest = highest.max(Some(port));
        }
        Ok(highest)
    }

    /// The counters, which outlive the relay.
    pub fn counters(&self) -> Rc<Counters> {
        self.counters.clone()
    }

    /// How many streams are open, for as long as the relay runs.
    pub fn open(&self) -> Rc<Cell<usize>> {
        self.open.clone()
    }

    /// Takes streams until dropped; those that it has taken end by themselves, or with their worker.
    pub async fn run(self) {
        loop {
            match self.listener.accept().await {
                // Every stream is accepted, even one too many: the daemon connects with a blocking call, and
                // a full backlog would stop it altogether.
                Ok((stream, _)) if self.open.get() < self.limits.streams => {
                    Counters::add(&self.counters.accepted, 1);
                    let (target, limits, counters) =
                        (self.target.clone(), self.limits, self.counters.clone());
                    let held = Held::new(&self.open);
                    tokio::task::spawn_local(async move {
                        serve(stream, target, limits, counters).await;
                        drop(held);
                    });
                }
                Ok((stream, _)) => {
                    Counters::add(&self.counters.refused, 1);
                    tokio::task::spawn_local(link::close(stream));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: streams that end give some back.
                    eprintln!("[relay] {}: {error}", self.path.display());
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Counts one open stream.
struct Held(Rc<Cell<usize>>);

impl Held {
    fn new(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(open.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut appliance: UnixStream, target: Target, limits: Limits, counters: Rc<Counters>) {
    let Some((mut worker, until)) = reach(&target, limits).await else {
        Counters::add(&counters.unreachable, 1);
        return link::close(appliance).await;
    };
    tokio::select! {
        biased;
        () = until.cancelled() => {}
        () = link::join(&mut appliance, &mut worker, &counters) => {}
    }
    tokio::join!(link::close(appliance), link::close(worker));
}

/// Opens a stream to the worker; `None` if it cannot be had in time.
async fn reach(target: &Target, limits: Limits) -> Option<(target::Stream, target::Until)> {
    let ready = timeout(limits.hold, target.ready()).await.ok()??;
    if ready.until.is_cancelled() {
        return None;
    }
    let stream = timeout(limits.open, ready.open()).await.ok()?.ok()?;
    Some((stream, ready.until))
}
