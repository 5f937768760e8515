//! Holds back the start of a response until the worker has proved to be alive.
//!
//! While nothing has been sent to the client, a request whose worker dies can be replayed to another. So
//! sending begins when the response is complete, when its start fills the buffer, or when the worker pauses:
//! small responses arrive whole or are replayed. A response of known length that fits gets a longer pause,
//! since half of it is useless.
//!
//! There is at most one buffer per link, and the link is not released before the client has taken the held
//! bytes: memory is bounded by the number of links.

use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// Limit on held content, in bytes, chunk framing included.
pub(super) const SIZE: usize = 16 << 10;
/// Pause of the worker after which held bytes are sent.
const PAUSE: Duration = Duration::from_millis(5);
/// As above, if the rest of the response is known to fit.
const PAUSE_WHOLE: Duration = Duration::from_millis(250);

pub(super) struct FirstBuffer {
    bytes: Vec<u8>,
    limit: usize,
    pause: Duration,
    last: Instant,
}

impl FirstBuffer {
    /// Holds `head`. `length`: length of the content in bytes, if known.
    pub(super) fn new(mut bytes: Vec<u8>, head: &[u8], length: Option<u64>, now: Instant) -> Self {
        let fits = length.is_some_and(|length| length <= SIZE as u64);
        bytes.extend_from_slice(head);
        let limit = head.len() + SIZE;
        Self { bytes, limit, pause: if fits { PAUSE_WHOLE } else { PAUSE }, last: now }
    }

    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    pub(super) fn put(&mut self, bytes: &[u8], now: Instant) {
        self.bytes.extend_from_slice(bytes);
        self.last = now;
    }

    /// When the held bytes are sent even if nothing follows.
    pub(super) fn release_at(&self) -> Instant {
        self.last + self.pause
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
