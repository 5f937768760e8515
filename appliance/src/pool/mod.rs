//! Application pools: request queues, workers, and the links to them.
//!
//! A *requester* asks for a link with [`Pools::submit`] and is told when it has one; nothing here knows what travels over
//! the link. Requests wait in one bounded first-in-first-out queue per pool, whether workers are busy, starting or
//! dead: a worker's death is an event for the requesters it was serving, and nothing to those that wait.
//!
//! ```text
//!  submit ─► queue ─► link (idle, or newly connected to the worker with the fewest links in use) ─► Assigned
//!  finish(reuse) ─► link is idle again, or closed ─► next in the queue
//! ```

mod link;
mod worker;

pub use link::LinkId;

use crate::reason::Reason;
use crate::settings;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use link::{Link, LinkState, Links};
use netdrv::stream::{CloseReason, StreamEvent, StreamTransport, VsockAddr};
use worker::Worker;

/// Whoever waits for or uses a link; opaque here.
pub type Requester = u64;

/// Bounds of every pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Requests that may wait (HTTP.sys: 1000).
    pub queue_length: usize,
    /// How long they may wait (HTTP.sys's RequestQueue timer: 120 s).
    pub queue_timeout: Duration,
    /// Links to one worker, idle ones included.
    pub links_per_worker: usize,
    /// Links to all workers of all pools: each has a receive buffer.
    pub links: usize,
    /// How long a link may stay idle.
    pub idle_timeout: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            queue_length: 1000,
            queue_timeout: Duration::from_secs(120),
            links_per_worker: 64,
            links: 256,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// What a requester has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// Its turn: it has this link now.
    Assigned(Requester, LinkId),
    /// Bytes arrived, or there is room to send again.
    Ready(Requester),
    /// The link ended; what arrived before can still be read. [`Pools::finish`] it in any case.
    LinkEnded(Requester, CloseReason),
    /// It waited too long and is no longer in the queue.
    Expired(Requester),
}

/// What happened, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests taken into a queue.
    pub submitted: u64,
    /// Requests refused because the queue was full.
    pub rejected: u64,
    /// Requests that waited too long.
    pub expired: u64,
    /// Links opened.
    pub links_opened: u64,
    /// Connection attempts that failed.
    pub connects_failed: u64,
    /// Links that ended while a requester used them.
    pub links_lost: u64,
}

struct Pool {
    workers: Vec<Worker>,
    waiting: VecDeque<(Requester, Instant)>,
}

/// All pools of one core and the transport to their workers.
pub struct Pools<S> {
    streams: S,
    limits: PoolLimits,
    pools: Vec<Pool>,
    links: Links,
    events: VecDeque<PoolEvent>,
    /// No link has been idle for too long before this.
    idle_check_at: Option<Instant>,
    counters: Counters,
}

impl<S: StreamTransport> Pools<S> {
    /// Pools with their workers' addresses. No link is opened before the first request.
    pub fn new(settings: &[settings::Pool], limits: PoolLimits, streams: S) -> Self {
        let pools = settings
            .iter()
            .map(|pool| Pool {
                workers: pool
                    .workers
                    .iter()
                    .map(|w| Worker::new(VsockAddr { cid: w.cid, port: w.port }))
                    .collect(),
                waiting: VecDeque::new(),
            })
            .collect();
        Self {
            streams,
            limits,
            pools,
            links: Links::default(),
            events: VecDeque::new(),
            idle_check_at: None,
            counters: Counters::default(),
        }
    }

    /// What happened, since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Requests waiting in all queues.
    pub fn waiting(&self) -> usize {
        self.pools.iter().map(|pool| pool.waiting.len()).sum()
    }

    /// Links in use by a requester.
    pub fn links_in_use(&self) -> usize {
        self.links.iter().filter(|(_, link)| matches!(link.state, LinkState::InUse(_))).count()
    }

    /// The transport underneath.
    pub fn streams(&mut self) -> &mut S {
        &mut self.streams
    }

    /// Queues a request for a link to one of the pool's workers. [`PoolEvent::Assigned`] or [`PoolEvent::Expired`] follows.
    pub fn submit(&mut self, pool: u16, requester: Requester, now: Instant) -> Result<(), Reason> {
        let Some(queue) = self.pools.get_mut(usize::from(pool)).map(|pool| &mut pool.waiting) else {
            return Err(Reason::Internal);
        };
        if queue.len() >= self.limits.queue_length {
            self.counters.rejected += 1;
            return Err(Reason::QueueFull);
        }
        self.counters.submitted += 1;
        queue.push_back((requester, now));
        self.dispatch(usize::from(pool), now);
        Ok(())
    }

    /// Takes a request back that is still waiting.
    pub fn withdraw(&mut self, pool: u16, requester: Requester) {
        if let Some(pool) = self.pools.get_mut(usize::from(pool)) {
            pool.waiting.retain(|(waiting, _)| *waiting != requester);
        }
    }

    /// Handles what the transport has for us and timers that have come.
    pub fn poll(&mut self, now: Instant) {
        self.streams.poll(now.as_nanos());
        while let Some(event) = self.streams.next_event() {
            self.on_stream_event(event, now);
        }
        for index in 0..self.pools.len() {
            self.expire(index, now);
            self.dispatch(index, now);
        }
        if self.idle_check_at.is_some_and(|at| at <= now) {
            self.drop_idle_links(now);
        }
    }

    fn drop_idle_links(&mut self, now: Instant) {
        let limit = self.limits.idle_timeout;
        let too_long =
            |link: &Link| matches!(link.state, LinkState::Idle { since } if now.since(since) >= limit);
        while let Some(id) = self.links.find(too_long) {
            self.drop_link(id);
        }
        let idle = self.links.iter().filter_map(|(_, link)| match link.state {
            LinkState::Idle { since } => Some(since + limit),
            _ => None,
        });
        self.idle_check_at = idle.min();
    }

    fn set_idle(&mut self, id: LinkId, now: Instant) {
        if let Some(link) = self.links.get_mut(id) {
            link.state = LinkState::Idle { since: now };
            self.idle_check_at.get_or_insert(now + self.limits.idle_timeout);
        }
    }

    /// The next thing a requester has to be told.
    pub fn next_event(&mut self) -> Option<PoolEvent> {
        self.events.pop_front()
    }

    /// When [`Pools::poll`] must run next even if the device stays silent.
    pub fn next_deadline(&self) -> Option<Instant> {
        let transport = self.streams.next_deadline().map(Instant::from_nanos);
        let queues = self.pools.iter().flat_map(|pool| {
            let front = pool.waiting.front();
            let expiry = front.map(|(_, since)| *since + self.limits.queue_timeout);
            let retry = front.and_then(|_| pool.workers.iter().filter_map(Worker::retry_at).min());
            [expiry, retry]
        });
        queues.flatten().chain(self.idle_check_at).chain(transport).min()
    }

    /// What arrived over a link and was not consumed yet: the contiguous front part.
    pub fn readable(&self, id: LinkId) -> &[u8] {
        self.links.get(id).map_or(&[], |link| self.streams.readable(link.stream))
    }

    /// Marks `n` bytes of [`Pools::readable`] as read.
    pub fn consume(&mut self, id: LinkId, n: usize) {
        if let Some(link) = self.links.get(id) {
            self.streams.consume(link.stream, n);
        }
    }

    /// Sends as much as the link takes and returns how much that was; if it was not all, [`PoolEvent::Ready`] follows when
    /// there is room again.
    pub fn send(&mut self, id: LinkId, data: &[u8]) -> usize {
        self.links.get(id).map_or(0, |link| self.streams.send(link.stream, data))
    }

    /// Gives a link back: for the next request if `reuse` (the exchange ended cleanly), else it is closed.
    pub fn finish(&mut self, id: LinkId, reuse: bool, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let (pool, worker) = (link.pool, link.worker);
        if reuse && !link.ended && self.streams.readable(link.stream).is_empty() {
            self.set_idle(id, now);
            self.pools[pool].workers[worker].in_use -= 1;
        } else {
            self.drop_link(id);
        }
        self.dispatch(pool, now);
    }

    fn on_stream_event(&mut self, event: StreamEvent, now: Instant) {
        match event {
            StreamEvent::Connected(stream) => {
                let Some(id) = self.links.by_stream(stream) else { return };
                let Some(link) = self.links.get(id) else { return };
                let (pool, worker) = (link.pool, link.worker);
                self.set_idle(id, now);
                self.pools[pool].workers[worker].connected();
                self.dispatch(pool, now);
            }
            StreamEvent::Readable(stream) | StreamEvent::Writable(stream) => {
                let Some(id) = self.links.by_stream(stream) else { return };
                match self.links.get(id).map(|link| link.state) {
                    Some(LinkState::InUse(requester)) => self.events.push_back(PoolEvent::Ready(requester)),
                    // A worker that speaks without being asked: nothing it says may reach a later request.
                    Some(LinkState::Idle { .. }) if matches!(event, StreamEvent::Readable(_)) => {
                        self.drop_link(id);
                    }
                    _ => {}
                }
            }
            StreamEvent::Closed(stream, reason) => match self.links.by_stream(stream) {
                Some(id) => self.on_link_ended(id, reason, now),
                None => self.streams.release(stream),
            },
            // We listen on no port.
            StreamEvent::Accepted { stream, .. } => self.streams.release(stream),
        }
    }

    fn on_link_ended(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (pool, worker) = (link.pool, link.worker);
        match link.state {
            LinkState::InUse(requester) => {
                link.ended = true;
                self.counters.links_lost += 1;
                self.events.push_back(PoolEvent::LinkEnded(requester, reason));
            }
            LinkState::Connecting => {
                self.counters.connects_failed += 1;
                self.pools[pool].workers[worker].connect_failed(now);
                self.drop_link(id);
            }
            LinkState::Idle { .. } => self.drop_link(id),
        }
    }

    fn drop_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(id) else { return };
        let worker = &mut self.pools[link.pool].workers[link.worker];
        worker.links -= 1;
        match link.state {
            LinkState::Connecting => worker.connecting -= 1,
            LinkState::InUse(_) => worker.in_use -= 1,
            LinkState::Idle { .. } => {}
        }
        self.streams.release(link.stream);
    }

    fn expire(&mut self, index: usize, now: Instant) {
        let pool = &mut self.pools[index];
        while let Some((requester, since)) = pool.waiting.front().copied() {
            if now.since(since) < self.limits.queue_timeout {
                break;
            }
            pool.waiting.pop_front();
            self.counters.expired += 1;
            self.events.push_back(PoolEvent::Expired(requester));
        }
    }

    /// Gives idle links to waiting requests, and opens links for those that remain.
    fn dispatch(&mut self, index: usize, now: Instant) {
        while !self.pools[index].waiting.is_empty() {
            let Some(id) = self.links.find_idle(index, &self.pools[index].workers) else { break };
            let (Some(link), Some((requester, _))) =
                (self.links.get_mut(id), self.pools[index].waiting.pop_front())
            else {
                break;
            };
            link.state = LinkState::InUse(requester);
            self.pools[index].workers[link.worker].in_use += 1;
            self.events.push_back(PoolEvent::Assigned(requester, id));
        }
        while self.wanted_links(index) > 0 && self.make_room_for_link(index) {
            let limit = self.limits.links_per_worker;
            let Some(worker) = worker::pick(&self.pools[index].workers, limit, now) else { break };
            let address = self.pools[index].workers[worker].address;
            let Ok(stream) = self.streams.connect(address, now.as_nanos()) else {
                self.counters.connects_failed += 1;
                self.pools[index].workers[worker].connect_failed_locally(now);
                break;
            };
            self.counters.links_opened += 1;
            self.pools[index].workers[worker].connecting();
            self.links.insert(Link {
                pool: index,
                worker,
                stream,
                state: LinkState::Connecting,
                ended: false,
            });
        }
    }

    /// Whether another link may be opened for this pool, if need be after closing another pool's idle one.
    fn make_room_for_link(&mut self, index: usize) -> bool {
        if self.links.iter().count() >= self.limits.links {
            let idle_elsewhere =
                |link: &Link| link.pool != index && matches!(link.state, LinkState::Idle { .. });
            let Some(id) = self.links.find(idle_elsewhere) else { return false };
            self.drop_link(id);
        }
        true
    }

    /// Requests that no link under way will serve.
    fn wanted_links(&self, index: usize) -> usize {
        let pool = &self.pools[index];
        let connecting: usize = pool.workers.iter().map(|w| w.connecting).sum();
        pool.waiting.len().saturating_sub(connecting)
    }
}

#[cfg(test)]
mod tests;
