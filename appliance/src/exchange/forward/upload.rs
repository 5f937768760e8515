//! Content on its way to a worker: bytes the link has not taken yet and, if a replay is allowed, a copy of
//! all content so far.

use crate::budget::{Budget, Lease};
use crate::upstream::{LinkId, Upstream};
use alloc::vec::Vec;

/// Limit on content kept for a replay, in bytes per request.
const KEPT: usize = 64 << 10;
/// Size in bytes of the pieces in which content is taken from the client: the most that is held while the
/// link takes nothing.
pub(crate) const PIECE: usize = 8 << 10;

#[derive(Default)]
pub(super) struct Upload {
    bytes: Vec<u8>,
    sent: usize,
    /// The request may be replayed, so all content is kept.
    keep: bool,
    leases: Vec<Lease>,
    /// Content was sent to a worker without being kept.
    gone: bool,
}

impl Upload {
    pub(super) fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Sends held bytes. Returns how many were sent, and whether none are left.
    pub(super) fn flush<U: Upstream>(&mut self, pools: &mut U, link: LinkId) -> (usize, bool) {
        let n = match self.bytes.get(self.sent..) {
            None | Some([]) => 0,
            Some(rest) => pools.send(link, rest),
        };
        self.sent += n;
        let all = self.sent == self.bytes.len();
        if all && !self.keep {
            self.bytes.clear();
            self.sent = 0;
        }
        (n, all)
    }

    /// Whether all content so far is kept for a replay.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Notes that content went to the worker without being kept.
    pub(super) fn mark_unkept(&mut self) {
        self.gone = true;
    }

    /// Whether no bytes are held.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends a piece of content, at most [`PIECE`] bytes with its framing. No bytes may be held.
    pub(super) fn pass<U: Upstream>(&mut self, data: &[u8], pools: &mut U, link: LinkId, budget: &Budget) {
        // A send that falls short makes the transport report room later.
        let sent = pools.send(link, data);
        self.keep = self.keep && self.bytes.len() + data.len() <= KEPT && self.reserve(data.len(), budget);
        if self.keep {
            self.bytes.extend_from_slice(data);
            self.sent += sent;
            return;
        }
        self.gone = true;
        self.bytes.clear();
        self.leases.clear();
        self.bytes.extend_from_slice(data.get(sent..).unwrap_or_default());
        self.sent = 0;
    }

    fn reserve(&mut self, bytes: usize, budget: &Budget) -> bool {
        let needed = (self.bytes.len() + bytes).next_multiple_of(PIECE);
        while self.leases.len() * PIECE < needed {
            let Some(lease) = budget.lease(PIECE) else { return false };
            self.leases.push(lease);
        }
        true
    }

    /// Starts over for another worker. False if some content was not kept.
    pub(super) fn rewind(&mut self) -> bool {
        self.sent = 0;
        !self.gone
    }
}
