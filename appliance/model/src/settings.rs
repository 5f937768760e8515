//! The validated form of `weir.toml`, in which settings travel in the bundle.
//!
//! All values were validated by the host (`image::config`). The appliance checks again only what would be
//! unsafe to trust (indices).

mod passthrough;
mod trust;

pub use passthrough::Passthrough;
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
    /// What is logged; `None` for nothing.
    pub log: Option<Log>,
}

impl Settings {
    /// Whether TLS is used, for clients or on links to workers.
    pub fn uses_tls(&self) -> bool {
        self.serves_tls() || self.secures_links()
    }

    /// Whether a site is served over TLS.
    pub fn serves_tls(&self) -> bool {
        self.sites.iter().any(|site| site.tls.is_some())
    }

    /// Whether the links of a pool use TLS.
    pub fn secures_links(&self) -> bool {
        self.pools.iter().any(|pool| pool.tls.is_some())
    }
}

/// What is logged, and where lines are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The host's vsock port for log lines.
    pub port: u32,
    /// Format of the access log.
    pub format: LogFormat,
    /// Fields of the access log, in this order; empty: no access log.
    pub fields: Vec<Field>,
    /// Whether to write the error log (HTTPERR).
    pub errors: bool,
    /// `s-computername`.
    pub computer: String,
}

/// Format of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// W3C extended log file format.
    #[default]
    W3c,
    /// One JSON object per line.
    Json,
}

/// Server-wide settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// A static IPv4 address; `None` for DHCP.
    pub address: Option<StaticAddress>,
    /// Bandwidth of all sites together.
    pub bandwidth: ServerBandwidth,
    /// Limits on all sites together, and on each client across all of them.
    pub limits: Limits,
    /// Limits and timers for requests, unless the site overrides them or is not known.
    pub http: Http,
    /// Trusted proxies.
    pub trust: Trust,
}

/// Limits and timers for requests. `None` means the server's value for a site, and the profile's for the
/// server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Source of default values.
    pub profile: Option<Profile>,
    /// MaxRequestBytes: request line and fields, 256 to 16,777,216 bytes.
    pub max_request_bytes: Option<u32>,
    /// MaxFieldLength: one field line, 64 to 65,534 bytes.
    pub max_field_length: Option<u32>,
    /// UrlSegmentMaxLength: characters of a decoded path segment, 1 to 32,766.
    pub url_segment_max_length: Option<u32>,
    /// UrlSegmentMaxCount: segments of a path, 1 to 16,383.
    pub url_segment_max_count: Option<u32>,
    /// Limit on request content, in bytes; more is answered with 413.
    pub max_content: Option<u64>,
    /// HeaderWait, in seconds.
    pub header_wait_s: Option<u32>,
    /// IdleConnection, in seconds.
    pub idle_connection_s: Option<u32>,
    /// Silence in seconds after which a connection that has switched protocols ends.
    pub tunnel_idle_s: Option<u32>,
    /// Silence in seconds after which a response of unknown length ends.
    pub stream_idle_s: Option<u32>,
    /// EntityBody, in seconds.
    pub entity_body_s: Option<u32>,
    /// DrainEntityBody, in seconds.
    pub drain_entity_body_s: Option<u32>,
    /// Minimum rate of request content, in bytes per second: content is late once it takes longer than
    /// EntityBody plus the time it would have taken at this rate. 0: none.
    pub entity_body_rate: Option<u64>,
    /// Whether TRACE is accepted.
    pub trace: Option<bool>,
}

/// A set of default values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// Weir's defaults.
    #[default]
    Strict,
    /// HTTP.sys's documented defaults.
    HttpSys,
}

/// Bandwidth of all sites together, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBandwidth {
    /// Ceiling of all responses.
    pub ceil: Option<u64>,
    /// Ceiling of all request content.
    pub upload_ceil: Option<u64>,
}

/// Bandwidth of a site. Rates are in bytes per second, at least `flow::BytesPerSec::MIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteBandwidth {
    /// Guaranteed rate of responses when the server's ceiling is short.
    pub rate: Option<u64>,
    /// Ceiling of responses.
    pub ceil: Option<u64>,
    /// Bytes that may be sent at once after a pause; by default 50 ms of the rate.
    pub burst: Option<u64>,
    /// Share of the rest of the server's ceiling, relative to other sites.
    pub weight: u32,
    /// Ceiling of responses to one client address.
    pub client_ceil: Option<u64>,
    /// Ceiling of request content.
    pub upload_ceil: Option<u64>,
    /// Ceiling of request content from one client address.
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
    /// Limit on connections.
    pub connections: Option<u32>,
    /// Limit on connections per client address.
    pub client_connections: Option<u32>,
    /// Limit on requests.
    pub requests: Option<RequestRate>,
    /// Limit on requests per client address.
    pub client_requests: Option<RequestRate>,
    /// MinSendRate: a client that drains its response at fewer bytes per second loses its connection. 0:
    /// never. By default the server's value for a site, and HTTP.sys's 150 for the server.
    pub min_send_rate: Option<u64>,
}

/// A rate of requests. All values are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRate {
    /// This many requests,
    pub requests: u32,
    /// in this many seconds,
    pub per_secs: u32,
    /// and at most this many at once.
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

/// A site: URL prefixes that share limits and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Name for logs and metrics.
    pub name: String,
    /// The URL prefixes it serves.
    pub prefixes: Vec<Prefix>,
    /// Bandwidth.
    pub bandwidth: SiteBandwidth,
    /// Limits.
    pub limits: Limits,
    /// Limits and timers for its requests.
    pub http: Http,
    /// TLS, if it has certificates.
    pub tls: Option<Tls>,
    /// The https port to which requests over plain HTTP are redirected (308).
    pub redirect_https: Option<u16>,
}

/// A URL prefix and its handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Canonical URL prefix, `scheme://host:port/path/`, host in lower case, `+` and `*` as in HTTP.sys.
    pub url: String,
    /// The handler.
    pub handler: Handler,
    /// Client certificates for this prefix; by default the site's rule.
    pub client_certificates: Option<ClientCertificates>,
    /// What is passed on as the client wrote it.
    pub passthrough: Passthrough,
}

/// TLS of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// At least one; the first one that suits a client is used.
    pub certificates: Vec<Certificate>,
    /// Whether TLS 1.2 is allowed in addition to 1.3.
    pub tls12: bool,
    /// Whether session tickets are issued and accepted.
    pub resumption: bool,
    /// Whether client certificates are requested or required.
    pub client_certificates: ClientCertificates,
    /// Trust anchors for client certificates, as X.509 DER.
    pub client_anchors: Vec<Vec<u8>>,
    /// Revocation lists for client certificates, in DER. If there are any, they must cover each certificate
    /// of a chain.
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

/// A private key, or its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// In DER: PKCS #8, SEC 1 or PKCS #1.
    Der(Secret),
    /// The entry of this name in the key material from the host.
    Handed(String),
}

impl Default for Key {
    fn default() -> Self {
        Self::Der(Secret::default())
    }
}

/// Bytes that are never printed, and overwritten when dropped.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
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

/// Whether clients are asked for a certificate in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClientCertificates {
    /// No.
    #[default]
    Ignore,
    /// Yes, but it is optional.
    Request,
    /// Yes, and requests without a valid one are answered with 403.
    Require,
}

/// The handler of the URLs below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// The bundle's file tree with this number; the path below the prefix names the file.
    Files(u16),
    /// The pool with this index in [`Settings::pools`].
    Pool(PoolId),
    /// None, for this reason.
    Nobody(Nobody),
}

/// Why a prefix has no handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nobody {
    /// A reservation without a registration: 400, since 503 would suggest overload.
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
    /// Addresses of its workers as seen from the appliance.
    pub workers: Vec<Worker>,
    /// Limit on waiting requests; by default 1000, as in HTTP.sys.
    pub queue_length: Option<u32>,
    /// How long a request may wait, in seconds; by default 120 (HTTP.sys: RequestQueue).
    pub queue_timeout_s: Option<u32>,
    /// How long a worker may be silent while it has a request, in seconds; by default 90 (IIS: ping response
    /// time).
    pub response_timeout_s: Option<u32>,
    /// Limit on concurrent requests per worker; by default 64.
    pub requests_per_worker: Option<u32>,
    /// Limit on the length of a response head, in bytes; by default 65,536.
    pub response_head_bytes: Option<u32>,
    /// Limit on the fields of a response; by default 256.
    pub response_fields: Option<u32>,
    /// How detailed its 503 responses are.
    pub verbosity: Verbosity,
    /// TLS on its links; `None` for plain HTTP.
    pub tls: Option<LinkTls>,
}

/// TLS 1.3 on the links to a pool's workers, with certificates on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTls {
    /// The name that a worker's certificate must have.
    pub name: String,
    /// Trust anchors for the worker's certificate, as X.509 DER.
    pub anchors: Vec<Vec<u8>>,
    /// Our own certificate: the end entity only, with an ECDSA or Ed25519 key.
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

/// A worker's vsock address, as seen from the appliance. Workers started by the supervisor are reached
/// through its relay, at the host's CID 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Context identifier.
    pub cid: u32,
    /// Port.
    pub port: u32,
}
