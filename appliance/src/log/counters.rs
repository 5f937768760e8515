//! Counters of answered and refused requests.

use model::reason::Reason;

model::counters! {
    /// Request counts since the start.
    pub struct RequestCounters {
        /// Requests whose head was complete and valid.
        requests = "requests",
        /// Requests answered from the image's files.
        served_from_memory = "served_from_memory",
        /// Requests answered completely by a worker.
        served_by_workers = "served_by_workers",
        /// Requests given to a second worker after the first one died.
        replayed = "replayed",
        /// Responses cut off because the worker died: the client sees its connection closed.
        truncated = "truncated",
        /// Idle connections closed to make room for new ones.
        evicted = "connections_evicted",
        /// Requests whose response was malformed: 502.
        malformed = "malformed_responses",
        /// Requests whose worker was silent for too long.
        silent = "silent_workers",
        /// Connections that switched protocols (101).
        upgraded = "upgraded",
        /// Bytes from clients to workers over such connections.
        tunnel_bytes_in = "tunnel_bytes_in",
        /// Bytes from workers to clients over such connections.
        tunnel_bytes_out = "tunnel_bytes_out",
    }
    and {
        /// How often requests were refused and connections ended, by reason.
        reasons: ReasonCounters,
    }
}

impl RequestCounters {
    /// Counts a refusal or an ended connection.
    pub fn count(&mut self, reason: Reason) {
        self.reasons.0[reason as usize] += 1;
    }

    /// How often a request was refused or a connection ended for this reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.reasons.0[reason as usize]
    }
}

/// Refusals and ended connections by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCounters([u64; Reason::ALL.len()]);

impl Default for ReasonCounters {
    fn default() -> Self {
        Self([0; Reason::ALL.len()])
    }
}
