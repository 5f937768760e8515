//! Bounds of whole numbers, each said once: the parser refuses by them, and the schema and the reference show them.

use super::error::Wrong;
use appliance::flow::WEIGHT_MAX;
use appliance::http::response::{MAX_FIELDS, ResponseLimits};
use schemars::Schema;
use toml::Spanned;

/// Longest time, in seconds: 30 days.
const MONTH: u32 = 30 * 86_400;
/// Longest time that requests wait, in seconds.
const DAY: u32 = 86_400;
/// Workers of one pool at most, as many as the appliance takes.
pub(super) const MAX_WORKERS: u32 = model::pool::MAX_WORKERS as u32;

/// A whole number of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) min: u32,
    pub(super) max: u32,
    /// What is counted, in the plural; empty where the key says it.
    pub(super) unit: &'static str,
}

/// A time that cannot be switched off.
pub(super) const SECONDS: Whole = Whole::new(1, MONTH, "seconds");
/// A time of which 0 is never.
pub(super) const SECONDS_OR_NEVER: Whole = Whole::new(0, MONTH, "seconds");
/// A timer of a connection; HTTP.sys's is a 16-bit number.
pub(super) const TIMER: Whole = Whole::new(1, 65_535, "seconds");
/// `shutdown_limit`.
pub(super) const SHUTDOWN: Whole = Whole::new(0, 65_535, "seconds");
/// Each waiting request holds its head in memory.
pub(super) const QUEUE_LENGTH: Whole = Whole::new(1, 100_000, "requests");
/// A time that a request may take.
pub(super) const QUEUE_SECONDS: Whole = Whole::new(1, DAY, "seconds");
/// Each request in hand takes a link with its receive buffer.
pub(super) const PER_WORKER: Whole = Whole::new(1, 256, "requests");
/// The head of an answer.
pub(super) const RESPONSE_HEAD: Whole = Whole::new(1024, ResponseLimits::MAX_BYTES as u32, "bytes");
/// Fields of an answer.
pub(super) const RESPONSE_FIELDS: Whole = Whole::new(16, MAX_FIELDS as u32, "fields");
/// `min_workers` and `max_workers`; the parser's bound is what the pool's list has.
pub(super) const WORKERS: Whole = Whole::new(0, MAX_WORKERS, "workers, as many as the pool has");
/// `instances`.
pub(super) const INSTANCES: Whole = Whole::new(1, MAX_WORKERS, "workers");
/// `[pool.rapid_fail]`'s `failures`.
pub(super) const FAILURES: Whole = Whole::new(0, 10_000, "failures");
/// `[pool.recycle]`'s `requests`.
pub(super) const RECYCLE_REQUESTS: Whole = Whole::new(1, u32::MAX, "requests");
/// HTTP.sys's MaxRequestBytes.
pub(super) const REQUEST_BYTES: Whole = Whole::new(256, 16_777_216, "bytes");
/// HTTP.sys's MaxFieldLength.
pub(super) const FIELD_LENGTH: Whole = Whole::new(64, 65_534, "bytes");
/// HTTP.sys's UrlSegmentMaxLength.
pub(super) const SEGMENT_LENGTH: Whole = Whole::new(1, 32_766, "characters");
/// HTTP.sys's UrlSegmentMaxCount.
pub(super) const SEGMENT_COUNT: Whole = Whole::new(1, 16_383, "segments");
/// A limit on connections or requests; `appliance::flow` refuses 0.
pub(super) const COUNT: Whole = Whole::new(1, u32::MAX, "");
/// `weight`.
pub(super) const WEIGHT: Whole = Whole::new(1, WEIGHT_MAX, "");
/// A TCP port.
pub(super) const PORT: Whole = Whole::new(1, 65_535, "");
/// `keep`; 0 is all.
pub(super) const KEEP: Whole = Whole::new(0, u32::MAX, "");

impl Whole {
    const fn new(min: u32, max: u32, unit: &'static str) -> Self {
        Self { min, max, unit }
    }

    /// The number that `key` has, if it has one; else what is wrong with it, and where.
    pub(super) fn read(self, key: &str, written: Option<&Spanned<i64>>) -> Result<Option<u32>, Wrong> {
        let Self { min, max, unit } = self;
        let Some(written) = written else { return Ok(None) };
        let found = u32::try_from(*written.get_ref()).ok().filter(|n| (min..=max).contains(n));
        let what = || format!("{key} {}, expected {min} to {max} {unit}", written.get_ref());
        found.map(Some).ok_or_else(|| (written.span().start, what().trim_end().to_owned()))
    }

    /// Says the bounds and the unit in a schema.
    pub(super) fn show(self) -> impl FnMut(&mut Schema) {
        move |schema| {
            schema.insert("minimum".into(), self.min.into());
            schema.insert("maximum".into(), self.max.into());
            if !self.unit.is_empty() {
                schema.insert("x-unit".into(), self.unit.into());
            }
        }
    }
}
