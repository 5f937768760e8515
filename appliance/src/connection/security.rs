//! What all TLS connections of a shard share: the store, the bound on handshakes and the memory.

use crate::budget::{Budget, Lease};
use crate::serving::Router;
use crate::tcp::ConnId;
use crate::tls::{Fault, MAX_RECORD_OVERHEAD, Store, WallClock};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use model::reason::Reason;
use model::tls::Counters;
use model::url::Scheme;

/// Handshakes in progress at most; the oldest gives way to a new one.
pub(crate) const MAX_HANDSHAKES: usize = 256;
/// Handshakes that go a step further before everything else gets its turn.
const TURNS: usize = 8;
/// Reserved for each connection, in bytes: rustls's state, about 5 KiB, and what it allocates in a handshake.
pub(crate) const CONNECTION_BYTES: usize = 12 << 10;
const SCRATCH: usize = (16 << 10) + MAX_RECORD_OVERHEAD;

pub(crate) struct Security {
    store: Option<Store>,
    /// By which certificates are judged, those of workers as well.
    clock: Arc<WallClock>,
    ports: Vec<u16>,
    memory: Budget,
    /// In the order in which they began.
    handshakes: VecDeque<ConnId>,
    victim: Option<ConnId>,
    turns: usize,
    pub(crate) scratch: Vec<u8>,
    pub(crate) counters: Counters,
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
            turns: TURNS,
            scratch,
            counters: Counters::default(),
        }
    }

    /// Begins a turn of the shard.
    pub(crate) fn begin(&mut self, unix_seconds: u64) {
        self.turns = TURNS;
        self.clock.set(unix_seconds);
        if let Some(store) = &mut self.store {
            store.rotate();
        }
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// To change what connections that begin from now on have.
    pub(crate) fn store_mut(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Whether the port speaks TLS.
    pub(crate) fn is_secure(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// No further connection would get memory.
    pub(crate) fn is_full(&self) -> bool {
        !self.ports.is_empty() && !self.memory.has(CONNECTION_BYTES)
    }

    /// A connection opens: memory for it, `None` if there is none.
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

    /// A handshake has ended, one way or another.
    pub(crate) fn end_handshake(&mut self, me: ConnId) {
        if let Some(at) = self.handshakes.iter().position(|&other| other == me) {
            self.handshakes.remove(at);
        }
    }

    /// Handshakes in progress.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.len()
    }

    /// The connection that has to give way.
    pub(crate) fn take_victim(&mut self) -> Option<ConnId> {
        self.victim.take()
    }

    /// Whether a handshake may go a step further now.
    pub(crate) fn take_turn(&mut self) -> bool {
        let left = self.turns.checked_sub(1);
        self.turns = left.unwrap_or(0);
        left.is_some()
    }

    /// Counts a refused request, if that has to do with TLS.
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
