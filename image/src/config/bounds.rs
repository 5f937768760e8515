//! Bounds of integers, shared by the parser, the schema and the reference.

use super::error::Fault;
use appliance::flow::WEIGHT_MAX;
use appliance::http::response::{MAX_FIELDS, ResponseLimits};
use schemars::Schema;
use toml::Spanned;

/// Maximum of most times, in seconds: 30 days.
const MONTH: u32 = 30 * 86_400;
/// Maximum time a request may be queued, in seconds.
const DAY: u32 = 86_400;
/// Maximum number of workers per pool; the appliance's limit.
pub(super) const MAX_WORKERS: u32 = model::pool::MAX_WORKERS as u32;

/// An integer range with a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) min: u32,
    pub(super) max: u32,
    /// Unit in the plural; empty if the key already says it.
    pub(super) unit: &'static str,
}

/// A time that cannot be disabled.
pub(super) const SECONDS: Whole = Whole::new(1, MONTH, "seconds");
/// A time where 0 means never.
pub(super) const SECONDS_OR_NEVER: Whole = Whole::new(0, MONTH, "seconds");
/// A connection timer; 16 bits, as in HTTP.sys.
pub(super) const TIMER: Whole = Whole::new(1, 65_535, "seconds");
/// `shutdown_limit`.
pub(super) const SHUTDOWN: Whole = Whole::new(0, 65_535, "seconds");
/// Each queued request holds its head in memory.
pub(super) const QUEUE_LENGTH: Whole = Whole::new(1, 100_000, "requests");
/// Time a request may take.
pub(super) const QUEUE_SECONDS: Whole = Whole::new(1, DAY, "seconds");
/// Each concurrent request takes a link with its receive buffer.
pub(super) const PER_WORKER: Whole = Whole::new(1, 256, "requests");
/// Size of a response head.
pub(super) const RESPONSE_HEAD: Whole = Whole::new(1024, ResponseLimits::MAX_BYTES as u32, "bytes");
/// Number of response fields.
pub(super) const RESPONSE_FIELDS: Whole = Whole::new(16, MAX_FIELDS as u32, "fields");
/// `min_workers` and `max_workers`; the parser's upper bound is the pool's number of workers.
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
/// A limit on connections or requests; `appliance::flow` rejects 0.
pub(super) const COUNT: Whole = Whole::new(1, u32::MAX, "");
/// `weight`.
pub(super) const WEIGHT: Whole = Whole::new(1, WEIGHT_MAX, "");
/// A TCP port.
pub(super) const PORT: Whole = Whole::new(1, 65_535, "");
/// `keep`; 0 means all.
pub(super) const KEEP: Whole = Whole::new(0, u32::MAX, "");

impl Whole {
    const fn new(min: u32, max: u32, unit: &'static str) -> Self {
        Self { min, max, unit }
    }

    /// Parses the number under `key`, if present; the error has its offset and message.
    pub(super) fn read(self, key: &str, written: Option<&Spanned<i64>>) -> Result<Option<u32>, Fault> {
        let Self { min, max, unit } = self;
        let Some(written) = written else { return Ok(None) };
        let found = u32::try_from(*written.get_ref()).ok().filter(|n| (min..=max).contains(n));
        let what = || format!("{key} {}, expected {min} to {max} {unit}", written.get_ref());
        found.map(Some).ok_or_else(|| (written.span().start, what().trim_end().to_owned()))
    }

    /// Adds bounds and unit to a schema.
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
