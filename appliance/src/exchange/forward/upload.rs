//! Content on its way to a worker: what the link did not take yet, and, where a replay is allowed, a copy of all of it.

use crate::budget::{Budget, Lease};
use crate::upstream::{LinkId, Upstream};
use alloc::vec::Vec;

/// Content kept for a replay, per request, in bytes.
const KEPT: usize = 64 << 10;
/// Content is taken from the client in pieces of this size: what is kept in any case when the link takes nothing.
pub(crate) const PIECE: usize = 8 << 10;

#[derive(Default)]
pub(super) struct Upload {
    bytes: Vec<u8>,
    sent: usize,
    /// A second worker may be given the request, so nothing is thrown away.
    keep: bool,
    leases: Vec<Lease>,
    /// Something was given to a worker and not kept.
    gone: bool,
}

impl Upload {
    pub(super) fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Sends what waits. True once nothing does.
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

    /// Content is kept for a replay so far.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Content went to the worker past us.
    pub(super) fn let_go(&mut self) {
        self.gone = true;
    }

    /// Nothing waits.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends content of at most a [`PIECE`] and its framing. Nothing may be waiting.
    pub(super) fn pass<U: Upstream>(&mut self, data: &[u8], pools: &mut U, link: LinkId, budget: &Budget) {
        // A send that falls short is what makes the transport tell us of room later.
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

    /// Starts again for another worker, if everything is still there.
    pub(super) fn rewind(&mut self) -> bool {
        self.sent = 0;
        !self.gone
    }
}
