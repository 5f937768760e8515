//! What every connection of a shard shares.

use super::ShardConfig;
use super::budget::Budget;
use super::drain::Drain;
use super::rules::AllRules;
use super::tls::Security;
use crate::cache::StaticStore;
use crate::date::DateCache;
use crate::flow::Flow;
use crate::http::Limits;
use crate::http::response::Bounds;
use crate::log::{Counters, Log, LogLink};
use crate::pool::Pools;
use crate::settings::{Settings, Trust};
use crate::site::Router;
use crate::time::Instant;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// Longest response head of our own, in bytes.
const MAX_RESPONSE_HEAD: usize = 16 << 10;
/// What our own fields may add to a head that is passed on.
const HEAD_HEADROOM: usize = 1 << 10;
/// Buffers kept for the next head that arrives in pieces.
const SPARE_BUFFERS: usize = 32;
/// Longer ones are not kept, in bytes.
const SPARE_BYTES: usize = 64 << 10;

/// How long a connection may stay in each state. HTTP.sys's names; stricter values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From the first byte of a head, or from the handshake, to the head's end.
    pub header_wait: Duration,
    /// Between two requests.
    pub idle_connection: Duration,
    /// Between two bytes, either way, of a connection that has changed its protocol.
    pub tunnel_idle: Duration,
    /// Between two pieces of an answer that has begun and whose length was not said.
    pub stream_idle: Duration,
    /// Between two pieces of a request's content.
    pub entity_body: Duration,
    /// For discarding content nobody wants after the response.
    pub drain_entity_body: Duration,
    /// Between two moments at which the client takes response bytes.
    pub send_stall: Duration,
    /// After our FIN, between two pieces of what the client still sends, and to its own.
    pub linger: Duration,
    /// From our FIN to the client's, whatever it sends.
    pub linger_in_all: Duration,
    /// From the TCP handshake to the end of the TLS handshake.
    pub tls_handshake: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            header_wait: Duration::from_secs(30),
            idle_connection: Duration::from_secs(120),
            tunnel_idle: Duration::from_secs(3600),
            stream_idle: Duration::from_secs(3600),
            entity_body: Duration::from_secs(60),
            drain_entity_body: Duration::from_secs(30),
            send_stall: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            linger_in_all: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
        }
    }
}

/// What is served, and by which rules: read-only while requests are handled.
pub(super) struct Serving<'b> {
    pub(super) router: Router,
    pub(super) files: StaticStore<'b>,
    /// The widest limits of any site, by which heads are parsed.
    pub(super) limits: Limits,
    pub(super) rules: AllRules,
    /// Whose word about their clients is taken.
    pub(super) trust: Trust,
    pub(super) date: DateCache,
}

pub(super) struct Env<'b, S> {
    pub(super) now: Instant,
    pub(super) drain: Drain,
    pub(super) serving: Serving<'b>,
    pub(super) pools: Pools<S>,
    pub(super) flow: Flow,
    pub(super) counters: Counters,
    pub(super) log: Log,
    pub(super) log_link: Option<LogLink>,
    /// For what logs will say about requests under way.
    pub(super) records: Budget,
    pub(super) security: Security,
    /// Receives decoded paths.
    pub(super) path: Vec<u8>,
    /// Heads are rendered here before they are sent, and chunks put together.
    pub(super) render: Vec<u8>,
    /// For heads that are held: those that arrive in pieces and those that wait for a worker.
    pub(super) heads: Budget,
    /// For content that may have to be given to a second worker.
    pub(super) contents: Budget,
    spare: Vec<Vec<u8>>,
}

impl<'b, S> Env<'b, S> {
    pub(super) fn new(
        router: Router,
        files: StaticStore<'b>,
        pools: Pools<S>,
        flow: Flow,
        security: Security,
        settings: &Settings,
        config: &ShardConfig,
    ) -> Self {
        let rules = AllRules::new(settings, config.timers);
        let limits = rules.widest();
        let unix_time = config.unix_time;
        let longest_answer = settings.pools.iter().map(|pool| Bounds::from(pool).bytes).max().unwrap_or(0);
        Self {
            now: Instant::ZERO,
            drain: Drain::No,
            heads: Budget::new(config.head_bytes),
            contents: Budget::new(config.head_bytes / 4),
            pools,
            flow,
            security,
            counters: Counters::default(),
            log: Log::new(settings, config.head_bytes / 8),
            log_link: settings.log.as_ref().map(|log| LogLink::new(log.port)),
            records: Budget::new(config.head_bytes / 4),
            // One more than the longest target: parsing looks for its end.
            path: vec![0; limits.max_url_length + 1],
            render: vec![
                0;
                MAX_RESPONSE_HEAD.max(limits.max_request_bytes).max(longest_answer) + HEAD_HEADROOM
            ],
            spare: Vec::with_capacity(SPARE_BUFFERS),
            serving: Serving {
                router,
                files,
                limits,
                rules,
                trust: settings.server.trust.clone(),
                date: DateCache::new(unix_time),
            },
        }
    }

    /// An empty buffer for a head or for output that found no room.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BYTES).contains(&buffer.capacity()) && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
