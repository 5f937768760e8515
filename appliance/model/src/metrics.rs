//! What a site has done, in numbers.

use serde::{Deserialize, Serialize};

/// What a site has done and has waiting, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes granted since the start, and those charged without asking (retransmissions).
    pub bytes: u64,
    /// Bytes per second in the last whole second.
    pub rate: u64,
    /// Bytes the ceiling would let through at once; negative while more was sent than is paid for. `None` without ceiling.
    pub tokens: Option<i64>,
    /// Connections that wait for their turn.
    pub queued: u32,
    /// Bytes that those could send now if they were let.
    pub queued_bytes: u64,
    /// How often a connection had to wait.
    pub delayed: u64,
}

/// What a site has done, waits for and was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteMetrics {
    /// Responses.
    pub down: Usage,
    /// Content of requests.
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
