//! Decides whether a link may carry a request. Every link passes here on its way to one. The invariant that
//! this upholds, and its limits, are described in [`super`].

use super::Pools;
use super::link::{Link, LinkId, LinkState};
use super::worker::{Standing, Worker};
use crate::time::Instant;
use netdrv::stream::{CloseReason, StreamTransport};

impl<S: StreamTransport> Pools<S> {
    /// Returns a link after a complete response: to the pool if `reuse` is set and the link is clean, else it
    /// is closed.
    pub fn finish(&mut self, id: LinkId, reuse: bool, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let (pool, worker, ended) = (link.pool, link.worker, link.ended);
        let unasked = !self.streams.readable(link.stream).is_empty();
        let unfit = self.streams.is_key_exhausted(link.stream) || self.streams.has_unread(link.stream);
        self.pools[pool].workers[worker].succeeded();
        self.pools[pool].workers[worker].used_at = now;
        // Links of a leaving worker are not used again.
        let stays = self.pools[pool].workers[worker].standing == Standing::Active;
        self.counters.unasked += u64::from(unasked && reuse);
        if reuse && stays && !ended && !unasked && !unfit {
            self.set_idle(id, now);
            self.pools[pool].workers[worker].in_use -= 1;
        } else {
            self.drop_link(id);
        }
        self.dispatch(pool, now);
    }

    /// Closes a link whose user has gone. Says nothing about the worker.
    pub fn abandon(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let pool = link.pool;
        self.drop_link(id);
        self.dispatch(pool, now);
    }

    /// An idle link of the pool, not to worker `avoid`, on which nothing has arrived for a whole turn of the
    /// transport. Closes those on which something has.
    pub(super) fn find_clean(&mut self, index: usize, avoid: Option<usize>, now: Instant) -> Option<LinkId> {
        loop {
            let pool = &self.pools[index];
            let workers = (&pool.workers[..], pool.links_per_worker);
            let id = self.links.find_idle(index, workers, avoid, self.turn, now)?;
            if self.streams.readable(self.links.get(id)?.stream).is_empty() {
                return Some(id);
            }
            self.drop_unclean(id);
        }
    }

    /// Closes an unused link on which bytes have arrived.
    pub(super) fn drop_unclean(&mut self, id: LinkId) {
        self.counters.unasked += 1;
        self.drop_link(id);
    }

    /// Ends a link for its requester: what arrived is no answer to the request and is not shown.
    pub(super) fn spoil(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(id).filter(|link| !link.ended) else { return };
        link.spoiled = true;
        self.counters.unasked += 1;
        self.on_link_ended(id, CloseReason::Protocol, now);
    }

    /// Whether bytes arrived over this link that are no answer to the request it carries.
    pub fn is_spoiled(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| link.spoiled)
    }

    /// Whether a link only has to stay idle for a turn of the transport before it may carry a request.
    fn is_fresh(&self, link: &Link, now: Instant) -> bool {
        matches!(link.state, LinkState::Idle { turn, .. } if turn >= self.turn)
            && self.pools[link.pool].workers[link.worker].may_use_link(now)
    }

    /// Links that may soon serve waiting requests: those being opened, and those that have yet to stay idle
    /// for a turn of the transport. Probes of suspect workers do not count.
    pub(super) fn pending_links(&self, index: usize, now: Instant) -> usize {
        let fresh = self.links.iter().filter(|(_, link)| link.pool == index && self.is_fresh(link, now));
        let connecting: usize = self.pools[index].workers.iter().map(Worker::opening).sum();
        connecting + fresh.count()
    }

    /// Whether a request waits for this link, which only has to stay idle for a turn.
    pub(super) fn is_awaited(&self, link: &Link, now: Instant) -> bool {
        !self.pools[link.pool].waiting.is_empty() && self.is_fresh(link, now)
    }

    /// Whether requests wait for links that only have to stay idle for a turn: [`Pools::poll`] should run
    /// again at once.
    pub fn wants_turn(&self, now: Instant) -> bool {
        self.waiting() > 0 && self.links.iter().any(|(_, link)| self.is_awaited(link, now))
    }
}
