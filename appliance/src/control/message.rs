//! What the control connection carries.
//!
//! Each side first sends [`PREAMBLE`], then frames: a length of four bytes, least significant first, and that many bytes
//! of one message in postcard's encoding. The preamble never changes shape, so that any two versions can tell each other apart;
//! everything behind it may change with [`VERSION`].

use crate::settings::{Limits, ServerBandwidth, SiteBandwidth};
use alloc::string::String;
use alloc::vec::Vec;
use netdrv::stream::VsockAddr;
use serde::{Deserialize, Serialize};

/// The vsock port of the appliance that the host's side connects to.
pub const CONTROL_PORT: u32 = 9_999;
/// Version of everything behind the preamble.
pub const VERSION: u16 = 1;
/// What each side sends first: a name, and [`VERSION`] with its least significant byte first.
pub const PREAMBLE: [u8; 6] = [b'W', b'E', b'I', b'R', VERSION as u8, (VERSION >> 8) as u8];
/// Longest message, in bytes. Answers about many things come in pages.
pub const FRAME_MAX: usize = 64 << 10;
/// Bytes of a frame before its message.
pub const FRAME_HEAD: usize = 4;
/// Most entries of one page.
pub const PAGE: usize = 64;

/// A worker's vsock address as the appliance dials it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// Context identifier.
    pub cid: u32,
    /// Port.
    pub port: u32,
}

impl From<WorkerAddress> for VsockAddr {
    fn from(WorkerAddress { cid, port }: WorkerAddress) -> Self {
        Self { cid, port }
    }
}

impl From<VsockAddr> for WorkerAddress {
    fn from(VsockAddr { cid, port }: VsockAddr) -> Self {
        Self { cid, port }
    }
}

/// From the host to the appliance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back in the reply.
    pub id: u32,
    /// What is asked.
    pub request: Request,
}

/// What the host may ask. Pools are named by their index in the settings, sites by their name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// This side looks after workers from now on: it gets [`Message::Demand`]. Workers announced before are forgotten
    /// unless they are announced again.
    Supervise,
    /// A worker is up.
    WorkerUp {
        /// Its pool.
        pool: u16,
        /// Where.
        address: WorkerAddress,
    },
    /// A worker is to get no further requests; it finishes those it has.
    WorkerLeaving {
        /// Its pool.
        pool: u16,
        /// Where it is.
        address: WorkerAddress,
    },
    /// A worker has died: what it had in hand is lost, and its links with it.
    WorkerGone {
        /// Its pool.
        pool: u16,
        /// Where it was.
        address: WorkerAddress,
    },
    /// Takes a pool into service or out of it.
    SetService {
        /// The pool.
        pool: u16,
        /// What it is to do with requests.
        service: Service,
    },
    /// New bandwidth and limits of one site.
    SetSite {
        /// Its name.
        site: String,
        /// Bandwidth, whole.
        bandwidth: SiteBandwidth,
        /// Limits, whole.
        limits: Limits,
    },
    /// New bandwidth and limits of the server.
    SetServer {
        /// Bandwidth, whole.
        bandwidth: ServerBandwidth,
        /// Limits, whole.
        limits: Limits,
    },
    /// Counters of the whole appliance.
    Status,
    /// Pools and their workers, from this index on.
    Pools(u16),
    /// Sites, from this index on.
    Sites(u32),
}

/// Whether a pool takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// It does.
    Open,
    /// 503 `AppOffline` at once.
    Offline,
    /// 503 `AppShutdown` at once.
    Shutdown,
}

/// From the appliance to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// To an [`Ask`].
    Reply {
        /// Its number; 0 if it could not be read.
        id: u32,
        /// What came of it. A refusal has changed nothing.
        result: Result<Answer, Refusal>,
    },
    /// Requests wait in this pool and no worker is there to take them.
    Demand {
        /// The pool.
        pool: u16,
        /// For how long the oldest of them has waited, in nanoseconds.
        waited_ns: u64,
    },
}

/// What a request led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Pools`]: at most [`PAGE`]; empty behind the last.
    Pools(Vec<PoolInfo>),
    /// To [`Request::Sites`]: at most [`PAGE`]; empty behind the last.
    Sites(Vec<SiteInfo>),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The message cannot be read.
    Malformed,
    /// There is no such pool.
    NoSuchPool,
    /// The pool knows no worker there.
    NoSuchWorker,
    /// The pool has as many workers as it may have.
    TooManyWorkers,
    /// There is no such site.
    NoSuchSite,
    /// The bandwidth or limits cannot be: what is wrong, in words.
    Bandwidth(String),
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the message cannot be read",
            Self::NoSuchPool => "no such pool",
            Self::NoSuchWorker => "the pool has no worker at this address",
            Self::TooManyWorkers => "the pool has as many workers as it may have",
            Self::NoSuchSite => "no such site",
            Self::Bandwidth(what) => what,
        })
    }
}

impl core::error::Error for Refusal {}

/// The appliance at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Client connections.
    pub connections: u64,
    /// Links to workers, and those of them in use.
    pub links: u64,
    /// Links in use by a request.
    pub links_in_use: u64,
    /// Bytes of heads and content held for requests under way.
    pub held_bytes: u64,
    /// Counters since the start, by name.
    pub counters: Vec<(String, u64)>,
    /// Refusals and connections ended since the start, by their reason phrase; those that never happened left out.
    pub reasons: Vec<(String, u64)>,
}

/// A pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// Its state by the number of the APP_POOL_WAS performance counter, 1 to 7.
    pub state: u8,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests that workers have.
    pub in_hand: u32,
    /// Its workers, at most as many as a pool may have.
    pub workers: Vec<WorkerInfo>,
}

/// A worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Where it is.
    pub address: WorkerAddress,
    /// It finishes what it has and gets nothing new.
    pub leaving: bool,
    /// It answered the last requests.
    pub healthy: bool,
    /// Requests it has.
    pub in_hand: u32,
    /// Requests it has answered.
    pub served: u64,
    /// Milliseconds since it last was given or finished a request.
    pub unused_ms: u64,
}

/// A site at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteInfo {
    /// Its name.
    pub name: String,
    /// The bandwidth in force.
    pub bandwidth: SiteBandwidth,
    /// The limits in force.
    pub limits: Limits,
    /// Responses.
    pub down: Usage,
    /// Content of requests.
    pub up: Usage,
    /// Connections whose last request was for this site.
    pub connections: u32,
    /// Requests refused because of a limit on connections.
    pub refused_connections: u64,
    /// Requests refused because of a limit on requests per second.
    pub refused_requests: u64,
    /// Connections ended because the client took its response too slowly.
    pub too_slow: u64,
}

/// Bandwidth in one direction: [`crate::flow::Usage`] as it travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes since the start.
    pub bytes: u64,
    /// Bytes per second in the last whole second.
    pub rate: u64,
    /// Bytes the ceiling would let through at once; negative while in debt. `None` without ceiling.
    pub tokens: Option<i64>,
    /// Connections that wait for their turn.
    pub queued: u32,
    /// Bytes that those could send now if they were let.
    pub queued_bytes: u64,
    /// How often a connection had to wait.
    pub delayed: u64,
}

impl From<crate::flow::Usage> for Usage {
    fn from(usage: crate::flow::Usage) -> Self {
        let crate::flow::Usage { bytes, rate, tokens, queued, queued_bytes, delayed } = usage;
        Self { bytes, rate, tokens, queued, queued_bytes, delayed }
    }
}
