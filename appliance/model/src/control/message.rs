//! Messages of the control connection.
//!
//! Each side first sends [`PREAMBLE`], then frames: a four-byte little-endian length, and that many bytes of
//! a message in postcard encoding. The preamble never changes shape, so that any two versions can recognise
//! each other; everything after it may change with [`VERSION`].

use crate::id::{PoolId, SiteId};
use crate::metrics::SiteMetrics;
use crate::pool::{Outage, Service};
use crate::settings::{Certificate, Limits, ServerBandwidth, SiteBandwidth, Worker};
use crate::tls;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The appliance's vsock port for control connections.
pub const CONTROL_PORT: u32 = 9_999;
/// Version of everything after the preamble.
pub const VERSION: u16 = 3;
/// The first bytes from each side: a name, and [`VERSION`] in little-endian order.
pub const PREAMBLE: [u8; 6] = [b'W', b'E', b'I', b'R', VERSION as u8, (VERSION >> 8) as u8];
/// Limit on the length of a message in bytes. Longer answers are paged.
pub const FRAME_MAX: usize = 64 << 10;
/// Bytes of a frame before its message.
pub const FRAME_HEAD: usize = 4;
/// Limit on the entries of a page.
pub const PAGE: usize = 64;

/// A request from the host to the appliance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Repeated in the reply.
    pub id: u32,
    /// The request.
    pub request: Request,
}

/// Requests from the host. Pools are identified by their index in the settings, sites by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Makes this connection the supervisor's: it gets [`Message::Demand`], and that of a previous supervisor
    /// is closed. Workers announced before are retired unless they are announced again.
    Supervise,
    /// A worker is up.
    WorkerUp {
        /// The worker's pool.
        pool: PoolId,
        /// The worker's address.
        address: Worker,
        /// Whether there is a relay in between: each stream begins with its name in eight bytes,
        /// little-endian, and [`Request::StreamEnded`] reports how it ended.
        named: bool,
    },
    /// The state of a worker.
    WorkerReport {
        /// The worker's pool.
        pool: PoolId,
        /// The worker's address.
        address: Worker,
        /// Whether it cannot serve: it gets no requests until this is revoked, and finishes those it has.
        down: bool,
        /// A note for people, at most [`NOTE_MAX`](crate::pool::NOTE_MAX) bytes.
        note: String,
    },
    /// How the stream of this name ended.
    StreamEnded {
        /// The first eight bytes of the stream.
        name: u64,
        /// Whether the worker ended it in order and everything it sent was passed on; otherwise it was cut.
        whole: bool,
    },
    /// Retires a worker: it gets no further requests and finishes those it has.
    WorkerLeaving {
        /// The worker's pool.
        pool: PoolId,
        /// The worker's address.
        address: Worker,
    },
    /// Removes a worker that has gone, along with its requests and links.
    WorkerGone {
        /// The worker's pool.
        pool: PoolId,
        /// The worker's former address.
        address: Worker,
        /// Whether it crashed or hung, so that a request may be the cause; otherwise it was stopped on
        /// purpose.
        died: bool,
    },
    /// Takes a pool into or out of service.
    SetService {
        /// The pool.
        pool: PoolId,
        /// What to do with its requests.
        service: Service,
        /// Why it is out of service.
        out: Option<Outage>,
    },
    /// Replaces the bandwidth and limits of a site.
    SetSite {
        /// The site's name.
        site: String,
        /// All of its bandwidth settings.
        bandwidth: SiteBandwidth,
        /// All of its limits.
        limits: Limits,
    },
    /// Replaces the bandwidth and limits of the server.
    SetServer {
        /// All of its bandwidth settings.
        bandwidth: ServerBandwidth,
        /// All of its limits.
        limits: Limits,
    },
    /// Replaces the certificates and keys of a site that has some. Connections keep those they began with.
    SetCertificates {
        /// The site's name.
        site: String,
        /// All certificates; the first one that suits a client is used.
        certificates: Vec<Certificate>,
    },
    /// Replaces the OCSP response of one of a site's certificates.
    SetStaple {
        /// The site's name.
        site: String,
        /// Index of the certificate.
        certificate: u16,
        /// The response in DER, or none.
        ocsp: Option<Vec<u8>>,
    },
    /// State and counters of the appliance.
    Status,
    /// Pools and their workers, from this index on.
    Pools(PoolId),
    /// Sites, from this index on.
    Sites(SiteId),
    /// Drains the appliance: requests in progress are finished, no new ones accepted. When repeated, reports
    /// progress, and may change the limit.
    Drain {
        /// Milliseconds from now until the rest is cut off.
        limit_ms: u64,
    },
}

/// A message from the appliance to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// The reply to an [`Ask`].
    Reply {
        /// The request's id; 0 if it could not be decoded.
        id: u32,
        /// The result. A refused request has changed nothing.
        result: Result<Answer, Refusal>,
    },
    /// Requests are waiting in a pool without a worker to take them.
    Demand {
        /// The pool.
        pool: PoolId,
        /// How long the oldest one has waited, in nanoseconds.
        waited_ns: u64,
    },
}

/// Result of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Pools`]: at most [`PAGE`] entries; empty after the last one.
    Pools(Vec<PoolInfo>),
    /// To [`Request::Sites`]: at most [`PAGE`] entries; empty after the last one.
    Sites(Vec<SiteInfo>),
    /// To [`Request::Drain`].
    Draining(Draining),
}

/// What is left to do before the appliance can be switched off without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Connections whose clients have not received everything yet.
    pub connections: u64,
    /// Bytes of log lines that the collector has not acknowledged.
    pub log_bytes: u64,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The message cannot be decoded.
    Malformed,
    /// There is no such pool.
    NoSuchPool,
    /// The pool has no worker at this address.
    NoSuchWorker,
    /// The pool has the maximum number of workers.
    TooManyWorkers,
    /// There is no such site.
    NoSuchSite,
    /// The bandwidth or limits are invalid: a description.
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

/// State of the appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Client connections.
    pub connections: u64,
    /// Links to workers, in any state.
    pub links: u64,
    /// Links in use by a request.
    pub links_in_use: u64,
    /// Bytes of heads and content held for requests in progress.
    pub held_bytes: u64,
    /// Counters since the start, by name.
    pub counters: Vec<(String, u64)>,
    /// Refusals and ended connections since the start, by reason phrase, without zeros.
    pub reasons: Vec<(String, u64)>,
    /// TLS, if the settings use it.
    pub tls: Option<Box<TlsInfo>>,
    /// Random numbers.
    pub entropy: EntropyInfo,
}

/// State of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsInfo {
    /// Handshakes in progress.
    pub handshaking: u32,
    /// Event counts since the start.
    pub counters: tls::TlsCounters,
    /// Why https is not served, if it is not.
    pub without: Option<tls::TlsError>,
}

/// State of the random number generator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntropyInfo {
    /// Whether there was a seed from a real source.
    pub seeded: bool,
    /// Sources of this machine: their names, and whether they have passed all tests.
    pub sources: Vec<(String, bool)>,
    /// Seeds mixed in since the start.
    pub seeds: u64,
    /// Bytes generated since the start.
    pub bytes: u64,
}

/// State of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// The pool's name.
    pub name: String,
    /// The pool's state as in the APP_POOL_WAS performance counter, 1 to 7.
    pub state: u8,
    /// Why it is out of service, if given.
    pub out: Option<Outage>,
    /// Waiting requests.
    pub waiting: u32,
    /// Requests at workers.
    pub in_hand: u32,
    /// The pool's workers, at most [`MAX_WORKERS`](crate::pool::MAX_WORKERS).
    pub workers: Vec<WorkerInfo>,
}

/// State of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The worker's address.
    pub address: Worker,
    /// Whether it finishes its requests and gets no new ones.
    pub leaving: bool,
    /// Whether it answered the last requests.
    pub healthy: bool,
    /// Whether its supervisor reports that it cannot serve.
    pub down: bool,
    /// The supervisor's note on it.
    pub note: String,
    /// Requests it is processing.
    pub in_hand: u32,
    /// Requests it has answered.
    pub served: u64,
    /// Milliseconds since it last received or finished a request.
    pub unused_ms: u64,
}

/// State of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteInfo {
    /// The site's name.
    pub name: String,
    /// The bandwidth in force.
    pub bandwidth: SiteBandwidth,
    /// The limits in force.
    pub limits: Limits,
    /// The site's metrics.
    pub metrics: SiteMetrics,
    /// When its certificates expire, in seconds since 1970-01-01 UTC, in configuration order.
    pub certificates_end: Vec<u64>,
}
