//! Who gets which link, and when another one is opened.

use super::link::{Link, LinkId, LinkState};
use super::{PoolEvent, Pools, Security, worker};
use crate::time::Instant;
use core::time::Duration;
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
        while let Some((position, id)) = self.next_match(index, now) {
            let (Some(link), Some(waiting)) =
                (self.links.get_mut(id), self.pools[index].waiting.remove(position))
            else {
                break;
            };
            link.state = LinkState::InUse(waiting.requester);
            let worker = &mut self.pools[index].workers[link.worker];
            worker.in_use += 1;
            worker.used_at = now;
            self.events.push_back(PoolEvent::Assigned(waiting.requester, id));
        }
        while self.wanted_links(index) > 0 {
            let limit = self.pools[index].links_per_worker;
            let workers = &self.pools[index].workers;
            // Those at the front may have to wait for somebody in particular to be avoided.
            let front = 0..self.pools[index].waiting.len().min(AVOIDING);
            let suits = |position| worker::pick(workers, limit, self.avoided(index, position, now), now);
            let Some(worker) = front.into_iter().find_map(suits) else { break };
            if !self.make_room_for_link(index) {
                break;
            }
            let address = self.pools[index].workers[worker].address;
            let Ok(stream) = self.streams.connect(address, now.as_nanos()) else {
                self.counters.connects_failed += 1;
                self.pools[index].workers[worker].connect_failed_locally(now);
                break;
            };
            if let Security::Tls(tls) = &self.pools[index].security {
                self.streams.secure(stream, tls.clone());
            }
            self.counters.links_opened += 1;
            self.pools[index].workers[worker].connecting();
            let state = LinkState::Connecting;
            self.links.insert(Link { pool: index, worker, stream, state, ended: false });
        }
    }

    /// The first request that an idle link suits, and the link. A link on which the worker has said something unasked is
    /// closed: it would be taken for the answer.
    fn next_match(&mut self, index: usize, now: Instant) -> Option<(usize, LinkId)> {
        let mut position = 0;
        while position < self.pools[index].waiting.len() {
            let avoid = self.avoided(index, position, now);
            let Some(id) = self.links.find_idle(index, &self.pools[index].workers, avoid, now) else {
                // Without somebody to avoid, the others find nothing either.
                avoid?;
                position += 1;
                continue;
            };
            let stream = self.links.get(id)?.stream;
            if self.streams.readable(stream).is_empty() {
                return Some((position, id));
            }
            self.counters.unasked += 1;
            self.drop_link(id);
        }
        None
    }

    /// The worker that this request should not be given to again: for [`AVOID_FOR`] at all, then unless no other is fit.
    fn avoided(&self, index: usize, position: usize, now: Instant) -> Option<usize> {
        let pool = &self.pools[index];
        let waiting = pool.waiting.get(position)?;
        let avoid = waiting.avoid?;
        if now.since(waiting.since) < AVOID_FOR {
            return Some(avoid);
        }
        let others = pool.workers.iter().enumerate().filter(|(other, _)| *other != avoid);
        others.into_iter().any(|(_, w)| w.links > 0 && w.may_use_link(now) || w.is_fit(now)).then_some(avoid)
    }

    /// Whether another link may be opened for this pool, if need be after closing an idle one, of another pool if
    /// possible.
    fn make_room_for_link(&mut self, index: usize) -> bool {
        if self.links.iter().count() < self.limits.links {
            return true;
        }
        let idle = |link: &Link| matches!(link.state, LinkState::Idle { .. });
        let elsewhere = self.links.find(|link| link.pool != index && idle(link));
        let Some(id) = elsewhere.or_else(|| self.links.find(idle)) else { return false };
        self.drop_link(id);
        true
    }

    /// Requests that no link under way will serve.
    fn wanted_links(&self, index: usize) -> usize {
        let pool = &self.pools[index];
        let connecting: usize = pool.workers.iter().map(|w| w.connecting).sum();
        pool.waiting.len().saturating_sub(connecting)
    }
}
