//! Joins the appliance's vsock streams to a worker.
//!
//! A stream that the appliance opens to the host's CID 2 arrives from its vsock daemon at a Unix socket; a [`Relay`]
//! listens there, opens a stream to the worker and moves bytes until one of the two ends.
//!
//! - **Back-pressure**: a direction reads only when everything it read before has been written, so what the relay holds
//!   is one buffer of [`link::BUFFER`] bytes per direction and stream, and at most [`Limits::streams`] streams.
//! - **Ends**: half-closes do not survive the daemons, so the end of one side ends the other, after everything that the
//!   ended side sent has been delivered. A worker that takes no more but still answers gets its answer through.
//! - **How a worker's stream ended** is told to the appliance where the two have agreed on names for streams ([`ends`]).
//! - **A worker VM's end** ends its streams at once: [`Target::Vm`] carries a token that the supervisor cancels.
//! - **A worker that is not there yet**: the stream is held until it is, at most [`Limits::hold`]. The appliance cannot
//!   tell the difference from a slow worker, which is the point.

pub mod ends;
pub mod link;
pub mod target;

use anyhow::{Context, Result};
use ends::{NAME_LIMIT, Tell, Witness};
use image::place::{self, SocketFile};
use link::End;
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use target::Target;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
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

/// Signs of life that a relay sees.
#[derive(Debug, Default)]
pub struct Signs {
    heard: Cell<Option<Instant>>,
    unreached: Notify,
}

impl Signs {
    /// When the worker last sent anything.
    pub fn heard(&self) -> Option<Instant> {
        self.heard.get()
    }

    /// Waits until a stream has not reached the worker.
    pub async fn unreached(&self) {
        self.unreached.notified().await;
    }
}

/// Listens for one worker's streams. Runs on a [`tokio::task::LocalSet`].
pub struct Relay {
    listener: UnixListener,
    file: SocketFile,
    served: Rc<Served>,
    open: Rc<Cell<usize>>,
}

/// What all streams of a relay share.
struct Served {
    target: Target,
    limits: Limits,
    counters: Rc<Counters>,
    signs: Rc<Signs>,
    /// Streams begin with their names, and who is told how they ended.
    ends: Option<(Tell, Witness)>,
}

impl Relay {
    /// Begins to listen. This has to happen before the appliance starts: a connection request to a port where nobody
    /// listens is not refused but times out.
    pub fn bind(path: &Path, target: Target, limits: Limits) -> Result<Self> {
        Self::bind_telling(path, target, limits, None)
    }

    /// The same for streams that begin with their names.
    pub fn bind_telling(
        path: &Path,
        target: Target,
        limits: Limits,
        ends: Option<(Tell, Witness)>,
    ) -> Result<Self> {
        let listener =
            UnixListener::bind(path).with_context(|| format!("relay socket {}", path.display()))?;
        Ok(Self {
            listener,
            file: SocketFile::at(path).with_context(|| format!("relay socket {}", path.display()))?,
            served: Rc::new(Served { target, limits, counters: Rc::default(), signs: Rc::default(), ends }),
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
            // Something else keeps its name, and nobody listens there.
            match place::remove_socket(&entry.path()) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("{}", entry.path().display()));
                }
                _ => {}
            }
            highest = highest.max(Some(port));
        }
        Ok(highest)
    }

    /// The counters, which outlive the relay.
    pub fn counters(&self) -> Rc<Counters> {
        self.served.counters.clone()
    }

    /// What it sees of the worker.
    pub fn signs(&self) -> Rc<Signs> {
        self.served.signs.clone()
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
                Ok((stream, _)) if self.open.get() < self.served.limits.streams => {
                    Counters::add(&self.served.counters.accepted, 1);
                    let served = self.served.clone();
                    let held = Held::new(&self.open);
                    tokio::task::spawn_local(async move {
                        served.serve(stream).await;
                        drop(held);
                    });
                }
                Ok((stream, _)) => {
                    Counters::add(&self.served.counters.refused, 1);
                    tokio::task::spawn_local(link::close(stream));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: streams that end give some back.
                    eprintln!("[relay] {}: {error}", self.file.path().display());
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

impl Served {
    async fn serve(&self, mut appliance: UnixStream) {
        let name = async {
            self.ends.as_ref()?;
            let mut name = [0; 8];
            timeout(NAME_LIMIT, appliance.read_exact(&mut name)).await.ok()?.ok()?;
            Some(u64::from_le_bytes(name))
        };
        let (name, reached) = tokio::join!(name, reach(&self.target, self.limits));
        let tell = |whole| {
            if let (Some((tell, _)), Some(name)) = (&self.ends, name) {
                tell(name, whole);
            }
        };
        let (mut worker, port, until) = match reached {
            Some(reached) if name.is_some() == self.ends.is_some() => reached,
            Some((worker, ..)) => {
                tokio::join!(link::close(appliance), link::close(worker));
                return;
            }
            None => {
                Counters::add(&self.counters.unreachable, 1);
                self.signs.unreached.notify_one();
                tell(false);
                return link::close(appliance).await;
            }
        };
        let end = tokio::select! {
            biased;
            () = until.cancelled() => End::Cut,
            end = link::join(&mut appliance, &mut worker, &self.counters, &self.signs.heard) => end,
        };
        match (end, &self.ends) {
            (End::Whole, Some((_, witness))) => tell(witness.confirms(port).await && !until.is_cancelled()),
            (End::Cut, _) => tell(false),
            // Whoever ended it knows.
            (End::Appliance, _) | (_, None) => {}
        }
        tokio::join!(link::close(appliance), link::close(worker));
    }
}

/// Opens a stream to the worker; `None` if it cannot be had in time. With it comes the port by which the worker knows it, if it
/// is a VM's.
async fn reach(target: &Target, limits: Limits) -> Option<(target::Stream, Option<u32>, target::Until)> {
    let ready = timeout(limits.hold, target.ready()).await.ok()??;
    if ready.until.is_cancelled() {
        return None;
    }
    let (stream, port) = timeout(limits.open, ready.open()).await.ok()?.ok()?;
    Some((stream, port, ready.until))
}
