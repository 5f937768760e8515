//! What `weir.toml` says once it has been checked on the host: the form in which settings travel in the bundle.
//!
//! Everything here was validated by the host (`image::config`); the appliance checks again only what it would
//! be unsafe to believe (indices).

mod passing;
mod trust;

pub use passing::Passing;
pub use trust::{ClientField, Network, Trust};

use crate::id::PoolId;
use crate::log::Field;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// All settings of one appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Server-wide settings.
    pub server: Server,
    /// Sites (HTTP.sys: URL groups).
    pub sites: Vec<Site>,
    /// Application pools.
    pub pools: Vec<Pool>,
    /// What is logged; nothing where there is none.
    pub log: Option<Log>,
}

impl Settings {
    /// Whether anything is served over TLS, or asked of workers over it.
    pub fn uses_tls(&self) -> bool {
        self.serves_tls() || self.secures_links()
    }

    /// Whether a site is served over TLS.
    pub fn serves_tls(&self) -> bool {
        self.sites.iter().any(|site| site.tls.is_some())
    }

    /// Whether a pool's links carry TLS.
    pub fn secures_links(&self) -> bool {
        self.pools.iter().any(|pool| pool.tls.is_some())
    }
}

/// What is logged, and where the lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The host's vsock port that takes the lines.
    pub port: u32,
    /// Form of the access log.
    pub format: LogFormat,
    /// Fields of the access log, in this order; none: no access log.
    pub fields: Vec<Field>,
    /// The error log (HTTPERR) is written.
    pub errors: bool,
    /// `s-computername`.
    pub computer: String,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// W3C extended log file format.
    #[default]
    W3c,
    /// A JSON object a line.
    Json,
}

/// Server-wide settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// A static IPv4 address; DHCP where there is none.
    pub address: Option<StaticAddress>,
    /// Bandwidth of all sites together.
    pub bandwidth: ServerBandwidth,
    /// Limits on all sites together, and on a client over all of them.
    pub limits: Limits,
    /// How requests are read, where their site does not say otherwise or is not known.
    pub http: Http,
    /// Proxies whose word about their client is taken.
    pub trust: Trust,
}

/// How requests are read. What is not said: a site's is the server's, the server's is the profile's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Where the values come from that are not said.
    pub profile: Option<Profile>,
    /// MaxRequestBytes: request line and fields, 256 to 16,777,216 bytes.
    pub max_request_bytes: Option<u32>,
    /// MaxFieldLength: one field line, 64 to 65,534 bytes.
    pub max_field_length: Option<u32>,
    /// UrlSegmentMaxLength: characters of a decoded path segment, 1 to 32,766.
    pub url_segment_max_length: Option<u32>,
    /// UrlSegmentMaxCount: segments of a path, 1 to 16,383.
    pub url_segment_max_count: Option<u32>,
    /// Most content of a request, in bytes; more is 413.
    pub max_content: Option<u64>,
    /// HeaderWait, in seconds.
    pub header_wait_s: Option<u32>,
    /// IdleConnection, in seconds.
    pub idle_connection_s: Option<u32>,
    /// Silence after which a connection that has changed its protocol ends, in seconds.
    pub tunnel_idle_s: Option<u32>,
    /// Silence after which an answer of unknown length ends that has begun, in seconds.
    pub stream_idle_s: Option<u32>,
    /// EntityBody, in seconds.
    pub entity_body_s: Option<u32>,
    /// DrainEntityBody, in seconds.
    pub drain_entity_body_s: Option<u32>,
    /// Floor for content on its way up, in bytes per second: who is waited for longer than EntityBody and the time that
    /// the content would have taken at this rate is late. 0: none.
    pub entity_body_rate: Option<u64>,
    /// TRACE is accepted.
    pub trace: Option<bool>,
}

/// Values that are not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// Our own.
    #[default]
    Strict,
    /// HTTP.sys's documented defaults.
    HttpSys,
}

/// Bandwidth of all sites together, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBandwidth {
    /// Most that all responses together take.
    pub ceil: Option<u64>,
    /// Most that all content of requests together takes.
    pub upload_ceil: Option<u64>,
}

/// Bandwidth of a site. Rates are in bytes per second, at least
/// what the data plane can count (`flow::BytesPerSec::MIN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteBandwidth {
    /// Guaranteed for responses when the server's ceiling is short.
    pub rate: Option<u64>,
    /// Most that responses take.
    pub ceil: Option<u64>,
    /// Bytes that may go at once after a pause; 50 ms of the rate if not said.
    pub burst: Option<u64>,
    /// Share of what is left of the server's ceiling, relative to other sites.
    pub weight: u32,
    /// Most that responses to one client address take.
    pub client_ceil: Option<u64>,
    /// Most that content of requests takes.
    pub upload_ceil: Option<u64>,
    /// Most that content of requests of one client address takes.
    pub client_upload_ceil: Option<u64>,
}

impl Default for SiteBandwidth {
    fn default() -> Self {
        Self {
            rate: None,
            ceil: None,
            burst: None,
            weight: 1,
            client_ceil: None,
            upload_ceil: None,
            client_upload_ceil: None,
        }
    }
}

/// Limits of a site or of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections at most.
    pub connections: Option<u32>,
    /// Connections of one client address at most.
    pub client_connections: Option<u32>,
    /// Requests at most.
    pub requests: Option<RequestRate>,
    /// Requests of one client address at most.
    pub client_requests: Option<RequestRate>,
    /// MinSendRate: a client that drains its response more slowly than so many bytes per second loses its connection.
    /// 0: never. Not said at the site: the server's; not said there: HTTP.sys's 150.
    pub min_send_rate: Option<u64>,
}

/// Requests per time. All are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRate {
    /// So many requests …
    pub requests: u32,
    /// … in so many seconds,
    pub per_secs: u32,
    /// and so many at once.
    pub burst: u32,
}

/// A static IPv4 configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticAddress {
    /// The address.
    pub address: [u8; 4],
    /// Prefix length, 0 to 32.
    pub prefix_len: u8,
    /// Default gateway.
    pub gateway: Option<[u8; 4]>,
}

/// A site: the URL prefixes that share limits and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Name for logs and metrics.
    pub name: String,
    /// What it answers to.
    pub prefixes: Vec<Prefix>,
    /// Bandwidth.
    pub bandwidth: SiteBandwidth,
    /// Limits.
    pub limits: Limits,
    /// How its requests are read.
    pub http: Http,
    /// TLS, for a site that has certificates.
    pub tls: Option<Tls>,
    /// The port of `https://` that requests over plain HTTP are sent to (308).
    pub redirect_https: Option<u16>,
}

/// A URL prefix and what serves the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Canonical URL prefix, `scheme://host:port/path/`, host in lower case, `+` and `*` as in HTTP.sys.
    pub url: String,
    /// What serves it.
    pub handler: Handler,
    /// Client certificates below it; the site's rule if not said.
    pub client_certificates: Option<ClientCertificates>,
    /// What of its requests is passed on as the client wrote it.
    pub passing: Passing,
}

/// TLS of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// At least one; the first that suits a client is used.
    pub certificates: Vec<Certificate>,
    /// TLS 1.2 besides 1.3.
    pub tls12: bool,
    /// Tickets are given out and taken.
    pub resumption: bool,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
    /// Whom client certificates may lead to, as X.509 DER.
    pub client_anchors: Vec<Vec<u8>>,
    /// Revocation lists for client certificates, in DER. With any, each certificate of a chain must be covered by one.
    pub client_crls: Vec<Vec<u8>>,
    /// The value of `Strict-Transport-Security` (RFC 6797) in responses over TLS.
    pub hsts: Option<String>,
}

/// A certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// X.509 in DER, the end entity first.
    pub chain: Vec<Vec<u8>>,
    /// Its private key.
    pub key: Key,
    /// An OCSP response to staple, in DER (RFC 6066 §8).
    pub ocsp: Option<Vec<u8>>,
}

/// A private key, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// In DER: PKCS #8, SEC 1 or PKCS #1.
    Der(Secret),
    /// The entry of this name in the key material that the host hands over.
    Handed(String),
}

impl Default for Key {
    fn default() -> Self {
        Self::Der(Secret::default())
    }
}

/// Bytes that no output shows and that are overwritten when dropped.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for whoever must have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What is asked of clients in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClientCertificates {
    /// Nothing.
    #[default]
    Ignore,
    /// A certificate, if they have one.
    Request,
    /// A valid certificate: without one, requests are answered 403.
    Require,
}

/// What serves the URLs below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// The bundle's file tree of this number; the path below the prefix names the file.
    Files(u16),
    /// The pool of this index in [`Settings::pools`].
    Pool(PoolId),
    /// Nobody, and why.
    Nobody(Nobody),
}

/// Why nobody serves a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nobody {
    /// A reservation without a registration: 400, and not 503, which would look like overload.
    Reserved,
    /// A registration without a pool: 503.
    Unbound,
    /// Taken offline by the administrator: 503.
    Disabled,
}

/// An application pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Name for logs and metrics.
    pub name: String,
    /// Where its workers are reached from inside the appliance.
    pub workers: Vec<Worker>,
    /// Requests that may wait, in requests; by default 1000, as in HTTP.sys.
    pub queue_length: Option<u32>,
    /// How long they may wait, in seconds; by default 120 (HTTP.sys: RequestQueue).
    pub queue_timeout_s: Option<u32>,
    /// For how long a worker may be silent with a request in hand, in seconds; by default 90 (IIS: ping response time).
    pub response_timeout_s: Option<u32>,
    /// Requests that one worker is given at a time; by default 64.
    pub requests_per_worker: Option<u32>,
    /// Longest head of a worker's answer, in bytes; by default 65,536.
    pub response_head_bytes: Option<u32>,
    /// Most fields of a worker's answer; by default 256.
    pub response_fields: Option<u32>,
    /// How much a 503 of this pool says.
    pub verbosity: Verbosity,
    /// TLS on its links; plain HTTP if not said.
    pub tls: Option<LinkTls>,
}

/// TLS 1.3 on the links to a pool's workers, with certificates on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTls {
    /// The name that a worker's certificate has to be for.
    pub name: String,
    /// Whom it may lead to, as X.509 DER.
    pub anchors: Vec<Vec<u8>>,
    /// Our own: an end entity's alone, with an ECDSA or Ed25519 key.
    pub certificate: Certificate,
}

/// How much a client is told when a pool refuses its request (HTTP.sys: HTTP_503_RESPONSE_VERBOSITY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verbosity {
    /// No response: the connection is reset.
    Basic,
    /// A plain 503.
    #[default]
    Limited,
    /// A 503 whose content names the reason.
    Full,
}

/// A worker's vsock address as the appliance dials it. Workers started by the supervisor are reached through its
/// relay, at the host's CID 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Context identifier.
    pub cid: u32,
    /// Port.
    pub port: u32,
}
