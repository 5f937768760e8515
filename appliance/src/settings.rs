//! What `weir.toml` says once it has been checked on the host: the form in which settings travel in the bundle.
//!
//! Everything here was validated by the host (`image::config`); the appliance checks again only what it would
//! be unsafe to believe (indices).

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
}

/// Server-wide settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// A static IPv4 address; DHCP where there is none.
    pub address: Option<StaticAddress>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Name for logs and metrics.
    pub name: String,
    /// What it answers to.
    pub prefixes: Vec<Prefix>,
}

/// A URL prefix and what serves the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Canonical URL prefix, `scheme://host:port/path/`, host in lower case, `+` and `*` as in HTTP.sys.
    pub url: String,
    /// What serves it.
    pub handler: Handler,
}

/// What serves the URLs below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// The bundle's file tree of this number; the path below the prefix names the file.
    Files(u16),
    /// The pool of this index in [`Settings::pools`].
    Pool(u16),
}

/// An application pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Name for logs and metrics.
    pub name: String,
    /// Where its workers are reached from inside the appliance.
    pub workers: Vec<Worker>,
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
