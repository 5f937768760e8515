//! `[[pool]]` and the supervision of its workers.

use super::forms::{Expect, Name, Size};
use super::{PoolTls, Worker};
use crate::config::bounds::{
    FAILURES, PER_WORKER, QUEUE_LENGTH, QUEUE_SECONDS, RECYCLE_REQUESTS, RESPONSE_FIELDS, RESPONSE_HEAD,
    SECONDS, SECONDS_OR_NEVER, WORKERS,
};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// An application pool: a group of workers and the queue of requests for them.
///
/// ```toml
/// [[pool]]
/// name = "app"
/// queue_length = 1000
/// min_workers = 1
/// max_workers = 4
/// orphan = ["gdb", "-p", "{pid}"]
///
/// [[pool.worker]]
/// kind = "process"
/// command = ["gunicorn", "--bind", "unix:{socket}", "shop:app"]
/// instances = 4
/// ```
///
/// **Suspect workers.** Failed requests are judged independently of pings. The appliance prefers other workers to one with which
/// three different requests (by client and request line) have failed, and either the last five requests in a row or 16 of the
/// last 32. If no other worker has room it still gets requests, and after a pause (50 ms, doubled up to one second) it is given
/// one request to prove itself. A client therefore cannot take a pool away from others by sending requests that fail.
///
/// **Requests that kill workers.** A request whose worker died (it exited, or was killed because it hung) is replayed to a second
/// worker if it may be repeated. If that worker dies as well, requests for the same method, host and path get 502
/// `Request_Ends_Workers` for one minute, doubled each time it happens again, up to 10 minutes. A normal response clears the
/// entry. Up to 128 such targets are remembered (`weir_fatal_targets_total`). The death of a worker with a `vsock:` address
/// cannot be detected.
///
/// **Truncated responses.** The vsock daemon turns every reset into an orderly close. For a response whose end is marked only by
/// the end of the connection (no Content-Length, not chunked), the relay therefore confirms how the worker ended it: each stream
/// begins with an eight-byte identifier under which the relay reports the outcome to the appliance. A response counts as
/// truncated if the TCP or Unix socket reported an error, if the process or VM was being killed, or if weir-agent saw its server
/// reset the connection (`ended PORT`). The end of the response is held back until the outcome is known, for at most 5 s, which
/// happens for instance if the supervisor was killed (`weir_links_unconfirmed_total`). Then the client's response is aborted too.
/// A reset of a single stream by a VM without weir-agent cannot be told from an orderly close; use `[pool.tls]` or a
/// Content-Length there.
///
/// **Supervisor.** Over the control connection (vsock port 9999, `model::control`) the appliance reports requests that no worker
/// can take, and the supervisor reports which workers have started, are stopping, and are gone. An appliance that never had a
/// supervisor uses workers with a `vsock:` address and judges them by their responses. One that has lost its supervisor keeps
/// requests queued until a supervisor connects and reports all workers again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["name", "worker"]))]
pub(crate) struct Pool {
    /// Name of the pool, unique among pools.
    #[schemars(with = "Name")]
    pub(crate) name: Spanned<String>,
    /// Maximum number of queued requests; more get 503 (`QueueFull`).
    #[schemars(with = "Option<i64>", transform = QUEUE_LENGTH.show(), extend("default" = 1000))]
    pub(crate) queue_length: Option<Spanned<i64>>,
    /// How long a request may be queued.
    #[schemars(with = "Option<i64>", transform = QUEUE_SECONDS.show(), extend("default" = 120))]
    pub(crate) queue_timeout: Option<Spanned<i64>>,
    /// How long a worker may be silent while it has a request. Then the request gets 504, unless it may be replayed to another
    /// worker.
    #[schemars(with = "Option<i64>", transform = QUEUE_SECONDS.show(), extend("default" = 90))]
    pub(crate) response_timeout: Option<Spanned<i64>>,
    /// How much detail a 503 response contains.
    #[schemars(with = "Option<String>", extend("enum" = ["basic", "limited", "full"], "default" = "limited"))]
    pub(crate) verbosity: Option<Spanned<String>>,
    /// Concurrent requests per worker. When all workers are at this limit, another one is started.
    #[schemars(with = "Option<i64>", transform = PER_WORKER.show(), extend("default" = 64))]
    pub(crate) requests_per_worker: Option<Spanned<i64>>,
    /// Maximum size of a response head; a longer one is 502.
    #[schemars(with = "Option<i64>", transform = RESPONSE_HEAD.show(), extend("default" = 65_536))]
    pub(crate) response_head_bytes: Option<Spanned<i64>>,
    /// Maximum number of response fields; more are 502.
    #[schemars(with = "Option<i64>", transform = RESPONSE_FIELDS.show(), extend("default" = 256))]
    pub(crate) response_fields: Option<Spanned<i64>>,
    /// Workers that are always kept running; others are started when requests are queued.
    #[schemars(with = "Option<i64>", transform = WORKERS.show(), extend("default" = 0))]
    pub(crate) min_workers: Option<Spanned<i64>>,
    /// Maximum number of running workers; at least 1, and at least `min_workers`.
    #[schemars(with = "Option<i64>", transform = WORKERS.show(), extend("x-default" = "all in the list of workers"))]
    pub(crate) max_workers: Option<Spanned<i64>>,
    /// How long a worker may take to start; one that is not ready by then has failed.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 90))]
    pub(crate) start_limit: Option<Spanned<i64>>,
    /// How long a worker that is being stopped may take to finish its requests and exit. A process gets SIGTERM, weir-agent
    /// `stop`.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 90))]
    pub(crate) stop_limit: Option<Spanned<i64>>,
    /// How long a worker may go without a request before it is stopped; 0: never stopped.
    #[schemars(with = "Option<i64>", transform = SECONDS_OR_NEVER.show(), extend("default" = 1200))]
    pub(crate) idle_stop: Option<Spanned<i64>>,
    /// Health checks.
    pub(crate) ping: Option<Ping>,
    /// When failures take the pool out of service.
    pub(crate) rapid_fail: Option<RapidFail>,
    /// When a worker is replaced.
    pub(crate) recycle: Option<Recycle>,
    /// Command to run on a worker that fails its health checks, instead of killing it; `{pid}` is its process ID.
    #[schemars(with = "Option<Vec<String>>", extend("x-default" = "the worker is killed"))]
    pub(crate) orphan: Option<Spanned<Vec<String>>>,
    /// TLS on links to the workers.
    pub(crate) tls: Option<PoolTls>,
    /// The workers, at least one. Error: `pool without worker, expected at least one [[pool.worker]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Worker>", length(min = 1))]
    pub(crate) worker: Vec<Spanned<Worker>>,
}

/// Health checks of workers.
///
/// ```toml
/// [pool.ping]
/// interval = 30
/// limit = 90
/// path = "/health"
/// expect = [200, "300-399"]
/// ```
///
/// How a worker is checked depends on its kind:
///
/// | worker | check |
/// |---|---|
/// | process, or server at an address | an HTTP request: `GET /`, or `path`. Connecting is not enough, because the kernel accepts connections even for a stopped process |
/// | the same with `[pool.tls]` | any reaction to a connection; `path` is not available |
/// | VM with weir-agent | weir-agent checks its server; with `path`, an HTTP request as well |
/// | other VM | whether it accepts streams; with `path`, an HTTP request |
///
/// While a ping is outstanding, any data from the worker counts as a sign of life, so a single-threaded server that is busy with
/// a long download is not killed. An unexpected response to a ping is a failure regardless.
///
/// With `path`, a new worker gets its first request once it returns the expected response. A worker that `weir` started is killed
/// and replaced after `limit`. A server at an address is *down* as soon as connections to it fail, or after `limit` without the
/// expected response. While it is down it gets no requests (they stay queued) and is checked twice a second. All of this is
/// reported on standard error and in `weir ctl status`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ping {
    /// Interval between two pings.
    #[schemars(
        with = "Option<i64>",
        transform = SECONDS.show(),
        extend("default" = 30, "x-default" = "30, at most a third of `limit`")
    )]
    pub(crate) interval: Option<Spanned<i64>>,
    /// How long a worker may go without responding to a ping before it has failed; must exceed `interval`.
    #[schemars(
        with = "Option<i64>",
        transform = SECONDS.show(),
        extend("default" = 90, "x-default" = "90, at least three times `interval`")
    )]
    pub(crate) limit: Option<Spanned<i64>>,
    /// Path and query of the health check request. Error: `path in a pool with tls, expected none: pings are plain HTTP`.
    #[schemars(
        with = "Option<String>",
        regex(pattern = "^/[!-~]{0,1023}$"),
        extend("x-default" = "`/`, where any response counts as healthy")
    )]
    pub(crate) path: Option<Spanned<String>>,
    /// Host of the health check request. Error: `host without path, expected both`.
    #[schemars(with = "Option<String>", regex(pattern = "^[!-~]{1,1024}$"), extend("default" = "localhost"))]
    pub(crate) host: Option<Spanned<String>>,
    /// Status codes of a healthy worker: 200, `"200-299"`, or a list of both, from 100 to 999. Error: `expect without path,
    /// expected both`.
    #[schemars(with = "Option<Expect>", extend("default" = "200-399"))]
    pub(crate) expect: Option<Spanned<toml::Value>>,
}

/// When failures take a pool out of service: 503 `AppOffline`.
///
/// After consecutive failures the next start is delayed: 50 ms, 200 ms, 800 ms, 3.2 s, 10 s. For a pool that is out of service,
/// `weir ctl status` shows why, when it will be retried, and how to bring it back sooner. During a retry a single failure takes
/// it out of service again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RapidFail {
    /// Number of failures within `interval`; 0: never.
    #[schemars(with = "Option<i64>", transform = FAILURES.show(), extend("default" = 5))]
    pub(crate) failures: Option<Spanned<i64>>,
    /// Period over which failures are counted.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 300))]
    pub(crate) interval: Option<Spanned<i64>>,
    /// Retry the pool automatically after 10 s, 20 s, 40 s … 10 min. If false, only `weir ctl pool NAME start` brings it back.
    #[schemars(extend("default" = true))]
    pub(crate) recover: Option<bool>,
}

/// When a worker is replaced. The old worker stops only once its successor is ready.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recycle {
    /// Age of the worker; 0: never. The default is 29 hours.
    #[schemars(with = "Option<i64>", transform = SECONDS_OR_NEVER.show(), extend("default" = 104_400))]
    pub(crate) age: Option<Spanned<i64>>,
    /// Number of requests it has served.
    #[schemars(with = "Option<i64>", transform = RECYCLE_REQUESTS.show(), extend("x-default" = "no limit"))]
    pub(crate) requests: Option<Spanned<i64>>,
    /// Host memory it uses.
    #[schemars(with = "Option<Size>", extend("x-default" = "no limit"))]
    pub(crate) memory: Option<Spanned<String>>,
}
