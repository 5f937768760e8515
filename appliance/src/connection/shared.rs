//! What the connections of a shard share.

use super::drain::Drain;
use super::gate::Traffic;
use super::security::Security;
use crate::budget::{Budget, Buffers};
use crate::exchange::forward::{PIECE, Workers};
use crate::exchange::journal::Books;
use crate::flow::Flow;
use crate::http::response::Bounds;
use crate::hub::Hub;
use crate::log::{Counters, Log};
use crate::serving::Serving;
use crate::time::Instant;
use crate::upstream::ExchangeId;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use model::date::DateCache;
use model::settings::Settings;

/// Longest response head of our own, in bytes.
const MAX_RESPONSE_HEAD: usize = 16 << 10;
/// What our own fields may add to a head that is passed on.
const HEAD_HEADROOM: usize = 1 << 10;

pub(crate) struct Shared<H> {
    pub(crate) now: Instant,
    pub(crate) date: DateCache,
    pub(crate) drain: Drain,
    pub(crate) serving: Rc<Serving>,
    pub(crate) traffic: Traffic,
    pub(crate) hub: H,
    pub(crate) counters: Counters,
    pub(crate) books: Books,
    pub(crate) security: Security,
    /// Receives decoded paths.
    pub(crate) path: Vec<u8>,
    /// Heads are rendered here before they are sent, and content is put together with what stands around it.
    pub(crate) render: Vec<u8>,
    /// Content for workers is put together here.
    chunk: Vec<u8>,
    /// For heads that are held: those that arrive in pieces and those that wait for a worker.
    pub(crate) heads: Budget,
    /// For content that may have to be given to a second worker.
    pub(crate) contents: Budget,
    pub(crate) buffers: Buffers,
}

/// The parts that an exchange works with, each by itself.
pub(super) struct Parts<'p, U> {
    pub(super) traffic: &'p mut Traffic,
    pub(super) render: &'p mut [u8],
    pub(super) buffers: &'p mut Buffers,
    pub(super) date: &'p DateCache,
    pub(super) security: &'p Security,
    pub(super) workers: Workers<'p, U>,
}

impl<H> Shared<H> {
    /// `head_bytes`: memory for heads that are held.
    pub(crate) fn new(
        settings: &Settings,
        serving: Serving,
        hub: H,
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
            hub,
            traffic: Traffic::new(flow),
            security,
            counters: Counters::default(),
            books: Books::new(Log::new(settings, head_bytes / 8), Budget::new(head_bytes / 4)),
            // One more than the longest target: parsing looks for its end.
            path: vec![0; serving.limits.max_url_length + 1],
            render: vec![0; longest_head + HEAD_HEADROOM],
            chunk: vec![0; PIECE],
            buffers: Buffers::new(),
            serving: Rc::new(serving),
        }
    }

    /// A turn of the shard begins.
    pub(crate) fn begin(&mut self, now: Instant, unix_seconds: u64) {
        self.now = now;
        self.date.set(unix_seconds);
        self.traffic.now = now;
        self.books.begin(now, unix_seconds);
        self.security.begin(unix_seconds);
    }
}

impl<H: Hub> Shared<H> {
    /// For what `me` asks of workers.
    pub(super) fn workers(&mut self, me: ExchangeId) -> Workers<'_, H::Upstream> {
        self.parts(me).workers
    }

    pub(super) fn parts(&mut self, me: ExchangeId) -> Parts<'_, H::Upstream> {
        Parts {
            traffic: &mut self.traffic,
            render: &mut self.render,
            buffers: &mut self.buffers,
            date: &self.date,
            security: &self.security,
            workers: Workers {
                pools: self.hub.upstream(),
                counters: &mut self.counters,
                heads: &self.heads,
                contents: &self.contents,
                chunk: &mut self.chunk,
                now: self.now,
                me,
            },
        }
    }
}
