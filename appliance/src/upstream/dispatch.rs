//! Who gets which link, and when another one is opened.

use super::link::{Link, LinkId, LinkState};
use super::verdict::Verdict;
use super::{ExchangeId, PoolEvent, Pools, Security, worker};
use crate::time::Instant;
use core::time::Duration;
use model::id::PoolId;
use model::reason::Reason;
use netdrv::stream::StreamTransport;

/// How long a request waits for another worker than the one that failed it. The end of a worker is seen on its links before
/// anybody says that it is gone; one that is asked again meanwhile would fail the request for good.
pub(super) const AVOID_FOR: Duration = Duration::from_millis(250);
/// Waiting requests that are looked at for one that a further link would serve.
pub(super) const AVOIDING: usize = 64;

impl<S: StreamTransport> Pools<S> {
    pub(super) fn expire(&mut self, index: usize, now: Instant) {
        let pool = &mut self.pools[index];
        while let Some(front) = pool.waiting.front() {
            if now.since(front.since) < pool.queue_timeout {
                break;
            }
            let requester = front.requester;
            pool.waiting.pop_front();
            self.counters.expired += 1;
            self.events.push_back(PoolEvent::Expired(requester));
        }
    }

    /// Gives idle links to waiting requests, and opens links for those that remain.
    pub(super) fn dispatch(&mut self, index: usize, now: Instant) {
        loop {
            while let Some((position, id)) = self.next_match(index, now) {
                let (Some(link), Some(waiting)) =
                    (self.links.get_mut(id), self.pools[index].waiting.remove(position))
                else {
                    break;
                };
                link.state = LinkState::InUse(waiting.requester);
                link.given = now;
                self.streams.ask(link.stream);
                self.pools[index].workers[link.worker].given(now);
                self.events.push_back(PoolEvent::Assigned(waiting.requester, id));
            }
            // A probe of a suspect is for later: meanwhile the request may have a link that was not good enough before.
            if self.wanted_links(index, now) == 0 || !self.open_link(index, now) {
                return;
            }
        }
    }

    /// Opens one link to the worker that suits the first request for which there is one. False if that cannot be done.
    fn open_link(&mut self, index: usize, now: Instant) -> bool {
        let limit = self.pools[index].links_per_worker;
        let workers = &self.pools[index].workers;
        // Those at the front may have to wait for somebody in particular to be avoided.
        let mut front = 0..self.pools[index].waiting.len().min(AVOIDING);
        let suits = |position| {
            let avoid = self.avoided(index, position, now);
            let worker = worker::pick(workers, limit, avoid, now)?;
            Some((worker, worker::is_probe(workers, worker, limit, avoid, now)))
        };
        let Some((worker, probe)) = front.find_map(suits) else { return false };
        if !self.make_room_for_link(index, now) {
            return false;
        }
        let (address, named) = {
            let worker = &self.pools[index].workers[worker];
            (worker.address, worker.named)
        };
        let Ok(stream) = self.streams.connect(address, now.as_nanos()) else {
            self.counters.connects_failed += 1;
            self.pools[index].workers[worker].connect_failed_locally(now);
            return false;
        };
        let name = named.then(|| self.names.next(now));
        if let Some(name) = name {
            self.streams.begin_with(stream, name);
        }
        let mut verdict = Verdict::of(name);
        if let Security::Tls(tls) = &self.pools[index].security {
            self.streams.secure(stream, tls.clone());
            // The worker itself says that it is the end.
            verdict = Verdict::of(None);
        }
        self.counters.links_opened += 1;
        self.pools[index].workers[worker].connecting(probe, now);
        let (state, given) = (LinkState::Connecting, now);
        let (pool, ended, spoiled) = (index, false, false);
        self.links.insert(Link { pool, worker, stream, state, given, verdict, ended, spoiled });
        true
    }

    /// The first request that an idle link suits, and the link, which has been shown to be clean.
    fn next_match(&mut self, index: usize, now: Instant) -> Option<(usize, LinkId)> {
        for position in 0..self.pools[index].waiting.len() {
            let avoid = self.avoided(index, position, now);
            if let Some(id) = self.find_clean(index, avoid, now) {
                return Some((position, id));
            }
            // Without somebody to avoid, the others find nothing either.
            avoid?;
        }
        None
    }

    /// The worker that this request should not be given to again: for [`AVOID_FOR`] at all, then unless no other is fit, or
    /// never.
    fn avoided(&self, index: usize, position: usize, now: Instant) -> Option<usize> {
        let pool = &self.pools[index];
        let waiting = pool.waiting.get(position)?;
        let avoid = waiting.avoid?;
        let stays =
            waiting.never || now.since(waiting.since) < AVOID_FOR || self.others_fit(index, avoid, now);
        stays.then_some(avoid)
    }

    /// Another worker than this one could be given a request, now or when it has room.
    fn others_fit(&self, index: usize, worker: usize, now: Instant) -> bool {
        let others = self.pools[index].workers.iter().enumerate().filter(|(other, _)| *other != worker);
        others.into_iter().any(|(_, w)| w.links > 0 && w.may_use_link(now) || w.is_fit(now))
    }

    /// Another worker than that of this link could be given its request.
    pub fn has_other(&self, id: LinkId, now: Instant) -> bool {
        self.links.get(id).is_some_and(|link| self.others_fit(link.pool, link.worker, now))
    }

    /// Ends the wait of those whose worker was silent and who find no other one.
    pub(super) fn give_up(&mut self, index: usize, now: Instant) {
        let mut position = 0;
        while let Some(waiting) = self.pools[index].waiting.get(position).filter(|_| position < AVOIDING) {
            let requester = waiting.requester;
            let over = waiting.never && now.since(waiting.since) >= AVOID_FOR;
            match waiting.avoid.filter(|avoid| over && !self.others_fit(index, *avoid, now)) {
                None => position += 1,
                Some(_) => {
                    self.pools[index].waiting.remove(position);
                    self.events.push_back(PoolEvent::Refused(requester, Reason::TimerResponse));
                }
            }
        }
    }

    /// Whether another link may be opened for this pool, if need be after closing an idle one, of another pool if
    /// possible.
    fn make_room_for_link(&mut self, index: usize, now: Instant) -> bool {
        if self.links.iter().count() < self.limits.links {
            return true;
        }
        let idle = |link: &Link| matches!(link.state, LinkState::Idle { .. }) && !self.is_awaited(link, now);
        let elsewhere = self.links.find(|link| link.pool != index && idle(link));
        let Some(id) = elsewhere.or_else(|| self.links.find(idle)) else { return false };
        self.drop_link(id);
        true
    }

    /// Takes a request back that is still waiting.
    pub fn withdraw(&mut self, pool: PoolId, requester: ExchangeId) {
        if let Some(pool) = self.pools.get_mut(pool.index()) {
            pool.waiting.retain(|waiting| waiting.requester != requester);
        }
    }

    pub(super) fn drop_idle_links(&mut self, now: Instant) {
        let limit = self.limits.idle_timeout;
        let too_long =
            |link: &Link| matches!(link.state, LinkState::Idle { since, .. } if now.since(since) >= limit);
        while let Some(id) = self.links.find(too_long) {
            self.drop_link(id);
        }
        let idle = self.links.iter().filter_map(|(_, link)| match link.state {
            LinkState::Idle { since, .. } => Some(since + limit),
            _ => None,
        });
        self.idle_check_at = idle.min();
    }

    pub(super) fn set_idle(&mut self, id: LinkId, now: Instant) {
        if let Some(link) = self.links.get_mut(id) {
            link.state = LinkState::Idle { since: now, turn: self.turn };
            self.idle_check_at.get_or_insert(now + self.limits.idle_timeout);
        }
    }

    /// Requests that no link under way will serve.
    fn wanted_links(&self, index: usize, now: Instant) -> usize {
        let pool = &self.pools[index];
        match pool.waiting.len() {
            0 => 0,
            waiting => waiting.saturating_sub(self.under_way(index, now)),
        }
    }
}
