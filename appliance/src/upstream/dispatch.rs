//! Assigns links to requests, and decides when to open another one.

use super::link::{Link, LinkId, LinkState};
use super::verdict::Verdict;
use super::{ExchangeId, LinkSecurity, PoolEvent, Pools, worker};
use crate::time::Instant;
use core::time::Duration;
use model::id::PoolId;
use model::reason::Reason;
use netdrv::stream::StreamTransport;

/// How long a request waits for a worker other than the one that failed it. A worker's death shows on its
/// links before it is reported; a retry there meanwhile would fail the request for good.
pub(super) const AVOID_FOR: Duration = Duration::from_millis(250);
/// Waiting requests examined to find one that a new link would serve.
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

    /// Assigns idle links to waiting requests, and opens links for the rest.
    pub(super) fn dispatch(&mut self, index: usize, now: Instant) {
        loop {
            while let Some((position, id)) = self.next_match(index, now) {
                let (Some(link), Some(waiting)) =
                    (self.links.get_mut(id), self.pools[index].waiting.remove(position))
                else {
                    break;
                };
                link.state = LinkState::InUse(waiting.requester);
                link.assigned_at = now;
                self.streams.ask(link.stream);
                self.pools[index].workers[link.worker].on_assigned(now);
                self.events.push_back(PoolEvent::Assigned(waiting.requester, id));
            }
            // A probe of a suspect worker pays off later: meanwhile the request may use a link that was not
            // preferred before.
            if self.wanted_links(index, now) == 0 || !self.open_link(index, now) {
                return;
            }
        }
    }

    /// Opens one link to the best worker for the first request that has one. False if that is impossible.
    fn open_link(&mut self, index: usize, now: Instant) -> bool {
        let limit = self.pools[index].links_per_worker;
        let workers = &self.pools[index].workers;
        // Requests at the front may be waiting to avoid a particular worker.
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
            self.streams.send_name_first(stream, name);
        }
        let mut verdict = Verdict::of(name);
        if let LinkSecurity::Tls(tls) = &self.pools[index].security {
            self.streams.secure(stream, tls.clone());
            // With TLS, the worker itself marks the end of the stream.
            verdict = Verdict::of(None);
        }
        self.counters.links_opened += 1;
        self.pools[index].workers[worker].connecting(probe, now);
        let (state, assigned_at) = (LinkState::Connecting, now);
        let (pool, ended, spoiled) = (index, false, false);
        self.links.insert(Link { pool, worker, stream, state, assigned_at, verdict, ended, spoiled });
        true
    }

    /// The first request with a suitable idle link, and that link, which was checked to be clean.
    fn next_match(&mut self, index: usize, now: Instant) -> Option<(usize, LinkId)> {
        for position in 0..self.pools[index].waiting.len() {
            let avoid = self.avoided(index, position, now);
            if let Some(id) = self.find_clean(index, avoid, now) {
                return Some((position, id));
            }
            // If this request avoids no worker, the others find nothing either.
            avoid?;
        }
        None
    }

    /// The worker to avoid for this request: always within [`AVOID_FOR`], and then for good or while another
    /// is fit.
    fn avoided(&self, index: usize, position: usize, now: Instant) -> Option<usize> {
        let pool = &self.pools[index];
        let waiting = pool.waiting.get(position)?;
        let avoid = waiting.avoid?;
        let stays = waiting.avoid_always
            || now.since(waiting.since) < AVOID_FOR
            || self.has_fit_alternative(index, avoid, now);
        stays.then_some(avoid)
    }

    /// Whether a worker other than this one could be given a request, now or once it has room.
    fn has_fit_alternative(&self, index: usize, worker: usize, now: Instant) -> bool {
        let others = self.pools[index].workers.iter().enumerate().filter(|(other, _)| *other != worker);
        others.into_iter().any(|(_, w)| w.links > 0 && w.may_use_link(now) || w.is_fit(now))
    }

    /// Whether a worker other than this link's could be given its request.
    pub fn has_alternative(&self, id: LinkId, now: Instant) -> bool {
        self.links.get(id).is_some_and(|link| self.has_fit_alternative(link.pool, link.worker, now))
    }

    /// Refuses requests whose worker was silent and that find no other one.
    pub(super) fn refuse_unservable(&mut self, index: usize, now: Instant) {
        let mut position = 0;
        while let Some(waiting) = self.pools[index].waiting.get(position).filter(|_| position < AVOIDING) {
            let requester = waiting.requester;
            let over = waiting.avoid_always && now.since(waiting.since) >= AVOID_FOR;
            match waiting.avoid.filter(|avoid| over && !self.has_fit_alternative(index, *avoid, now)) {
                None => position += 1,
                Some(_) => {
                    self.pools[index].waiting.remove(position);
                    self.events.push_back(PoolEvent::Refused(requester, Reason::TimerResponse));
                }
            }
        }
    }

    /// Whether another link may be opened for this pool. Closes an idle link if necessary, preferably of
    /// another pool.
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

    /// Withdraws a waiting request.
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

    /// Number of links needed beyond those being opened.
    fn wanted_links(&self, index: usize, now: Instant) -> usize {
        let pool = &self.pools[index];
        match pool.waiting.len() {
            0 => 0,
            waiting => waiting.saturating_sub(self.pending_links(index, now)),
        }
    }
}
