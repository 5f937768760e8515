//! Connects the appliance's vsock streams to a worker.
//!
//! A stream that the appliance opens to CID 2, the host, arrives from its vsock daemon at a Unix socket. A [`Relay`] listens
//! there, opens a stream to the worker, and moves bytes until one of the two ends.
//!
//! - **Back-pressure**: a direction reads only when everything read before has been written, so a relay holds one buffer of
//!   [`link::BUFFER`] bytes per direction and stream, and at most [`Limits::streams`] streams.
//! - **Ends**: the daemons do not pass on half-closes, so the end of one side ends the other once everything the ended side sent
//!   has been delivered. A worker that accepts no more data but still responds gets its response through.
//! - **Outcome**: how a worker's stream ended is reported to the appliance if streams begin with identifiers ([`ends`]).
//! - **End of a worker VM**: ends its streams at once; [`Target::Vm`] has a token that the supervisor cancels.
//! - **Starting worker**: streams are held until it is up, for at most [`Limits::hold`]. To the appliance it looks like a slow
//!   worker, which is intended.

pub mod ends;
pub mod link;
pub mod target;

use anyhow::{Context, Result};
use ends::{NAME_LIMIT, ReportEnd, Witness};
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

/// Limits of one relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Concurrent streams; further ones are closed at once.
    pub streams: usize,
    /// Time limit for a worker that is being started.
    pub hold: Duration,
    /// Time limit for a running worker to accept a stream.
    pub open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { streams: 256, hold: Duration::from_secs(20), open: Duration::from_secs(5) }
    }
}

/// Counters of a relay.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams accepted from the appliance.
    pub accepted: Cell<u64>,
    /// Streams closed because there were too many.
    pub refused: Cell<u64>,
    /// Streams closed because the worker could not be reached.
    pub unreachable: Cell<u64>,
    /// Bytes sent to the worker.
    pub to_worker: Cell<u64>,
    /// Bytes received from the worker.
    pub from_worker: Cell<u64>,
}

impl Counters {
    fn add(counter: &Cell<u64>, n: u64) {
        counter.set(counter.get().wrapping_add(n));
    }
}

/// Signs of life seen by a relay.
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

    /// Waits until a stream fails to reach the worker.
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

/// State shared by all streams of a relay.
struct Served {
    target: Target,
    limits: Limits,
    counters: Rc<Counters>,
    signs: Rc<Signs>,
    /// If set, streams begin with identifiers, and their outcome is reported.
    ends: Option<(ReportEnd, Witness)>,
}

impl Relay {
    /// Listens at `path`. This must happen before the appliance starts: a connection request to a port without a listener is not
    /// refused but times out.
    pub fn bind(path: &Path, target: Target, limits: Limits) -> Result<Self> {
        Self::bind_telling(path, target, limits, None)
    }

    /// Like [`Relay::bind`], for streams that begin with identifiers.
    pub fn bind_telling(
        path: &Path,
        target: Target,
        limits: Limits,
        ends: Option<(ReportEnd, Witness)>,
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

    /// The path where the vsock daemon of the VM at `vsock` looks for a listener on `port`.
    pub fn path_for(vsock: &Path, port: u32) -> PathBuf {
        let mut path = vsock.as_os_str().to_owned();
        path.push(format!("_{port}"));
        path.into()
    }

    /// Removes relay sockets left beside this vsock by a killed supervisor, for ports from `base`, and returns the highest such
    /// port. Nobody may be listening on them.
    pub fn remove_stale(vsock: &Path, base: u32) -> Result<Option<u32>> {
        let (Some(directory), Some(name)) = (vsock.parent(), vsock.file_name()) else { return Ok(None) };
        let mut highest = None;
        for entry in std::fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
            let entry = entry.with_context(|| format!("{}", directory.display()))?;
            let port = |file: &OsStr| {
                file.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('_')?.parse::<u32>().ok()
            };
            let Some(port) = port(&entry.file_name()).filter(|port| *port >= base) else { continue };
            // Anything else keeps its name; nothing listens there.
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

    /// The worker's signs of life.
    pub fn signs(&self) -> Rc<Signs> {
        self.served.signs.clone()
    }

    /// Number of open streams, while the relay runs.
    pub fn open(&self) -> Rc<Cell<usize>> {
        self.open.clone()
    }

    /// Accepts streams until dropped; accepted ones end by themselves, or with their worker.
    pub async fn run(self) {
        loop {
            match self.listener.accept().await {
                // Accept every stream, even one too many: the daemon's connect call blocks, and a full backlog would stop it
                // altogether.
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
                    // Probably out of file descriptors: ending streams free some.
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
            // The side that ended it knows.
            (End::Appliance, _) | (_, None) => {}
        }
        tokio::join!(link::close(appliance), link::close(worker));
    }
}

/// Opens a stream to the worker; `None` if that fails or takes too long. For a VM it includes the port by which the worker knows
/// the stream.
async fn reach(target: &Target, limits: Limits) -> Option<(target::Stream, Option<u32>, target::Until)> {
    let ready = timeout(limits.hold, target.ready()).await.ok()??;
    if ready.until.is_cancelled() {
        return None;
    }
    let (stream, port) = timeout(limits.open, ready.open()).await.ok()?.ok()?;
    Some((stream, port, ready.until))
}
