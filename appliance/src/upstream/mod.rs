//! Application pools: request queues, workers, and the links to them.
//!
//! A *requester* asks for a link with [`Pools::submit`] and is told when it has one; the pools do not know
//! what travels over it. Each pool has one bounded first-in-first-out queue, in which requests wait whether
//! workers are busy, starting or dead: a worker's death is an event for the requesters it was serving, and
//! does not affect those that wait.
//!
//! ```text
//!  submit ─► queue ─► link (idle, or newly connected to the worker with the fewest links in use) ─► Assigned
//!  finish(reuse) ─► link is idle again, or closed ─► next in the queue
//! ```
//!
//! # What a link carries for one request never reaches another
//!
//! **No requester ever reads a byte that was not sent in answer to its own request.** A worker may send
//! anything at any time, since a client may have made it do so: content after the response to a HEAD request,
//! more than Content-Length, an unsolicited response. HTTP/1.1 does not name the request that a response
//! belongs to, so anything on a link when the next request is sent would be taken for its response. These
//! rules are all in `upstream/reuse.rs`, which every link passes on its way to a request, new links included:
//!
//! 1. A link is not used again if its response announced, or may have had, content that is not part of it
//!    (HEAD, 204, 304, 1xx): see `allows_reuse` in `http::response`. Nor is it if bytes lie beyond the end of
//!    the response, or if the worker has not consumed the whole request by then
//!    ([`StreamTransport::has_unread`]): it could take the rest, which a client wrote, for the start of the
//!    next request.
//! 2. A link stays idle for a whole turn of the transport ([`Pools::poll`]) before it is assigned. Anything
//!    that arrives on an idle link closes it.
//! 3. Bytes that the worker's end sent before it consumed the first byte of a request are no answer to it
//!    ([`StreamTransport::spoke_early`]). The link ends, the bytes are never shown, and the request goes
//!    elsewhere if it may be repeated.
//!
//! What remains: bytes so late that the worker's end of the transport has already consumed the next request.
//! They are indistinguishable from its response. With a transport that ends in the worker (a VM's vsock, the
//! simulator), this takes a worker that lies about this very request. Behind a relay, its buffers add a
//! window: bytes that a worker sends after a seemingly clean response, just as the next request crosses the
//! relay. On links with TLS, rule 3 applies from the second request on, since session tickets may arrive
//! during the first.

mod admin;
mod contract;
mod dispatch;
mod endings;
mod fatal;
mod fingerprint;
mod link;
mod reuse;
mod streams;
mod verdict;
mod worker;

pub use admin::{PoolStatus, WorkerStatus};
pub use contract::Upstream;
pub use fingerprint::{Fingerprint, Target};
pub use link::LinkId;
pub use streams::{SecureCounters, Streams};
pub use verdict::Ending;

use crate::http::response::ResponseLimits;
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
use verdict::StreamNames;
use worker::Worker;

/// The transport address of a worker.
pub fn vsock(worker: settings::Worker) -> VsockAddr {
    VsockAddr { cid: worker.cid, port: worker.port }
}

/// Identifies a request in progress, which waits for or uses a link. Never reused, even on the same
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    /// The client connection.
    pub connection: ConnId,
    /// The number of the request on that connection.
    pub stream: u32,
}

/// Limits of a pool, unless its settings override them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Waiting requests (HTTP.sys: 1000).
    pub queue_length: usize,
    /// How long a request may wait (HTTP.sys's RequestQueue timer: 120 s).
    pub queue_timeout: Duration,
    /// How long a worker may be silent while it has a request (IIS kills a worker that answers no ping for 90
    /// s).
    pub response_timeout: Duration,
    /// Links per worker, including idle ones.
    pub links_per_worker: usize,
    /// Links to all workers of all pools. Each has a receive buffer.
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

/// An event for a requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// The requester has this link now.
    Assigned(ExchangeId, LinkId),
    /// Bytes arrived, or there is room to send again.
    Ready(ExchangeId),
    /// The link ended. What arrived before can still be read; [`Pools::finish`] is due in any case.
    LinkEnded(ExchangeId, CloseReason),
    /// The request waited too long and has left the queue.
    Expired(ExchangeId),
    /// The pool went out of service while the request waited.
    Refused(ExchangeId, Reason),
}

model::counters! {
    /// Event counts since the start.
    pub struct PoolCounters {
        /// Requests queued.
        submitted = "queue_submitted",
        /// Requests refused because the queue was full.
        rejected = "queue_rejected",
        /// Requests that expired in the queue.
        expired = "queue_expired",
        /// Links opened.
        links_opened = "links_opened",
        /// Connection attempts that failed.
        connects_failed = "connects_failed",
        /// Links that ended while a requester used them.
        links_lost = "links_lost",
        /// Links closed because the worker sent unsolicited bytes.
        unasked = "links_unasked",
        /// Requests refused because the pool was out of service.
        offline = "queue_offline",
        /// Targets refused because their requests had ended workers.
        fatal_targets = "fatal_targets",
        /// Links whose end was not confirmed in time.
        unconfirmed = "links_unconfirmed",
    }
}

/// Why a request lost its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Our end of the transport was reset: says nothing about the worker.
    Ours,
    /// The worker closed the link before it received anything.
    Closed,
    /// Bytes on the link were no answer to this request.
    Spoiled,
    /// The worker had the request and failed.
    Failed,
    /// The worker was silent for too long. It never gets this request again.
    Silent,
}

struct Waiting {
    requester: ExchangeId,
    since: Instant,
    /// The worker that has already failed this request.
    avoid: Option<usize>,
    /// `avoid` must never get it again, even if there is no other worker.
    avoid_always: bool,
}

/// What the links of a pool carry.
enum LinkSecurity {
    /// Plain HTTP.
    Plain,
    Tls(Arc<LinkTls>),
    /// TLS is required but unavailable: no links are opened.
    Unavailable,
}

struct Pool {
    workers: Vec<Worker>,
    security: LinkSecurity,
    waiting: VecDeque<Waiting>,
    service: Service,
    /// Why the pool is out of service, for people and for the next supervisor.
    outage: Option<Outage>,
    queue_length: usize,
    queue_timeout: Duration,
    response_timeout: Duration,
    response_limits: ResponseLimits,
    /// Limit on links per worker, and so on its concurrent requests.
    links_per_worker: usize,
    verbosity: Verbosity,
    /// The supervisor has been asked for a worker.
    demanded: bool,
}

impl Pool {
    fn new(settings: &settings::Pool, limits: &PoolLimits, now: Instant) -> Self {
        let seconds = |s: Option<u32>, default| s.map_or(default, |s| Duration::from_secs(s.into()));
        let worker = |w: &settings::Worker| Worker::new(vsock(*w), now);
        Self {
            workers: settings.workers.iter().map(worker).collect(),
            security: if settings.tls.is_some() { LinkSecurity::Unavailable } else { LinkSecurity::Plain },
            waiting: VecDeque::new(),
            service: Service::Open,
            outage: None,
            queue_length: settings.queue_length.map_or(limits.queue_length, |n| n as usize),
            queue_timeout: seconds(settings.queue_timeout_s, limits.queue_timeout),
            response_timeout: seconds(settings.response_timeout_s, limits.response_timeout),
            response_limits: ResponseLimits::from(settings),
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
    /// Number of the current turn of the transport.
    turn: u64,
    /// No link has been idle for too long before this time.
    idle_check_at: Option<Instant>,
    /// No verdict is overdue before this time.
    verdicts_at: Option<Instant>,
    names: StreamNames,
    fatal: Fatal,
    /// Deaths of workers so far.
    deaths: u64,
    counters: PoolCounters,
}

impl<S: StreamTransport> Pools<S> {
    /// Creates the pools. No link is opened before the first request, nor by a pool that requires TLS before
    /// [`Pools::secure`].
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
            names: StreamNames::default(),
            fatal: Fatal::default(),
            deaths: 0,
            counters: PoolCounters::default(),
        }
    }

    /// Sets up TLS on links. Returns the pools for which it is unavailable: they stay out of service.
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
                Ok(tls) => pool.security = LinkSecurity::Tls(Arc::new(tls)),
                Err(error) => without.push((id, error)),
            }
        }
        without
    }

    /// Counters of TLS links.
    pub fn secure_counters(&self) -> SecureCounters {
        self.streams.counters()
    }

    /// Event counts since the start.
    pub fn counters(&self) -> PoolCounters {
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

    /// Protocol violations by the transport device since the start.
    pub fn transport_faults(&self) -> Faults {
        self.streams.transport.faults()
    }

    /// The transport, over which other parts of the appliance have streams as well.
    pub fn streams(&mut self) -> &mut Streams<S> {
        &mut self.streams
    }

    /// Queues a request for a link to one of the pool's workers. [`PoolEvent::Assigned`] or
    /// [`PoolEvent::Expired`] follows.
    pub fn submit(&mut self, pool: PoolId, requester: ExchangeId, now: Instant) -> Result<(), Reason> {
        let Some(found) = self.pools.get_mut(pool.index()) else {
            return Err(Reason::Internal);
        };
        let refusal = match found.service {
            Service::Open if matches!(found.security, LinkSecurity::Unavailable) => Some(Reason::AppOffline),
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
        found.waiting.push_back(Waiting { requester, since: now, avoid: None, avoid_always: false });
        self.dispatch(pool.index(), now);
        Ok(())
    }

    /// Closes the link of a request that its worker did not answer, and queues the request again: ahead of
    /// all others, since it has waited already, and for another worker if there is one. Requests queued this
    /// way are bounded by the number of links, not by the queue's limit.
    pub fn resubmit(
        &mut self,
        id: LinkId,
        requester: ExchangeId,
        loss: Loss,
        fingerprint: &Fingerprint,
        now: Instant,
    ) {
        let Some(link) = self.links.get(id) else { return };
        let (index, worker) = (link.pool, link.worker);
        if matches!(loss, Loss::Failed | Loss::Silent) {
            self.lost(id, fingerprint, now);
        }
        self.drop_link(id);
        let avoid = (!matches!(loss, Loss::Ours | Loss::Spoiled)).then_some(worker);
        let avoid_always = loss == Loss::Silent;
        self.pools[index].waiting.push_front(Waiting { requester, since: now, avoid, avoid_always });
        self.dispatch(index, now);
    }

    /// Processes transport events and due timers.
    pub fn poll(&mut self, now: Instant) {
        self.streams.poll(now.as_nanos());
        self.turn += 1;
        while let Some(event) = self.streams.next_event() {
            self.on_stream_event(event, now);
        }
        for index in 0..self.pools.len() {
            let pool = &mut self.pools[index];
            pool.workers.iter_mut().for_each(|worker| worker.wake(now));
            if pool.waiting.is_empty() {
                pool.demanded = false;
                continue;
            }
            self.expire(index, now);
            self.refuse_unservable(index, now);
            self.dispatch(index, now);
            let pool = &mut self.pools[index];
            pool.demanded &= !pool.waiting.is_empty();
        }
        if self.idle_check_at.is_some_and(|at| at <= now) {
            self.drop_idle_links(now);
        }
        self.end_late_verdicts(now);
    }

    /// The next event for a requester.
    pub fn next_event(&mut self) -> Option<PoolEvent> {
        self.events.pop_front()
    }

    /// The next transport event of a stream that is not a link. The caller must handle it, and release a
    /// stream without an owner.
    pub fn next_other_event(&mut self) -> Option<StreamEvent> {
        self.others.pop_front()
    }

    /// When, after `now`, [`Pools::poll`] must run even if the device is silent.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let transport = self.streams.next_deadline().map(Instant::from_nanos);
        let mut next = Instant::earliest([transport, self.idle_check_at, self.verdicts_at]);
        for pool in &self.pools {
            let Some(front) = pool.waiting.front() else { continue };
            let expiry = front.since + pool.queue_timeout;
            let retry = pool.workers.iter().filter_map(Worker::retry_at).min();
            // Replays are at the front: the first one not yet due comes next.
            let avoiding = |w: &&Waiting| w.avoid.is_some() && now.since(w.since) < AVOID_FOR;
            let avoids =
                pool.waiting.iter().take(AVOIDING).filter(avoiding).map(|w| w.since + AVOID_FOR).min();
            next = Instant::earliest([next, Some(expiry), retry, avoids]);
        }
        next
    }

    /// Bytes that arrived over a link and were not consumed: the contiguous first part.
    pub fn readable(&self, id: LinkId) -> &[u8] {
        let link = self.links.get(id).filter(|link| !link.spoiled);
        link.map_or(&[], |link| self.streams.readable(link.stream))
    }

    /// Consumes `n` bytes of [`Pools::readable`].
    pub fn consume(&mut self, id: LinkId, n: usize) {
        if let Some(link) = self.links.get(id) {
            self.streams.consume(link.stream, n);
        }
    }

    /// Sends as much as the link takes, and returns how many bytes that was. If not all, [`PoolEvent::Ready`]
    /// follows when there is room again.
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
            // Already reported.
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
                    // Our end of the transport failed, not the worker.
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
