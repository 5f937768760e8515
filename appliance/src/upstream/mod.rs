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
//!
//! # What a link carries for one request never reaches another
//!
//! **No requester ever reads a byte that was not sent in answer to its own request.** A worker may send anything at any
//! time, because somebody made it: content after the answer to a HEAD request, more than Content-Length, an answer nobody
//! asked for. HTTP/1.1 has no name for the request that an answer belongs to, so whatever lies on a link when the next
//! request is sent would be taken for its answer. The rules, all in `upstream/reuse.rs`, which every link
//! passes on its way to a request, new ones included:
//!
//! 1. A link whose answer announced or may have had content that is not part of it (HEAD, 204, 304, 1xx) is not used
//!    again: `http::response` says so, by `spares_link`. Nor is one on which anything lies beyond the end of the answer, or
//!    whose worker has not taken in all of the request by then ([`StreamTransport::has_unread`]): it may take the rest, which
//!    a client wrote, for the beginning of the next request.
//! 2. A link waits idle for a whole turn of the transport ([`Pools::poll`]) before it is given a request, and
//!    nothing may have arrived in it. What arrives on an idle link closes it.
//! 3. What the worker's end had sent before it took in the first byte of the request is no answer to it
//!    ([`StreamTransport::spoke_early`]). The link ends, its bytes are never shown, and the request goes elsewhere if
//!    it may be repeated.
//!
//! What is left: bytes that come so late that the worker's end of the transport has taken in the next request
//! already. They look exactly like the answer to that. A transport that ends in the worker (a VM's vsock, in the
//! simulator) leaves only a worker that lies about this very request. Behind a relay, its buffers are left: bytes that a
//! worker sends, after an answer that seemed to be clean, in the moment in which the next request crosses the relay. On
//! links with TLS rule 3 begins with the second request, since tickets may come during the first.

mod admin;
mod contract;
mod dispatch;
mod endings;
mod evidence;
mod fatal;
mod link;
mod reuse;
mod streams;
mod verdict;
mod worker;

pub use admin::{PoolStatus, WorkerStatus};
pub use contract::Upstream;
pub use evidence::{Evidence, Target};
pub use link::LinkId;
pub use streams::{SecureCounters, Streams};
pub use verdict::Ending;

use crate::http::response::Bounds;
use crate::tcp::ConnId;
use crate::time::Instant;
use crate::tls::link::LinkTls;
use crate::tls::{Keys, WallClock};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use dispatch::{AVOID_FOR, AVOIDING};
use fatal::Fatal;
use link::{Link, LinkState, Links};
use model::id::PoolId;
use model::pool::{Outage, Service};
use model::reason::Reason;
use model::settings::{self, Verbosity};
use model::tls::TlsError;
use netdrv::stream::{CloseReason, StreamEvent, StreamId, StreamTransport, VsockAddr};
use netdrv::transport::Faults;
use verdict::Names;
use worker::Worker;

/// Where the transport reaches a worker.
pub fn vsock(worker: settings::Worker) -> VsockAddr {
    VsockAddr { cid: worker.cid, port: worker.port }
}

/// Names a request under way: whoever waits for or uses a link. Never means another request later, even on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    /// The connection that it came over.
    pub connection: ConnId,
    /// Which of that connection's requests it is.
    pub stream: u32,
}

/// Bounds of every pool, where its settings do not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Requests that may wait (HTTP.sys: 1000).
    pub queue_length: usize,
    /// How long they may wait (HTTP.sys's RequestQueue timer: 120 s).
    pub queue_timeout: Duration,
    /// How long a worker may be silent with a request in hand (IIS kills a worker that answers no ping for 90 s).
    pub response_timeout: Duration,
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
            response_timeout: Duration::from_secs(90),
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
    Assigned(ExchangeId, LinkId),
    /// Bytes arrived, or there is room to send again.
    Ready(ExchangeId),
    /// The link ended; what arrived before can still be read. [`Pools::finish`] it in any case.
    LinkEnded(ExchangeId, CloseReason),
    /// It waited too long and is no longer in the queue.
    Expired(ExchangeId),
    /// The pool went out of service while it waited.
    Refused(ExchangeId, Reason),
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
    /// Links closed because the worker said more than it was asked for.
    pub unasked: u64,
    /// Requests refused because the pool was out of service.
    pub offline: u64,
    /// How often a target came to be refused because such requests had ended workers.
    pub fatal_targets: u64,
    /// Links whose end nobody confirmed in time.
    pub unconfirmed: u64,
}

/// Why a request lost its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Our end of the transport was reset: no word about the worker.
    Ours,
    /// The worker closed the link before it got anything.
    Closed,
    /// What lay on the link was no answer to this request.
    Spoiled,
    /// The worker had the request and lost it.
    Failed,
    /// The worker was silent for too long. It is never given this request again.
    Silent,
}

struct Waiting {
    requester: ExchangeId,
    since: Instant,
    /// The worker that has failed this request already.
    avoid: Option<usize>,
    /// That one must not be asked again, even if there is no other.
    never: bool,
}

/// What its links carry.
enum Security {
    /// HTTP as it is.
    Plain,
    Tls(Arc<LinkTls>),
    /// TLS, which cannot be had: there are no links.
    Unavailable,
}

struct Pool {
    workers: Vec<Worker>,
    security: Security,
    waiting: VecDeque<Waiting>,
    service: Service,
    /// Why it is out of service, for people and for the next supervisor.
    out: Option<Outage>,
    queue_length: usize,
    queue_timeout: Duration,
    response_timeout: Duration,
    answers: Bounds,
    /// Links to one of its workers: how many requests that takes at a time.
    links_per_worker: usize,
    verbosity: Verbosity,
    /// Whoever starts workers has been asked for one.
    demanded: bool,
}

impl Pool {
    fn new(settings: &settings::Pool, limits: &PoolLimits, now: Instant) -> Self {
        let seconds = |s: Option<u32>, default| s.map_or(default, |s| Duration::from_secs(s.into()));
        let worker = |w: &settings::Worker| Worker::new(vsock(*w), now);
        Self {
            workers: settings.workers.iter().map(worker).collect(),
            security: if settings.tls.is_some() { Security::Unavailable } else { Security::Plain },
            waiting: VecDeque::new(),
            service: Service::Open,
            out: None,
            queue_length: settings.queue_length.map_or(limits.queue_length, |n| n as usize),
            queue_timeout: seconds(settings.queue_timeout_s, limits.queue_timeout),
            response_timeout: seconds(settings.response_timeout_s, limits.response_timeout),
            answers: Bounds::from(settings),
            links_per_worker: settings.requests_per_worker.map_or(limits.links_per_worker, |n| n as usize),
            verbosity: settings.verbosity,
            demanded: false,
        }
    }
}

/// All pools of one core and the transport to their workers.
pub struct Pools<S> {
    streams: Streams<S>,
    limits: PoolLimits,
    pools: Vec<Pool>,
    links: Links,
    events: VecDeque<PoolEvent>,
    /// Events of streams that are not links.
    others: VecDeque<StreamEvent>,
    /// Turns of the transport.
    turn: u64,
    /// No link has been idle for too long before this.
    idle_check_at: Option<Instant>,
    /// No verdict is late before this.
    verdicts_at: Option<Instant>,
    names: Names,
    fatal: Fatal,
    /// Workers that have died.
    deaths: u64,
    counters: Counters,
}

impl<S: StreamTransport> Pools<S> {
    /// Pools with their workers' addresses. No link is opened before the first request, and none by a pool whose settings
    /// want TLS before [`Pools::secure`].
    pub fn new(settings: &[settings::Pool], limits: PoolLimits, streams: S, now: Instant) -> Self {
        let pools = settings.iter().map(|pool| Pool::new(pool, &limits, now)).collect();
        Self {
            streams: Streams::new(streams),
            limits,
            pools,
            links: Links::default(),
            events: VecDeque::new(),
            others: VecDeque::new(),
            turn: 0,
            idle_check_at: None,
            verdicts_at: None,
            names: Names::default(),
            fatal: Fatal::default(),
            deaths: 0,
            counters: Counters::default(),
        }
    }

    /// Gives pools what their links are secured with. Those that cannot be are named: they stay out of service.
    pub fn secure(
        &mut self,
        settings: &[settings::Pool],
        keys: Keys<'_>,
        clock: &Arc<WallClock>,
    ) -> Vec<(PoolId, TlsError)> {
        let mut without = Vec::new();
        for (id, (pool, settings)) in PoolId::first(settings.len()).zip(self.pools.iter_mut().zip(settings)) {
            let Some(tls) = &settings.tls else { continue };
            match LinkTls::new(tls, keys, clock.clone()) {
                Ok(tls) => pool.security = Security::Tls(Arc::new(tls)),
                Err(error) => without.push((id, error)),
            }
        }
        without
    }

    /// What happened to secured links, since the start.
    pub fn secure_counters(&self) -> SecureCounters {
        self.streams.counters()
    }

    /// What happened, since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Requests waiting in all queues.
    pub fn waiting(&self) -> usize {
        self.pools.iter().map(|pool| pool.waiting.len()).sum()
    }

    /// Links in any state.
    pub fn links(&self) -> usize {
        self.links.iter().count()
    }

    /// Links in use by a requester.
    pub fn links_in_use(&self) -> usize {
        self.links.iter().filter(|(_, link)| matches!(link.state, LinkState::InUse(_))).count()
    }

    /// What the device under the links has done wrong since the start.
    pub fn transport_faults(&self) -> Faults {
        self.streams.transport.faults()
    }

    /// The transport underneath, which other parts of the shard have streams of their own on.
    pub fn streams(&mut self) -> &mut Streams<S> {
        &mut self.streams
    }

    /// Queues a request for a link to one of the pool's workers. [`PoolEvent::Assigned`] or [`PoolEvent::Expired`] follows.
    pub fn submit(&mut self, pool: PoolId, requester: ExchangeId, now: Instant) -> Result<(), Reason> {
        let Some(found) = self.pools.get_mut(pool.index()) else {
            return Err(Reason::Internal);
        };
        let refusal = match found.service {
            Service::Open if matches!(found.security, Security::Unavailable) => Some(Reason::AppOffline),
            Service::Open => None,
            Service::Offline => Some(Reason::AppOffline),
            Service::Shutdown => Some(Reason::AppShutdown),
        };
        if let Some(reason) = refusal {
            self.counters.offline += 1;
            return Err(reason);
        }
        if found.waiting.len() >= found.queue_length {
            self.counters.rejected += 1;
            return Err(Reason::QueueFull);
        }
        self.counters.submitted += 1;
        found.waiting.push_back(Waiting { requester, since: now, avoid: None, never: false });
        self.dispatch(pool.index(), now);
        Ok(())
    }

    /// Queues a request again that its worker did not answer: before all others, because it has waited already, and for
    /// another worker if there is one. Closes the link. Those that come this way are bounded by the number of links, not
    /// by the queue.
    pub fn resubmit(
        &mut self,
        id: LinkId,
        requester: ExchangeId,
        loss: Loss,
        evidence: &Evidence,
        now: Instant,
    ) {
        let Some(link) = self.links.get(id) else { return };
        let (index, worker) = (link.pool, link.worker);
        if matches!(loss, Loss::Failed | Loss::Silent) {
            self.lost(id, evidence, now);
        }
        self.drop_link(id);
        let avoid = (!matches!(loss, Loss::Ours | Loss::Spoiled)).then_some(worker);
        let never = loss == Loss::Silent;
        self.pools[index].waiting.push_front(Waiting { requester, since: now, avoid, never });
        self.dispatch(index, now);
    }

    /// Handles what the transport has for us and timers that have come.
    pub fn poll(&mut self, now: Instant) {
        self.streams.poll(now.as_nanos());
        self.turn += 1;
        while let Some(event) = self.streams.next_event() {
            self.on_stream_event(event, now);
        }
        for index in 0..self.pools.len() {
            self.pools[index].workers.iter_mut().for_each(|worker| worker.wake(now));
            self.expire(index, now);
            self.give_up(index, now);
            self.dispatch(index, now);
            let pool = &mut self.pools[index];
            pool.demanded &= !pool.waiting.is_empty();
        }
        if self.idle_check_at.is_some_and(|at| at <= now) {
            self.drop_idle_links(now);
        }
        self.end_late_verdicts(now);
    }

    /// The next thing a requester has to be told.
    pub fn next_event(&mut self) -> Option<PoolEvent> {
        self.events.pop_front()
    }

    /// The next thing that the transport says of a stream that is no link. Its owner must take it; one that nobody owns is
    /// to be released.
    pub fn next_other_event(&mut self) -> Option<StreamEvent> {
        self.others.pop_front()
    }

    /// When, after `now`, [`Pools::poll`] must run next even if the device stays silent.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let transport = self.streams.next_deadline().map(Instant::from_nanos);
        let queues = self.pools.iter().flat_map(|pool| {
            let front = pool.waiting.front();
            let expiry = front.map(|waiting| waiting.since + pool.queue_timeout);
            let retry = front.and_then(|_| pool.workers.iter().filter_map(Worker::retry_at).min());
            // Replays are put in front: the first that is not due yet is the next.
            let avoiding = |w: &&Waiting| w.avoid.is_some() && now.since(w.since) < AVOID_FOR;
            let avoids =
                pool.waiting.iter().take(AVOIDING).filter(avoiding).map(|w| w.since + AVOID_FOR).min();
            [expiry, retry, avoids]
        });
        queues.flatten().chain(self.idle_check_at).chain(self.verdicts_at).chain(transport).min()
    }

    /// What arrived over a link and was not consumed yet: the contiguous front part.
    pub fn readable(&self, id: LinkId) -> &[u8] {
        let link = self.links.get(id).filter(|link| !link.spoiled);
        link.map_or(&[], |link| self.streams.readable(link.stream))
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

    fn link_of(&self, stream: StreamId) -> Option<(LinkId, &Link)> {
        let id = self.links.by_stream(stream)?;
        Some((id, self.links.get(id)?))
    }

    fn on_stream_event(&mut self, event: StreamEvent, now: Instant) {
        match event {
            StreamEvent::Connected(stream) => {
                let Some((id, link)) = self.link_of(stream) else { return self.others.push_back(event) };
                let (pool, worker) = (link.pool, link.worker);
                self.set_idle(id, now);
                self.pools[pool].workers[worker].connected();
                self.dispatch(pool, now);
            }
            StreamEvent::Readable(stream) | StreamEvent::Writable(stream) => {
                let Some((id, link)) = self.link_of(stream) else { return self.others.push_back(event) };
                match link.state {
                    LinkState::InUse(_) if self.streams.spoke_early(stream) => self.spoil(id, now),
                    LinkState::InUse(requester) => self.events.push_back(PoolEvent::Ready(requester)),
                    LinkState::Idle { .. } if matches!(event, StreamEvent::Readable(_)) => {
                        self.drop_unclean(id);
                    }
                    _ => {}
                }
            }
            StreamEvent::Closed(stream, reason) => match self.links.by_stream(stream) {
                Some(id) => self.on_link_ended(id, reason, now),
                None => self.others.push_back(event),
            },
            StreamEvent::Accepted { .. } => self.others.push_back(event),
        }
    }

    fn on_link_ended(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (pool, worker) = (link.pool, link.worker);
        match link.state {
            // Known already.
            LinkState::InUse(_) if link.ended => {}
            LinkState::InUse(requester) => {
                link.ended = true;
                if let Some(at) = link.verdict.ended(reason, now) {
                    self.verdicts_at = Some(self.verdicts_at.map_or(at, |earlier| earlier.min(at)));
                }
                self.counters.links_lost += 1;
                self.events.push_back(PoolEvent::LinkEnded(requester, reason));
            }
            LinkState::Connecting => {
                self.counters.connects_failed += 1;
                let worker = &mut self.pools[pool].workers[worker];
                match reason {
                    // Our end of the transport, not the worker.
                    CloseReason::TransportReset => worker.connect_failed_locally(now),
                    _ => worker.connect_failed(now),
                }
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
            LinkState::Connecting => worker.opened(),
            LinkState::InUse(_) => worker.in_use -= 1,
            LinkState::Idle { .. } => {}
        }
        self.streams.release(link.stream);
    }
}

#[cfg(test)]
mod tests;
