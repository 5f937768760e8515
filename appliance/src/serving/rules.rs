//! Limits and timers for reading requests: server-wide until the site is known, then the site's.

use super::timers::Timers;
use crate::http::{Refusal, RequestHead, RequestLimits};
use alloc::vec::Vec;
use core::time::Duration;
use model::id::SiteId;
use model::reason::Reason;
use model::settings::{self, Http, Profile};

/// Default floor for the rate of request content, in bytes per second (IIS: minBytesPerSecond).
const ENTITY_BODY_RATE: u64 = 240;
/// Default of all of HTTP.sys's timers.
const HTTP_SYS_TIMER: Duration = Duration::from_secs(120);

/// The rules of a site, or the server-wide ones.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: RequestLimits,
    pub(crate) timers: Timers,
    /// Limit on request content, in bytes.
    pub(crate) max_content: u64,
    /// Minimum rate in bytes per second; 0: none.
    entity_body_rate: u64,
    /// The limits are narrower than those used for parsing, so heads must be checked again.
    narrower: bool,
}

impl Rules {
    /// The server-wide rules. `timers`: defaults of the strict profile.
    fn server(http: &Http, timers: Timers) -> Self {
        let base = match http.profile.unwrap_or_default() {
            Profile::Strict => Self {
                limits: RequestLimits::STRICT,
                timers,
                max_content: u64::MAX,
                entity_body_rate: ENTITY_BODY_RATE,
                narrower: false,
            },
            Profile::HttpSys => Self {
                limits: RequestLimits::HTTP_SYS,
                timers: Timers {
                    header_wait: HTTP_SYS_TIMER,
                    idle_connection: HTTP_SYS_TIMER,
                    entity_body: HTTP_SYS_TIMER,
                    drain_entity_body: HTTP_SYS_TIMER,
                    ..timers
                },
                max_content: u64::MAX,
                // HTTP.sys restarts its timer with every byte.
                entity_body_rate: 0,
                narrower: false,
            },
        };
        base.with(http)
    }

    /// These rules, overridden by what `http` sets.
    fn with(&self, http: &Http) -> Self {
        let mut rules = self.clone();
        let size = |said: Option<u32>, old: usize| said.map_or(old, |n| n as usize);
        let time = |said: Option<u32>, old| said.map_or(old, |s| Duration::from_secs(s.into()));
        let (limits, timers) = (&mut rules.limits, &mut rules.timers);
        limits.max_request_bytes = size(http.max_request_bytes, limits.max_request_bytes);
        limits.max_field_length = size(http.max_field_length, limits.max_field_length);
        limits.url_segment_max_length = size(http.url_segment_max_length, limits.url_segment_max_length);
        limits.url_segment_max_count = size(http.url_segment_max_count, limits.url_segment_max_count);
        limits.trace = http.trace.unwrap_or(limits.trace);
        // As in HTTP.sys, the longest field is also the longest URL.
        if http.max_field_length.is_some() {
            limits.max_url_length = limits.max_field_length;
        }
        timers.header_wait = time(http.header_wait_s, timers.header_wait);
        timers.idle_connection = time(http.idle_connection_s, timers.idle_connection);
        timers.tunnel_idle = time(http.tunnel_idle_s, timers.tunnel_idle);
        timers.stream_idle = time(http.stream_idle_s, timers.stream_idle);
        timers.entity_body = time(http.entity_body_s, timers.entity_body);
        timers.drain_entity_body = time(http.drain_entity_body_s, timers.drain_entity_body);
        rules.max_content = http.max_content.unwrap_or(rules.max_content);
        rules.entity_body_rate = http.entity_body_rate.unwrap_or(rules.entity_body_rate);
        rules
    }

    /// How long to wait for this much content in all.
    pub(crate) fn content_time(&self, bytes: u64) -> Duration {
        match self.entity_body_rate {
            0 => Duration::MAX,
            rate => self
                .timers
                .entity_body
                .saturating_add(Duration::from_millis(bytes.saturating_mul(1000) / rate)),
        }
    }

    /// Refuses a head of `len` bytes that exceeds the limits, or announces content that does.
    pub(crate) fn check(&self, head: &RequestHead<'_>, len: usize) -> Result<(), Refusal> {
        if head.framing.is_longer_than(self.max_content) {
            return Err(Refusal::new(413, Reason::EntityTooLarge));
        }
        if self.narrower { head.check_limits(&self.limits, len) } else { Ok(()) }
    }
}

/// The rules of the server and of all sites.
#[derive(Clone, Debug)]
pub(crate) struct AllRules {
    server: Rules,
    sites: Vec<Rules>,
}

impl AllRules {
    pub(crate) fn new(settings: &settings::Settings, timers: Timers) -> Self {
        let server = Rules::server(&settings.server.http, timers);
        let sites = settings.sites.iter().map(|site| match site.http.profile {
            None => server.with(&site.http),
            Some(_) => Rules::server(&site.http, timers),
        });
        let mut all = Self { sites: sites.collect(), server };
        let widest = all.widest();
        for rules in &mut all.sites {
            rules.narrower = rules.limits != widest;
        }
        all
    }

    /// The rules of a site, or the server-wide ones.
    pub(crate) fn of(&self, site: Option<SiteId>) -> &Rules {
        site.and_then(|site| self.sites.get(site.index())).unwrap_or(&self.server)
    }

    /// The widest limits: whatever any site accepts is accepted.
    pub(crate) fn widest(&self) -> RequestLimits {
        self.sites.iter().fold(self.server.limits.clone(), |widest, rules| widest.or(&rules.limits))
    }
}
