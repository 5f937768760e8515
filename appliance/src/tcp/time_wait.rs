//! TIME-WAIT as a 64-byte record instead of a socket (RFC 9293 §3.6): enough to acknowledge a repeated FIN.

use super::flow::FlowKey;
use super::port::LastSent;
use crate::table::KeyedHash;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::time::Duration;
use hashbrown::HashMap;

/// How long segments of a closed connection may still arrive. RFC 9293 requires two maximum segment lifetimes
/// but leaves the number open; this is smoltcp's, and keeps enough port pairs free on a busy server.
const LINGER: Duration = Duration::from_secs(10);

/// The last connections that we closed first; the oldest makes room for the newest.
pub(super) struct TimeWait {
    records: HashMap<FlowKey, LastSent, KeyedHash>,
    order: VecDeque<(Instant, FlowKey)>,
    capacity: usize,
}

impl TimeWait {
    pub(super) fn new(capacity: usize, hash: KeyedHash) -> Self {
        // Twice the entries, so that deletions never force the table to grow.
        Self {
            records: HashMap::with_capacity_and_hasher(capacity * 2, hash),
            order: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    pub(super) fn insert(&mut self, now: Instant, key: FlowKey, last: LastSent) {
        while self.order.len() >= self.capacity || self.order.front().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.records.remove(&oldest);
            }
        }
        self.order.push_back((now + LINGER, key));
        self.records.insert(key, last);
    }

    /// The state to answer a late segment of this connection with.
    pub(super) fn get(&self, key: &FlowKey) -> Option<LastSent> {
        self.records.get(key).copied()
    }

    /// Forgets a connection whose tuple is reused.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        self.records.remove(key);
    }
}
