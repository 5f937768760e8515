//! What the control connection carries.
//!
//! Each side first sends [`PREAMBLE`], then frames: a length of four bytes, least significant first, and that many bytes
//! of one message in postcard's encoding. The preamble never changes shape, so that any two versions can tell each other apart;
//! everything behind it may change with [`VERSION`].

use crate::id::{PoolId, SiteId};
use crate::metrics::SiteMetrics;
use crate::pool::{Outage, Service};
use crate::settings::{Certificate, Limits, ServerBandwidth, SiteBandwidth, Worker};
use crate::tls;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The vsock port of the appliance that the host's side connects to.
pub const CONTROL_PORT: u32 = 9_999;
/// Version of everything behind the preamble.
pub const VERSION: u16 = 3;
/// What each side sends first: a name, and [`VERSION`] with its least significant byte first.
pub const PREAMBLE: [u8; 6] = [b'W', b'E', b'I', b'R', VERSION as u8, (VERSION >> 8) as u8];
/// Longest message, in bytes. Answers about many things come in pages.
pub const FRAME_MAX: usize = 64 << 10;
/// Bytes of a frame before its message.
pub const FRAME_HEAD: usize = 4;
/// Most entries of one page.
pub const PAGE: usize = 64;

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
    /// This side looks after workers from now on: it gets [`Message::Demand`], and whoever did so before is cut off. Workers
    /// announced before are forgotten unless they are announced again.
    Supervise,
    /// A worker is up.
    WorkerUp {
        /// Its pool.
        pool: PoolId,
        /// Where.
        address: Worker,
        /// A relay is in between: each stream is to begin with its name in eight bytes, least significant first, and
        /// [`Request::StreamEnded`] says how it ended.
        named: bool,
    },
    /// What is to be known of a worker.
    WorkerIs {
        /// Its pool.
        pool: PoolId,
        /// Where it is.
        address: Worker,
        /// It cannot serve: it is to get no further requests until this is taken back, and finishes those it has.
        down: bool,
        /// For people, at most [`NOTE_MAX`](crate::pool::NOTE_MAX) bytes.
        note: String,
    },
    /// How a stream ended whose name this is.
    StreamEnded {
        /// Its first eight bytes.
        name: u64,
        /// The worker ended it in order, and everything it sent has been passed on; else it was cut.
        whole: bool,
    },
    /// A worker is to get no further requests; it finishes those it has.
    WorkerLeaving {
        /// Its pool.
        pool: PoolId,
        /// Where it is.
        address: Worker,
    },
    /// A worker has died: what it had in hand is lost, and its links with it.
    WorkerGone {
        /// Its pool.
        pool: PoolId,
        /// Where it was.
        address: Worker,
        /// It ended by itself or hung: what it had in hand may be why. Else somebody ended it.
        died: bool,
    },
    /// Takes a pool into service or out of it.
    SetService {
        /// The pool.
        pool: PoolId,
        /// What it is to do with requests.
        service: Service,
        /// Why it is out of service.
        out: Option<Outage>,
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
    /// New certificates with their keys for a site that has some. Connections keep those that they began with.
    SetCertificates {
        /// Its name.
        site: String,
        /// All of them; the first that suits a client is used.
        certificates: Vec<Certificate>,
    },
    /// A new OCSP response for one of a site's certificates.
    SetStaple {
        /// Its name.
        site: String,
        /// Index of the certificate.
        certificate: u16,
        /// The response in DER, or none.
        ocsp: Option<Vec<u8>>,
    },
    /// Counters of the whole appliance.
    Status,
    /// Pools and their workers, from this index on.
    Pools(PoolId),
    /// Sites, from this index on.
    Sites(SiteId),
    /// Finish what is under way and begin nothing new. Asked again, it says how far that has come, and may change the limit.
    Drain {
        /// What is not done by then is cut off, in milliseconds from now.
        limit_ms: u64,
    },
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
        pool: PoolId,
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
    /// To [`Request::Drain`].
    Draining(Draining),
}

/// What is left to do before the appliance can be switched off without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Connections whose clients have not got everything yet.
    pub connections: u64,
    /// Bytes of log lines that the collector has not acknowledged.
    pub log_bytes: u64,
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
    /// The certificates cannot be used.
    Certificates(tls::TlsError),
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
            Self::Certificates(error) => return error.fmt(f),
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
    /// TLS, where the settings have any.
    pub tls: Option<Box<TlsInfo>>,
    /// Random numbers.
    pub entropy: EntropyInfo,
}

/// TLS at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsInfo {
    /// Handshakes in progress.
    pub handshaking: u32,
    /// What happened since the start.
    pub counters: tls::TlsCounters,
    /// Why https is not served.
    pub without: Option<tls::TlsError>,
}

/// Random numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntropyInfo {
    /// There has been a seed from a real source.
    pub seeded: bool,
    /// The sources that this machine has: their names, and whether they have passed all tests.
    pub sources: Vec<(String, bool)>,
    /// Seeds mixed in since the start.
    pub seeds: u64,
    /// Bytes given out since the start.
    pub bytes: u64,
}

/// A pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// Its state by the number of the APP_POOL_WAS performance counter, 1 to 7.
    pub state: u8,
    /// Why it is out of service, where that was said.
    pub out: Option<Outage>,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests that workers have.
    pub in_hand: u32,
    /// Its workers, at most as many as a pool may have.
    pub workers: Vec<WorkerInfo>,
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Where it is.
    pub address: Worker,
    /// It finishes what it has and gets nothing new.
    pub leaving: bool,
    /// It answered the last requests.
    pub healthy: bool,
    /// Whoever looks after it says that it cannot serve.
    pub down: bool,
    /// What is said of it there.
    pub note: String,
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
    /// What it has done, waits for and was refused.
    pub metrics: SiteMetrics,
    /// When its certificates cease to be valid, in seconds since 1970-01-01 UTC and in their order.
    pub certificates_end: Vec<u64>,
}
