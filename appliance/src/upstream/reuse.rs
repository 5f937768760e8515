//! Whether a link may carry a request: the one place that every link passes on its way there. The invariant that this
//! holds, and what it rests on, are at the top of [`super`].

use super::Pools;
use super::link::{Link, LinkId, LinkState};
use super::worker::{Standing, Worker};
use crate::time::Instant;
use netdrv::stream::{CloseReason, StreamTransport};

impl<S: StreamTransport> Pools<S> {
    /// Gives a link back after a whole response: for the next request if `reuse`, else it is closed.
    pub fn finish(&mut self, id: LinkId, reuse: bool, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let (pool, worker, ended) = (link.pool, link.worker, link.ended);
        let unasked = !self.streams.readable(link.stream).is_empty();
        let unfit = self.streams.is_worn(link.stream) || self.streams.has_unread(link.stream);
        self.pools[pool].workers[worker].succeeded();
        self.pools[pool].workers[worker].used_at = now;
        // Of a worker that is leaving, nothing is used again.
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

    /// Closes a link whose user has gone; says nothing about the worker.
    pub fn abandon(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let pool = link.pool;
        self.drop_link(id);
        self.dispatch(pool, now);
    }

    /// An idle link of the pool, to a worker that is not to be avoided, on which nothing has arrived in a whole turn of the
    /// transport. Those on which something has are closed.
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

    /// Closes a link that nobody uses and on which something has arrived.
    pub(super) fn drop_unclean(&mut self, id: LinkId) {
        self.counters.unasked += 1;
        self.drop_link(id);
    }

    /// Ends a link for its requester: what arrived over it is no answer, and is not shown.
    pub(super) fn spoil(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(id).filter(|link| !link.ended) else { return };
        link.spoiled = true;
        self.counters.unasked += 1;
        self.on_link_ended(id, CloseReason::Protocol, now);
    }

    /// Something arrived over this link that is no answer to the request it carries.
    pub fn is_spoiled(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| link.spoiled)
    }

    /// A link that has yet to be seen idle for a turn of the transport, and then may carry a request.
    fn is_fresh(&self, link: &Link, now: Instant) -> bool {
        matches!(link.state, LinkState::Idle { turn, .. } if turn >= self.turn)
            && self.pools[link.pool].workers[link.worker].may_use_link(now)
    }

    /// Links that may serve waiting requests soon: those that are being opened, and those that have yet to be seen idle for
    /// a turn of the transport. Those that are opened to see how a suspect is serve nobody yet.
    pub(super) fn under_way(&self, index: usize, now: Instant) -> usize {
        let fresh = self.links.iter().filter(|(_, link)| link.pool == index && self.is_fresh(link, now));
        let connecting: usize = self.pools[index].workers.iter().map(Worker::opening).sum();
        connecting + fresh.count()
    }

    /// A request waits for this link, which only has to be seen idle for a turn.
    pub(super) fn is_awaited(&self, link: &Link, now: Instant) -> bool {
        !self.pools[link.pool].waiting.is_empty() && self.is_fresh(link, now)
    }

    /// Requests wait for a link that only has to be seen idle for a turn: [`Pools::poll`] is to run again at once.
    pub fn wants_turn(&self, now: Instant) -> bool {
        self.waiting() > 0 && self.links.iter().any(|(_, link)| self.is_awaited(link, now))
    }
}
