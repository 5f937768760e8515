//! The request queue's settings in `[[pool]]`.

use super::bounds::{self, Whole};
use super::error::{Faults, Wrong};
use super::raw;
use model::settings::Verbosity;
use toml::Spanned;

type Result<T> = std::result::Result<T, Wrong>;

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
    let count = |key, written: &Option<_>, bounds: Whole| faults.value(bounds.read(key, written.as_ref()));
    Queue {
        length: count("queue_length", &pool.queue_length, bounds::QUEUE_LENGTH),
        timeout_s: count("queue_timeout", &pool.queue_timeout, bounds::QUEUE_SECONDS),
        response_timeout_s: count("response_timeout", &pool.response_timeout, bounds::QUEUE_SECONDS),
        per_worker: count("requests_per_worker", &pool.requests_per_worker, bounds::PER_WORKER),
        response_head_bytes: count("response_head_bytes", &pool.response_head_bytes, bounds::RESPONSE_HEAD),
        response_fields: count("response_fields", &pool.response_fields, bounds::RESPONSE_FIELDS),
        verbosity: faults.value(verbosity(&pool.verbosity)),
    }
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
