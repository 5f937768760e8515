//! State shared by all TLS connections of a shard: the store, the bound on handshakes, the memory.

use crate::budget::{Budget, Lease};
use crate::serving::Router;
use crate::tcp::ConnId;
use crate::tls::{Fault, MAX_RECORD_OVERHEAD, Store, WallClock};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use model::reason::Reason;
use model::tls::TlsCounters;
use model::url::Scheme;

/// Limit on handshakes in progress; the oldest gives way to a new one.
pub(crate) const MAX_HANDSHAKES: usize = 256;
/// Limit on handshake steps per turn of the shard, so that other connections get theirs.
const HANDSHAKE_STEPS_PER_TURN: usize = 8;
/// Bytes reserved per connection: rustls's state, about 5 KiB, and its allocations during a handshake.
pub(crate) const CONNECTION_BYTES: usize = 12 << 10;
const SCRATCH: usize = (16 << 10) + MAX_RECORD_OVERHEAD;

pub(crate) struct Security {
    store: Option<Store>,
    /// Time for the validation of certificates, workers' included.
    clock: Arc<WallClock>,
    ports: Vec<u16>,
    memory: Budget,
    /// Ordered by start.
    handshakes: VecDeque<ConnId>,
    victim: Option<ConnId>,
    turns: usize,
    pub(crate) scratch: Vec<u8>,
    pub(crate) counters: TlsCounters,
}

impl Security {
    pub(crate) fn new(store: Option<Store>, router: &Router, memory: usize, clock: Arc<WallClock>) -> Self {
        let scratch = if store.is_some() { vec![0; SCRATCH] } else { Vec::new() };
        let https = router.ports().filter(|&(_, scheme)| scheme == Scheme::Https);
        Self {
            store,
            clock,
            ports: https.map(|(port, _)| port).collect(),
            memory: Budget::new(memory),
            handshakes: VecDeque::new(),
            victim: None,
            turns: HANDSHAKE_STEPS_PER_TURN,
            scratch,
            counters: TlsCounters::default(),
        }
    }

    /// Begins a turn of the shard.
    pub(crate) fn begin(&mut self, unix_seconds: u64) {
        self.turns = HANDSHAKE_STEPS_PER_TURN;
        self.clock.set(unix_seconds);
        if let Some(store) = &mut self.store {
            store.rotate();
        }
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// For changes that apply to connections opened from now on.
    pub(crate) fn store_mut(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Whether the port speaks TLS.
    pub(crate) fn is_secure(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether there is no memory for another connection.
    pub(crate) fn is_full(&self) -> bool {
        !self.ports.is_empty() && !self.memory.has(CONNECTION_BYTES)
    }

    /// Reserves memory for a new connection; `None` if there is none.
    pub(crate) fn open(&mut self, me: ConnId) -> Option<Lease> {
        let Some(lease) = self.memory.lease(CONNECTION_BYTES) else {
            self.counters.refused += 1;
            return None;
        };
        if self.handshakes.len() >= MAX_HANDSHAKES {
            self.victim = self.handshakes.pop_front();
            self.counters.evicted += 1;
        }
        self.handshakes.push_back(me);
        Some(lease)
    }

    /// Notes that a handshake has ended, successfully or not.
    pub(crate) fn end_handshake(&mut self, me: ConnId) {
        if let Some(at) = self.handshakes.iter().position(|&other| other == me) {
            self.handshakes.remove(at);
        }
    }

    /// Handshakes in progress.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.len()
    }

    /// The connection to close in favour of a newer handshake.
    pub(crate) fn take_victim(&mut self) -> Option<ConnId> {
        self.victim.take()
    }

    /// Whether a handshake may take another step in this turn.
    pub(crate) fn take_turn(&mut self) -> bool {
        let left = self.turns.checked_sub(1);
        self.turns = left.unwrap_or(0);
        left.is_some()
    }

    /// Counts a refused request, if the reason concerns TLS.
    pub(crate) fn count_refusal(&mut self, reason: Reason) {
        match reason {
            Reason::Misdirected => self.counters.misdirected += 1,
            Reason::ClientCertExpired
            | Reason::ClientCertRequired
            | Reason::ClientCertRevoked
            | Reason::ClientCertUntrusted => self.counters.client_certificates_refused += 1,
            _ => {}
        }
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        let counters = &mut self.counters;
        match fault {
            Fault::Garbage => counters.garbage += 1,
            Fault::PlainHttp => {
                counters.garbage += 1;
                counters.plain_http += 1;
            }
            Fault::Oversized => counters.oversized += 1,
            Fault::UnknownName => counters.unknown_name += 1,
            Fault::Handshake => counters.failed += 1,
            Fault::Broken => counters.broken += 1,
        }
    }
}
