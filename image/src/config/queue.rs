//! Settings of the request queue in `[[pool]]`.

use super::bounds::{self, Whole};
use super::error::{Fault, Faults};
use super::raw;
use model::settings::Verbosity;
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

/// Limits on queued requests and on responses. `None`: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Maximum number of queued requests.
    pub length: Option<u32>,
    /// How long a request may be queued, in seconds.
    pub timeout_s: Option<u32>,
    /// How long a worker may be silent while it has a request, in seconds.
    pub response_timeout_s: Option<u32>,
    /// Concurrent requests per worker.
    pub per_worker: Option<u32>,
    /// Maximum size of a response head in bytes.
    pub response_head_bytes: Option<u32>,
    /// Maximum number of response fields.
    pub response_fields: Option<u32>,
    /// How much detail a 503 response contains.
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
