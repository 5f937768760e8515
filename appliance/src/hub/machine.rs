//! The hub of a machine with one shard, which calls it directly.

use super::{Hub, HubReport};
use crate::control::Control;
use crate::log::{LogLink, Spool};
use crate::time::Instant;
use crate::tls::{Keys, WallClock};
use crate::upstream::{PoolEvent, PoolLimits, Pools};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use model::control::message::{Answer, Ask, Message, Refusal};
use model::id::PoolId;
use model::settings::Settings;
use model::tls::TlsError;
use netdrv::stream::{StreamEvent, StreamId, StreamTransport};
use netdrv::transport::Faults;

/// Pools, control connection and log link over one stream transport.
pub struct Machine<S> {
    pub(super) pools: Pools<S>,
    pub(super) control: Control,
    log_link: Option<LogLink>,
    /// Names of the pools, in settings order.
    pub(super) names: Vec<String>,
    /// Pools that require TLS on their links but cannot have it.
    without_links: Vec<(PoolId, TlsError)>,
}

impl<S: StreamTransport> Machine<S> {
    /// Creates the hub for these settings. Private keys that the settings only name are looked up in `keys`.
    pub fn new(
        settings: &Settings,
        limits: PoolLimits,
        keys: Keys<'_>,
        clock: &Arc<WallClock>,
        streams: S,
        now: Instant,
    ) -> Self {
        let mut pools = Pools::new(&settings.pools, limits, streams, now);
        let without_links = pools.secure(&settings.pools, keys, clock);
        Self {
            control: Control::new(pools.streams()),
            pools,
            log_link: settings.log.as_ref().map(|log| LogLink::new(log.port)),
            names: settings.pools.iter().map(|pool| pool.name.clone()).collect(),
            without_links,
        }
    }

    /// Pools that are out of service because TLS on their links is unavailable, and why.
    pub fn without_links(&self) -> impl Iterator<Item = (&str, TlsError)> {
        let name = |pool: PoolId| self.names.get(pool.index()).map_or("", String::as_str);
        self.without_links.iter().map(move |&(pool, error)| (name(pool), error))
    }

    /// The pools.
    pub fn pools(&self) -> &Pools<S> {
        &self.pools
    }

    /// The pools, for changes.
    pub fn pools_mut(&mut self) -> &mut Pools<S> {
        &mut self.pools
    }

    /// The stream transport.
    pub fn transport(&mut self) -> &mut S {
        self.pools.streams().transport()
    }

    /// Handles an event of a stream that is not a link to a worker.
    fn on_other_stream(&mut self, event: StreamEvent, log: &mut Spool, now: Instant) {
        if self.control.on_event(event, self.pools.streams()) {
            if !self.control.is_supervised() {
                self.pools.renew_demands();
            }
            return;
        }
        if let Some(link) = self.log_link.as_mut().filter(|link| link.owns(&event)) {
            link.on_event(event, log, self.pools.streams(), now);
        } else if let StreamEvent::Closed(stream, _) | StreamEvent::Accepted { stream, .. } = event {
            self.transport().release(stream);
        }
    }

    /// Tells the supervisor which pools need a worker. Without a supervisor, the demand stays recorded.
    fn push_demands(&mut self, now: Instant) {
        while self.control.is_supervised()
            && let Some((pool, waited)) = self.pools.next_demand(now)
        {
            let waited_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            self.control.push(&Message::Demand { pool, waited_ns });
        }
    }
}

impl<S: StreamTransport> Hub for Machine<S> {
    type Upstream = Pools<S>;

    fn upstream(&mut self) -> &mut Pools<S> {
        &mut self.pools
    }

    fn begin(&mut self, log: &mut Spool, now: Instant) {
        self.pools.poll(now);
        while let Some(event) = self.pools.next_other_event() {
            self.on_other_stream(event, log, now);
        }
    }

    fn next_event(&mut self) -> Option<PoolEvent> {
        self.pools.next_event()
    }

    fn next_ask(&mut self, now: Instant) -> Option<(StreamId, Ask)> {
        loop {
            let (peer, Ask { id, request }) = self.control.next_ask(self.pools.streams())?;
            match self.execute(peer, request, now) {
                ControlFlow::Break(result) => self.answer(peer, id, result),
                ControlFlow::Continue(request) => return Some((peer, Ask { id, request })),
            }
        }
    }

    fn answer(&mut self, peer: StreamId, id: u32, result: Result<Answer, Refusal>) {
        self.control.reply(peer, &Message::Reply { id, result });
    }

    fn finish(&mut self, log: &mut Spool, now: Instant) {
        self.push_demands(now);
        self.control.flush(self.pools.streams());
        if let Some(link) = &mut self.log_link {
            link.pump(log, self.pools.streams(), now);
        }
        self.pools.streams().flush();
    }

    fn wants_turn(&self, now: Instant) -> bool {
        self.pools.wants_turn(now)
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let log = self.log_link.as_ref().and_then(LogLink::next_deadline);
        Instant::earliest([self.pools.next_deadline(now), log])
    }

    fn arm(&mut self) -> bool {
        self.pools.streams().arm()
    }

    fn hurry(&mut self, now: Instant) {
        if let Some(link) = &mut self.log_link {
            link.hurry(now);
        }
    }

    fn faults(&self) -> Faults {
        self.pools.transport_faults()
    }

    fn report(&self) -> HubReport {
        let (pools, links, control) =
            (self.pools.counters(), self.pools.secure_counters(), self.control.counters());
        HubReport {
            links: self.pools.links(),
            links_in_use: self.pools.links_in_use(),
            counters: pools.named().chain(links.named()).chain(control.named()).collect(),
        }
    }
}
