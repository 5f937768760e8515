//! Metrics of sites.

use serde::{Deserialize, Serialize};

/// Metrics of a site in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes granted since the start, including those charged without a request (retransmissions).
    pub bytes: u64,
    /// Bytes per second in the last whole second.
    pub rate: u64,
    /// Bytes the ceiling would allow at once; negative while in debt. `None` without a ceiling.
    pub tokens: Option<i64>,
    /// Connections waiting for a grant.
    pub queued: u32,
    /// Bytes they could send now if granted.
    pub queued_bytes: u64,
    /// How often a connection had to wait.
    pub delayed: u64,
}

/// Metrics of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteMetrics {
    /// Responses.
    pub down: Usage,
    /// Request content.
    pub up: Usage,
    /// Connections whose last request was for this site.
    pub connections: u32,
    /// Requests refused because of a connection limit of the site, the client or the server.
    pub refused_connections: u64,
    /// Requests refused because of a limit on requests per second.
    pub refused_requests: u64,
    /// Connections ended because the client took its response too slowly.
    pub too_slow: u64,
}
