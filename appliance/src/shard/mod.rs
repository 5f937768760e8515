//! The loop of one core: takes in frames and stream events, runs timers and connections, sends frames and
//! stream bytes.
//!
//! A shard owns everything it touches and never blocks. [`Shard::poll`] does all that can be done at the time
//! it is passed; the same code runs in the unikernel and in the simulator.
//!
//! ```text
//!            ┌─────────── poll(now) ────────────┐
//!  card ───► │ receive ─► mark connection dirty │
//!  hub ────► │ pool events ─► mark dirty        │
//!  wheel ──► │ timers ─► mark dirty             │
//!            │ for each dirty: connection.run,  │ ───► card, hub (one notification each)
//!            │                 stack.flush      │
//!  flow ───► │ grants ─► mark dirty, once more  │
//!            └──────────────────────────────────┘
//! ```

mod config;
mod control;
mod drain;

pub use config::{SettingsError, ShardConfig};

use crate::cache::StaticStore;
use crate::connection::Connection;
use crate::connection::security::Security;
use crate::connection::shared::Shared;
use crate::flow::Flow;
use crate::hub::{Hub, Machine};
use crate::log::{Endpoints, Log, RequestCounters};
use crate::serving::{Router, Serving};
use crate::tcp::{ConnId, Flushed, Socket, Stack, StackConfig, State};
use crate::time::Instant;
use crate::tls::{Keys, Store, WallClock};
use crate::upstream::{PoolEvent, Upstream};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use model::bundle::Bundle;
use model::id::SiteId;
use model::metrics::SiteMetrics;
use model::reason::Reason;
use model::settings::Settings;
use model::tls::TlsError;
use model::url::Scheme;
use netdrv::entropy;
use netdrv::nic::Nic;
use netdrv::stream::StreamTransport;
use netdrv::transport::Faults;

/// Frames received before connections get their turn.
const RECEIVE_BUDGET: usize = 64;
/// Bandwidth grants made before connections get their turn.
const GRANT_BUDGET: usize = 256;
/// Limit on error log lines per second about connections that were turned away.
const TURNED_AWAY_LINES: u32 = 10;
/// Connections examined to find an idle one to close.
const EVICTION_SCAN: usize = 64;
/// How long a client may keep us waiting when memory is short.
const EVICTION_PATIENCE: Duration = Duration::from_secs(2);

/// When to poll again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: there is more to do.
    Now,
    /// At the next interrupt, or at this time if it comes first.
    At(Option<Instant>),
}

/// Everything that belongs to one core: the card's queues, the TCP stack, connections, bandwidth control.
/// What exists once per machine is behind the [`Hub`].
pub struct Shard<N: Nic, H: Hub> {
    nic: N,
    stack: Stack<Connection>,
    shared: Shared<H>,
    /// The settings in force.
    settings: Settings,
    /// Connections waiting for their turn. The first `blocked` ones wait for room in the card's queue.
    dirty: VecDeque<ConnId>,
    blocked: usize,
    started: Instant,
    unix_time: u64,
    entropy: fn() -> entropy::Status,
    /// The second in which connections were last turned away, and how many were.
    turned_away: (u64, u32),
    /// Why TLS is unavailable although the settings require it.
    tls_error: Option<TlsError>,
}

impl<N: Nic, S: StreamTransport> Shard<N, Machine<S>> {
    /// The only shard of a machine, with its hub. Serves what the bundle contains. Private keys that the
    /// bundle only names are looked up in `keys`. If TLS is unavailable, its ports are closed: see
    /// [`Shard::tls_error`].
    pub fn new(
        config: ShardConfig,
        bundle: &Bundle<'static>,
        keys: Keys<'_>,
        nic: N,
        streams: S,
        now: Instant,
    ) -> Result<Self, SettingsError> {
        let settings = &bundle.manifest.settings;
        let router = Router::new(settings).map_err(SettingsError::Router)?;
        let clock = Arc::new(WallClock::default());
        clock.set(config.unix_time);
        let (store, tls_error) = match router.ports().any(|(_, scheme)| scheme == Scheme::Https) {
            false => (None, None),
            true => match Store::new(settings, keys, clock.clone()) {
                Ok(store) => (Some(store), None),
                Err(error) => (None, Some(error)),
            },
        };
        let opens = |scheme| scheme == Scheme::Http || store.is_some();
        let stack_config = StackConfig {
            address: settings.server.address,
            ports: router.ports().filter(|&(_, s)| opens(s)).map(|(port, _)| port).collect::<Vec<_>>(),
            buffer_bytes: config.buffer_bytes,
            max_connections: config.max_connections,
            max_half_open: config.max_half_open,
            handshake_timeout: Duration::from_secs(15),
            seed: config.seed,
        };
        let [.., a, b] = config.seed;
        // A key of its own: the seeds of the TCP layer must not be guessable from what clients can observe.
        let flow = Flow::new(settings, (a.rotate_left(17), b.rotate_left(29)), now.as_nanos());
        let flow = flow.map_err(SettingsError::Flow)?;
        let hub = Machine::new(settings, config.pools, keys, &clock, streams, now);
        let files = StaticStore::new(bundle);
        let security = Security::new(store, &router, config.tls_bytes, clock);
        let serving = Serving::new(settings, router, files, config.timers);
        Ok(Self {
            settings: settings.clone(),
            stack: Stack::new(stack_config, nic.info(), now),
            shared: Shared::new(settings, serving, hub, flow, security, config.head_bytes),
            dirty: VecDeque::with_capacity(1024),
            blocked: 0,
            started: now,
            unix_time: config.unix_time,
            entropy: config.entropy,
            tls_error,
            turned_away: (0, 0),
            nic,
        })
    }
}

impl<N: Nic, H: Hub> Shard<N, H> {
    /// The hub.
    pub fn hub(&self) -> &H {
        &self.shared.hub
    }

    /// The hub, for changes.
    pub fn hub_mut(&mut self) -> &mut H {
        &mut self.shared.hub
    }

    /// The appliance's address, once it has one.
    pub fn address(&self) -> Option<IpAddr> {
        self.stack.address()
    }

    /// Protocol violations by the devices since the start, by device.
    pub fn faults(&self) -> [(&'static str, Faults); 2] {
        [("network card", self.nic.faults()), ("vsock device", self.shared.hub.faults())]
    }

    /// Counters of requests and refusals.
    pub fn counters(&self) -> &RequestCounters {
        &self.shared.counters
    }

    /// The log: waiting lines, and how many were dropped.
    pub fn log(&self) -> &Log {
        &self.shared.logs.log
    }

    /// Counters of TLS connections.
    pub fn tls_counters(&self) -> model::tls::TlsCounters {
        self.shared.security.counters
    }

    /// TLS handshakes in progress.
    pub fn tls_handshakes(&self) -> usize {
        self.shared.security.handshakes()
    }

    /// Certificates and settings of TLS connections; `None` without TLS.
    pub fn certificates(&self) -> Option<&Store> {
        self.shared.security.store()
    }

    /// Why the ports for https are closed although the settings name some.
    pub fn tls_error(&self) -> Option<TlsError> {
        self.tls_error
    }

    /// The TCP layer's counters.
    pub fn tcp(&self) -> &Stack<impl Default + use<N, H>> {
        &self.stack
    }

    /// Metrics of a site.
    pub fn site_metrics(&self, site: SiteId, now: Instant) -> Option<SiteMetrics> {
        self.shared.traffic.flow.metrics(site, now.as_nanos())
    }

    /// Bytes held for requests in progress: heads and content.
    pub fn held_bytes(&self) -> usize {
        self.shared.heads.leased() + self.shared.contents.leased()
    }

    /// The network card.
    pub fn nic(&mut self) -> &mut N {
        &mut self.nic
    }

    /// Does all that can be done at `now`.
    // Never inlined, so that `benches/instructions` can attribute its cost.
    #[inline(never)]
    pub fn poll(&mut self, now: Instant) -> Wake {
        self.shared.begin(now, self.unix_time + now.since(self.started).as_secs());
        let more = self.receive(now);
        self.stack.maintain(now, &mut self.nic);
        self.shared.hub.begin(&mut self.shared.logs.log.spool, now);
        self.answer_requests();
        self.run_drain(now);
        while let Some(event) = self.shared.hub.next_event() {
            self.on_pool_event(event);
        }
        while let Some(id) = self.stack.pop_due(now) {
            self.mark(id);
        }
        self.run_dirty(now);
        if self.grant(now) {
            self.run_dirty(now);
        }
        // Exchanges that ended may have passed their links on to others.
        while let Some(event) = self.shared.hub.next_event() {
            self.on_pool_event(event);
        }
        self.log_turned_away();
        self.nic.flush();
        self.shared.hub.finish(&mut self.shared.logs.log.spool, now);
        // What is still dirty waits for room in the card's queue, unless it became dirty just now.
        let fresh = self.dirty.len() > self.blocked;
        if fresh || (more && self.blocked == 0) || self.shared.hub.wants_turn(now) {
            return Wake::Now;
        }
        let hub = self.shared.hub.next_deadline(now);
        let flow = self.shared.traffic.flow.next_deadline_ns().map(Instant::from_nanos);
        if flow.is_some_and(|at| at <= now) {
            return Wake::Now;
        }
        let drain = self.shared.drain.next_deadline();
        Wake::At(Instant::earliest([self.stack.next_deadline(), hub, flow, drain]))
    }

    /// Enables device interrupts. False if there is work already: poll again instead of halting.
    pub fn arm(&mut self) -> bool {
        let streams = self.shared.hub.arm();
        self.nic.arm(self.blocked > 0) && streams
    }

    /// Receives frames. True if there may be more.
    fn receive(&mut self, now: Instant) -> bool {
        for _ in 0..RECEIVE_BUDGET {
            if self.nic.tx_room() == 0 {
                return true;
            }
            let Some(mut frame) = self.nic.receive() else { return false };
            let id = self.stack.receive(now, frame.buffer.as_mut(), frame.checksum_verified, &mut self.nic);
            self.nic.recycle(frame.buffer);
            if let Some(id) = id {
                self.mark(id);
            }
            // Make room before the next client needs it: one that is refused retries only after a second.
            if (self.stack.is_full() || self.shared.security.is_full()) && self.evict() {
                self.run_dirty(now);
            }
        }
        true
    }

    fn mark(&mut self, id: ConnId) {
        if let Some((_, connection)) = self.stack.get(id)
            && !connection.queued
        {
            connection.queued = true;
            self.dirty.push_back(id);
        }
    }

    /// Passes on the bandwidth grants that are due. True if there were any.
    fn grant(&mut self, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..GRANT_BUDGET {
            let Some((direction, index, bytes)) = self.shared.traffic.flow.pop_ready(now.as_nanos()) else {
                break;
            };
            any = true;
            let Some(id) = self.stack.at(index) else { continue };
            if let Some((_, connection)) = self.stack.get(id) {
                connection.grant(direction, bytes);
                self.mark(id);
            }
        }
        any
    }

    fn run_dirty(&mut self, now: Instant) {
        self.blocked = 0;
        for _ in 0..self.dirty.len() {
            let Some(id) = self.dirty.pop_front() else { break };
            let half_open = self.stack.is_half_open(id);
            let Some(key) = self.stack.key(id) else { continue };
            let Some((socket, connection)) = self.stack.get(id) else { continue };
            connection.queued = false;
            if !half_open {
                connection.run(id, &key, socket, &mut self.shared);
                let (deadline, waits) = (connection.deadline(), connection.waits_for_turn());
                self.stack.set_deadline(id, deadline);
                if waits {
                    self.mark(id);
                }
                if let Some(victim) = self.shared.security.take_victim() {
                    self.evict_handshake(victim);
                }
            }
            match self.stack.flush(id, now, &mut self.nic) {
                Flushed::Blocked => {
                    self.mark(id);
                    self.blocked += 1;
                }
                Flushed::Closed(mut connection) => {
                    connection.abandon(id, &mut self.shared);
                    self.shared.traffic.flow.detach(id.index() as u32, now.as_nanos());
                    continue;
                }
                Flushed::Done | Flushed::Unknown => {}
            }
            let resent = self.stack.take_resent(id);
            if resent > 0 {
                self.shared.traffic.flow.charge(id.index() as u32, resent as usize, now.as_nanos());
            }
        }
    }

    fn on_pool_event(&mut self, event: PoolEvent) {
        let (PoolEvent::Assigned(who, _)
        | PoolEvent::Ready(who)
        | PoolEvent::LinkEnded(who, _)
        | PoolEvent::Expired(who)
        | PoolEvent::Refused(who, _)) = event;
        let id = who.connection;
        let found = self.stack.get(id);
        match (event, found) {
            (PoolEvent::Assigned(_, link), found) => {
                let taken = found.is_some_and(|(_, connection)| connection.on_assigned(who.stream, link));
                if !taken {
                    // The client has gone in the meantime.
                    self.shared.hub.upstream().abandon(link, self.shared.now);
                }
            }
            (PoolEvent::LinkEnded(_, why), Some((_, connection))) => {
                connection.on_link_ended(who.stream, why)
            }
            (PoolEvent::Expired(_), Some((socket, connection))) => {
                connection.on_refused(who.stream, Reason::TimerReqQueue, socket, &mut self.shared);
            }
            (PoolEvent::Refused(_, why), Some((socket, connection))) => {
                connection.on_refused(who.stream, why, socket, &mut self.shared);
            }
            _ => {}
        }
        self.mark(id);
    }

    /// Logs connections that were refused at the TCP layer, a few per second: a flood must not fill the log.
    fn log_turned_away(&mut self) {
        while let Some(key) = self.stack.next_turned_away() {
            let unix = self.shared.date.unix();
            if core::mem::replace(&mut self.turned_away.0, unix) != unix {
                self.turned_away.1 = 0;
            }
            self.turned_away.1 += 1;
            if self.turned_away.1 <= TURNED_AWAY_LINES {
                let ends =
                    Endpoints { client: (key.remote, key.remote_port), server: (key.local, key.local_port) };
                self.shared.logs.log.error(None, &ends, None, Reason::ConnectionsRefused, unix);
            }
        }
    }

    /// Ends a connection whose TLS handshake makes room for a newer one.
    fn evict_handshake(&mut self, id: ConnId) {
        if let Some((socket, connection)) = self.stack.get(id) {
            connection.cut_off(Reason::ConnectionsRefused, id, socket, &mut self.shared);
            self.mark(id);
        }
    }

    /// Ends a connection to make room for a new one: one that waits for its next request, else one whose
    /// client keeps us waiting, as a slow-request attack does. False if there is none.
    fn evict(&mut self) -> bool {
        let now = self.shared.now;
        let idle = |socket: &Socket<'_>, connection: &Connection| connection.is_idle(socket);
        let late = |socket: &Socket<'_>, connection: &Connection| {
            socket.state() != State::Closed && connection.is_late(EVICTION_PATIENCE, now)
        };
        let found = self.stack.find(EVICTION_SCAN, idle).map(|id| (id, true));
        let found = found.or_else(|| self.stack.find(EVICTION_SCAN, late).map(|id| (id, false)));
        let Some((id, is_idle)) = found else { return false };
        let Some((socket, connection)) = self.stack.get(id) else { return false };
        if is_idle {
            connection.cut_off(Reason::TimerConnectionIdle, id, socket, &mut self.shared);
        } else {
            connection.expire(id, socket, &mut self.shared);
        }
        self.shared.counters.evicted += 1;
        self.mark(id);
        true
    }
}
