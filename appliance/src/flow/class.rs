//! Scheduling classes: sites, clients, connections.

use super::heap::Heap;
use super::list::{Linked, Links, List, NONE};
use super::rate::{Bucket, BytesPerSec, QUANTUM_MAX, SECOND_NS};
use model::id::SiteId;
use model::metrics::Usage;

/// Rates of one site in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SiteRates {
    pub(super) rate: Option<BytesPerSec>,
    pub(super) ceil: Option<BytesPerSec>,
    /// In bytes.
    pub(super) burst: Option<u64>,
    /// At least 1.
    pub(super) weight: u32,
    pub(super) client_ceil: Option<BytesPerSec>,
}

/// Byte counter with the rate of the last whole second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    total: u64,
    second: u64,
    in_second: u64,
    last_second: u64,
}

impl Meter {
    #[inline]
    pub(super) fn add(&mut self, bytes: u32, now_ns: u64) {
        self.roll(now_ns);
        self.total += u64::from(bytes);
        self.in_second += u64::from(bytes);
    }

    #[inline]
    fn roll(&mut self, now_ns: u64) {
        if now_ns >= self.second.saturating_add(SECOND_NS) {
            let second = now_ns - now_ns % SECOND_NS;
            self.last_second =
                if second == self.second.saturating_add(SECOND_NS) { self.in_second } else { 0 };
            (self.second, self.in_second) = (second, 0);
        }
    }

    /// Total bytes, and bytes in the last whole second.
    pub(super) fn read(mut self, now_ns: u64) -> (u64, u64) {
        self.roll(now_ns);
        (self.total, self.last_second)
    }
}

/// A site: buckets of its ceiling and guarantee, its place in weighted sharing, and its clients.
#[derive(Clone, Debug)]
pub(super) struct SiteClass {
    /// Some ceiling applies: the site's, its clients' or the server's.
    pub(super) limited: bool,
    pub(super) ceil: Option<Bucket>,
    pub(super) guarantee: Option<Bucket>,
    pub(super) weight: u32,
    /// Finish tag in the server's weighted virtual time, bytes × 2^20 / weight, and the remainder of that
    /// division.
    pub(super) tag: u128,
    pub(super) tag_remainder: u32,
    /// Bytes granted at once (quantum).
    pub(super) quantum: u32,
    pub(super) client_ceil: Option<BytesPerSec>,
    /// Virtual time among its clients: the tag of the last one served.
    pub(super) clock: u64,
    /// Largest tag of a client so far.
    pub(super) latest: u64,
    /// Connections with a small response to send.
    pub(super) express: List,
    /// How many bytes small responses may still be sent ahead of bulk.
    pub(super) credit: i64,
    /// Clients with bulk to send, ordered by tag.
    pub(super) active: Heap<u64>,
    /// Number of clients.
    pub(super) clients: u32,
    pub(super) queued: u32,
    pub(super) queued_bytes: u64,
    pub(super) delayed: u64,
    pub(super) meter: Meter,
}

impl SiteClass {
    pub(super) fn new() -> Self {
        Self {
            limited: false,
            ceil: None,
            guarantee: None,
            weight: 1,
            tag: 0,
            tag_remainder: 0,
            quantum: QUANTUM_MAX,
            client_ceil: None,
            clock: 0,
            latest: 0,
            express: List::default(),
            credit: 0,
            active: Heap::new(),
            clients: 0,
            queued: 0,
            queued_bytes: 0,
            delayed: 0,
            meter: Meter::default(),
        }
    }

    pub(super) fn is_runnable(&self) -> bool {
        !self.express.is_empty() || !self.active.is_empty()
    }

    /// Advances its tag by this many bytes.
    pub(super) fn advance(&mut self, clock: u128, bytes: u32) {
        // 2^32 × 2^20 + 2^32 fits.
        let cost = (u64::from(bytes) << 20) + u64::from(self.tag_remainder);
        let weight = u64::from(self.weight.max(1));
        self.tag = self.tag.max(clock) + u128::from(cost / weight);
        self.tag_remainder = (cost % weight) as u32;
    }

    pub(super) fn usage(&self, now_ns: u64) -> Usage {
        let (bytes, rate) = self.meter.read(now_ns);
        Usage {
            bytes,
            rate,
            tokens: self.ceil.map(|bucket| bucket.tokens(now_ns)),
            queued: self.queued,
            queued_bytes: self.queued_bytes,
            delayed: self.delayed,
        }
    }
}

/// A client address at a site.
#[derive(Clone, Debug)]
pub(super) struct ClientClass {
    pub(super) site: SiteId,
    pub(super) ceil: Option<Bucket>,
    /// Finish tag in the site's virtual time, in bytes.
    pub(super) tag: u64,
    /// Its connections with bulk to send, in round-robin order.
    pub(super) bulk: List,
}

impl ClientClass {
    /// A free place. Nothing of it waits, so it makes no difference to the site that it names.
    pub(super) const VACANT: Self = Self { site: SiteId(0), ceil: None, tag: 0, bulk: List::EMPTY };

    pub(super) fn is_ready(&self, now_ns: u64) -> bool {
        self.ceil.is_none_or(|bucket| bucket.is_ready(now_ns))
    }
}

/// The queue that a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Queue {
    #[default]
    None,
    /// The queue of small responses of its site.
    Express,
    /// The bulk queue of its client.
    Bulk,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    pub(super) client: u32,
    pub(super) queue: Queue,
    /// Bytes it could send now.
    pub(super) wanted: u32,
    /// Bytes of this response that may still be treated as small.
    pub(super) small_left: u32,
    pub(super) links: Links,
}

impl Default for Conn {
    fn default() -> Self {
        Self { client: NONE, queue: Queue::None, wanted: 0, small_left: 0, links: Links::default() }
    }
}

impl Linked for Conn {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}
