//! What every connection of a shard shares.

use crate::budget::Budget;
use crate::connection::drain::Drain;
use crate::connection::security::Security;
use crate::flow::Flow;
use crate::http::response::Bounds;
use crate::log::{Counters, Log, LogLink};
use crate::serving::Serving;
use crate::time::Instant;
use crate::upstream::Pools;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use model::date::DateCache;
use model::settings::Settings;

/// Longest response head of our own, in bytes.
const MAX_RESPONSE_HEAD: usize = 16 << 10;
/// What our own fields may add to a head that is passed on.
const HEAD_HEADROOM: usize = 1 << 10;
/// Buffers kept for the next head that arrives in pieces.
const SPARE_BUFFERS: usize = 32;
/// Longer ones are not kept, in bytes.
const SPARE_BYTES: usize = 64 << 10;

pub(crate) struct Env<S> {
    pub(crate) now: Instant,
    pub(crate) drain: Drain,
    pub(crate) serving: Rc<Serving>,
    pub(crate) date: DateCache,
    pub(crate) pools: Pools<S>,
    pub(crate) flow: Flow,
    pub(crate) counters: Counters,
    pub(crate) log: Log,
    pub(crate) log_link: Option<LogLink>,
    /// For what logs will say about requests under way.
    pub(crate) records: Budget,
    pub(crate) security: Security,
    /// Receives decoded paths.
    pub(crate) path: Vec<u8>,
    /// Heads are rendered here before they are sent, and chunks put together.
    pub(crate) render: Vec<u8>,
    /// For heads that are held: those that arrive in pieces and those that wait for a worker.
    pub(crate) heads: Budget,
    /// For content that may have to be given to a second worker.
    pub(crate) contents: Budget,
    spare: Vec<Vec<u8>>,
}

impl<S> Env<S> {
    /// `head_bytes`: memory for heads that are held.
    pub(crate) fn new(
        settings: &Settings,
        serving: Serving,
        pools: Pools<S>,
        flow: Flow,
        security: Security,
        head_bytes: usize,
    ) -> Self {
        let longest_answer = settings.pools.iter().map(|pool| Bounds::from(pool).bytes).max().unwrap_or(0);
        let longest_head = MAX_RESPONSE_HEAD.max(serving.limits.max_request_bytes).max(longest_answer);
        Self {
            now: Instant::ZERO,
            date: DateCache::new(0),
            drain: Drain::No,
            heads: Budget::new(head_bytes),
            contents: Budget::new(head_bytes / 4),
            pools,
            flow,
            security,
            counters: Counters::default(),
            log: Log::new(settings, head_bytes / 8),
            log_link: settings.log.as_ref().map(|log| LogLink::new(log.port)),
            records: Budget::new(head_bytes / 4),
            // One more than the longest target: parsing looks for its end.
            path: vec![0; serving.limits.max_url_length + 1],
            render: vec![0; longest_head + HEAD_HEADROOM],
            spare: Vec::with_capacity(SPARE_BUFFERS),
            serving: Rc::new(serving),
        }
    }

    /// An empty buffer for a head or for output that found no room.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BYTES).contains(&buffer.capacity()) && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
