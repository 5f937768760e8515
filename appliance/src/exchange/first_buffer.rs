//! The front part of a response, held back until it is certain that the worker lives.
//!
//! As long as nothing was sent to the client, a worker's death is repaired by giving the request to another. So forwarding
//! begins when the response is complete, when its front part fills the buffer, or when the worker pauses: small responses
//! arrive whole or are replayed. A response whose length is known and fits is worth a longer pause, since half of it is of
//! no use to anybody.
//!
//! At most one per link, and the link is not given back before the client has taken what was held: memory is
//! bounded by the number of links.

use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// Content held at most, in bytes, chunk framing included.
pub(super) const SIZE: usize = 16 << 10;
/// The worker has paused.
const PAUSE: Duration = Duration::from_millis(5);
/// As above, when all that is missing is known to fit.
const PAUSE_WHOLE: Duration = Duration::from_millis(250);

pub(super) struct FirstBuffer {
    bytes: Vec<u8>,
    limit: usize,
    pause: Duration,
    last: Instant,
}

impl FirstBuffer {
    /// Holds `head`; `length` is the content's, where it is known.
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

    /// When what is here goes out even if nothing follows.
    pub(super) fn release_at(&self) -> Instant {
        self.last + self.pause
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
