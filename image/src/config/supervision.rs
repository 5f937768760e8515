//! Supervision of a pool's workers: `[[pool]]` and its subtables.

use super::bounds::{self, Whole};
use super::error::Faults;
use super::ping::{Ping, ping};
use super::{raw, units};
use std::time::Duration;

/// How the supervisor manages a pool's workers. Defaults are those of IIS where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// Workers that are always kept running; others are started when requests are queued.
    pub min_workers: u32,
    /// Maximum number of running workers, not counting those being replaced.
    pub max_workers: u32,
    /// How long a worker may take to start; one that is not ready by then is stopped and counts as failed.
    pub start_limit: Duration,
    /// How long a worker that is being stopped may take to finish its requests.
    pub stop_limit: Duration,
    /// Health checks.
    pub ping: Ping,
    /// How long a worker may go without a request before it is stopped. `None`: never stopped.
    pub idle_stop: Option<Duration>,
    /// Number of failures within a period that take the pool out of service. `None`: never.
    pub rapid_fail: Option<(u32, Duration)>,
    /// Whether a pool that is out of service is retried automatically, after increasing delays.
    pub recover: bool,
    /// When a worker is replaced.
    pub recycle: Recycle,
    /// Command to run on a worker that failed its health checks, instead of killing it; `{pid}` is its process ID. `None`: the
    /// worker is killed.
    pub orphan: Option<Vec<String>>,
}

/// When a worker is replaced by a new one, which is started first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recycle {
    /// Age. `None`: no limit.
    pub age: Option<Duration>,
    /// Number of requests served.
    pub requests: Option<u64>,
    /// Bytes of host memory used.
    pub memory: Option<u64>,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            min_workers: 0,
            max_workers: 1,
            start_limit: Duration::from_secs(90),
            stop_limit: Duration::from_secs(90),
            ping: Ping::default(),
            idle_stop: Some(Duration::from_secs(20 * 60)),
            rapid_fail: Some((5, Duration::from_secs(300))),
            recover: true,
            recycle: Recycle::default(),
            orphan: None,
        }
    }
}

impl Default for Recycle {
    fn default() -> Self {
        Self { age: Some(Duration::from_secs(29 * 3600)), requests: None, memory: None }
    }
}

/// Settings of a pool whose started workers have `places` instances in all.
pub(super) fn supervision(pool: &raw::Pool, places: u32, faults: &Faults) -> Supervision {
    let default = Supervision::default();
    let number = |key, written, bounds: Whole| faults.value(bounds.read(key, written));
    let count = |key, written| number(key, written, Whole { max: places, ..bounds::WORKERS });
    let seconds = |key, written, default: Duration| {
        let found = number(key, written, bounds::SECONDS);
        found.map_or(default, |s| Duration::from_secs(s.into()))
    };
    // Zero disables an optional limit.
    let switchable = |key, written, default: Option<Duration>| {
        let found = number(key, written, bounds::SECONDS_OR_NEVER);
        found.map_or(default, |s| (s > 0).then(|| Duration::from_secs(s.into())))
    };
    let min_workers = count("min_workers", pool.min_workers.as_ref()).unwrap_or(default.min_workers);
    let max_workers = count("max_workers", pool.max_workers.as_ref()).unwrap_or(places);
    if let Some(max) = pool.max_workers.as_ref().filter(|_| max_workers < min_workers.max(1) && places > 0) {
        let least = min_workers.max(1);
        faults.error(max.span().start, format!("max_workers {max_workers}, expected at least {least}"));
    }
    let (rapid, recycle) = (pool.rapid_fail.as_ref(), pool.recycle.as_ref());
    let failures = number("failures", rapid.and_then(|r| r.failures.as_ref()), bounds::FAILURES);
    let within = seconds("interval", rapid.and_then(|r| r.interval.as_ref()), Duration::from_secs(300));
    let memory = recycle
        .and_then(|r| r.memory.as_ref())
        .map(|written| units::size("memory", written.get_ref()).map_err(|what| (written.span().start, what)));
    let requests = number("requests", recycle.and_then(|r| r.requests.as_ref()), bounds::RECYCLE_REQUESTS);
    let orphan = pool.orphan.as_ref().map(|written| written.get_ref().clone());
    Supervision {
        min_workers,
        max_workers,
        start_limit: seconds("start_limit", pool.start_limit.as_ref(), default.start_limit),
        stop_limit: seconds("stop_limit", pool.stop_limit.as_ref(), default.stop_limit),
        ping: ping(pool.ping.as_ref(), pool.tls.is_some(), faults),
        idle_stop: switchable("idle_stop", pool.idle_stop.as_ref(), default.idle_stop),
        rapid_fail: Some((failures.unwrap_or(5), within)).filter(|(failures, _)| *failures > 0),
        recover: rapid.and_then(|r| r.recover).unwrap_or(default.recover),
        recycle: Recycle {
            age: switchable("age", recycle.and_then(|r| r.age.as_ref()), default.recycle.age),
            requests: requests.map(Into::into),
            memory: faults.value(memory.transpose()),
        },
        orphan,
    }
}
