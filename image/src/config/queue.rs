//! The request queue's settings in `[[pool]]`.

use super::error::{Faults, Wrong};
use super::raw;
use appliance::http::response::{Bounds, MAX_FIELDS};
use model::settings::Verbosity;
use std::ops::RangeInclusive;
use toml::Spanned;

type Result<T> = std::result::Result<T, Wrong>;

/// Longest queue, in requests: each holds its head in memory.
const MAX_LENGTH: u32 = 100_000;
/// Longest time, in seconds: a day.
const MAX_SECONDS: u32 = 86_400;
/// Most requests at a time for one worker: each takes a link with its receive buffer.
const MAX_PER_WORKER: u32 = 256;

/// Longest head of an answer that may be allowed, in bytes, and the shortest.
const RESPONSE_HEAD_BYTES: RangeInclusive<u32> = 1024..=Bounds::MAX_BYTES as u32;
/// Most fields of an answer that may be allowed, and fewest.
const RESPONSE_FIELDS: RangeInclusive<u32> = 16..=MAX_FIELDS as u32;

/// How a pool's requests wait, and what may answer them. `None`: as by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait.
    pub length: Option<u32>,
    /// How long they may wait, in seconds.
    pub timeout_s: Option<u32>,
    /// How long a worker may be silent with a request in hand, in seconds.
    pub response_timeout_s: Option<u32>,
    /// Requests that one worker is given at a time.
    pub per_worker: Option<u32>,
    /// Longest head of an answer, in bytes.
    pub response_head_bytes: Option<u32>,
    /// Most fields of an answer.
    pub response_fields: Option<u32>,
    /// How much a 503 says.
    pub verbosity: Verbosity,
}

pub(super) fn queue(pool: &raw::Pool, faults: &Faults) -> Queue {
    let within =
        |key, written: &Option<_>, bounds, unit| faults.value(number(key, written.as_ref(), bounds, unit));
    let count = |key, written: &Option<_>, max, unit| within(key, written, 1..=max, unit);
    Queue {
        length: count("queue_length", &pool.queue_length, MAX_LENGTH, "requests"),
        timeout_s: count("queue_timeout", &pool.queue_timeout, MAX_SECONDS, "seconds"),
        response_timeout_s: count("response_timeout", &pool.response_timeout, MAX_SECONDS, "seconds"),
        per_worker: count("requests_per_worker", &pool.requests_per_worker, MAX_PER_WORKER, "requests"),
        response_head_bytes: within(
            "response_head_bytes",
            &pool.response_head_bytes,
            RESPONSE_HEAD_BYTES,
            "bytes",
        ),
        response_fields: within("response_fields", &pool.response_fields, RESPONSE_FIELDS, "fields"),
        verbosity: faults.value(verbosity(&pool.verbosity)),
    }
}

/// A whole number of something within bounds.
pub(super) fn number(
    key: &str,
    written: Option<&Spanned<i64>>,
    bounds: RangeInclusive<u32>,
    unit: &str,
) -> Result<Option<u32>> {
    let Some(written) = written else { return Ok(None) };
    let found = u32::try_from(*written.get_ref()).ok().filter(|n| bounds.contains(n));
    let (min, max) = (bounds.start(), bounds.end());
    let what = || format!("{key} {}, expected {min} to {max} {unit}", written.get_ref());
    found.map(Some).ok_or_else(|| (written.span().start, what()))
}

fn verbosity(written: &Option<Spanned<String>>) -> Result<Verbosity> {
    let Some(written) = written else { return Ok(Verbosity::default()) };
    match written.get_ref().as_str() {
        "basic" => Ok(Verbosity::Basic),
        "limited" => Ok(Verbosity::Limited),
        "full" => Ok(Verbosity::Full),
        other => {
            let what = format!("verbosity {other:?}, expected \"basic\", \"limited\" or \"full\"");
            Err((written.span().start, what))
        }
    }
}
