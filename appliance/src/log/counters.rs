//! Counters of everything that is answered and refused.

use model::reason::Reason;

/// What happened to requests, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCounters {
    /// Requests whose head was complete and valid.
    pub requests: u64,
    /// Requests answered from the image's files.
    pub served_from_memory: u64,
    /// Requests answered by a worker, from its first byte to its last.
    pub served_by_workers: u64,
    /// Requests given to a second worker after the first one died.
    pub replayed: u64,
    /// Responses cut off because the worker died in the middle: the client sees its connection closed.
    pub truncated: u64,
    /// Idle connections closed to make room for new ones.
    pub evicted: u64,
    /// Requests whose answer was malformed: 502.
    pub malformed: u64,
    /// Requests whose worker was silent for too long.
    pub silent: u64,
    /// Connections that changed their protocol (101).
    pub upgraded: u64,
    /// Bytes from clients to workers over such connections.
    pub tunnel_bytes_in: u64,
    /// Bytes from workers to clients over such connections.
    pub tunnel_bytes_out: u64,
    reasons: [u64; Reason::ALL.len()],
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self {
            requests: 0,
            served_from_memory: 0,
            served_by_workers: 0,
            replayed: 0,
            truncated: 0,
            evicted: 0,
            malformed: 0,
            silent: 0,
            upgraded: 0,
            tunnel_bytes_in: 0,
            tunnel_bytes_out: 0,
            reasons: [0; Reason::ALL.len()],
        }
    }
}

impl RequestCounters {
    /// Counts a refusal or an ended connection.
    pub fn count(&mut self, reason: Reason) {
        self.reasons[reason as usize] += 1;
    }

    /// How often a request was refused or a connection ended for this reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }
}
