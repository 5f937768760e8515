//! `[[pool]]`, and how its workers are looked after.

use super::forms::{Expect, Name, Size};
use super::{PoolTls, Worker};
use crate::config::bounds::{
    FAILURES, PER_WORKER, QUEUE_LENGTH, QUEUE_SECONDS, RECYCLE_REQUESTS, RESPONSE_FIELDS, RESPONSE_HEAD,
    SECONDS, SECONDS_OR_NEVER, WORKERS,
};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// An application pool: workers, and the queue of requests for them.
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
/// **What became of requests** is judged apart from pings. Only when three different requests (by client and request line) have
/// failed, five of them in a row or sixteen of the last 32, does the appliance prefer other workers to this one; where no other
/// has room it is asked all the same, and after a pause (50 ms, doubled up to a second) it is given one request again, whatever
/// else it has in hand. So nobody can take a pool from others by asking for what fails. A request whose worker died (it ended by
/// itself, or was ended because it hung) is given to a second one if it may be repeated; when that dies as well, requests for
/// the same method, host and path are answered 502 `Request_Ends_Workers` for a minute, then tried again, and for twice as long
/// each time, at most 10 minutes (128 targets are remembered; `weir_fatal_targets_total`). An answer to such a request clears its
/// name. Workers with a `vsock:` address have nobody who would say that they have died.
///
/// **How an answer ended** whose length only its end tells (no Content-Length, not chunked) is confirmed by the relay, since the
/// vsock daemon makes an orderly end of every reset: each stream begins with a name of eight bytes, under which the relay tells
/// the appliance how the worker ended it. Cut is what a TCP or Unix socket reports as an error, what a process or VM leaves that
/// is being killed, and what weir-agent saw its server cut (its answer to `ended PORT`). The last of such an answer is held back
/// until that is known, for at most 5 s (a supervisor that was killed, say; `weir_links_unconfirmed_total`); then it is cut off
/// for the client, too. A VM without weir-agent that resets a single stream cannot be told from one that ends it: there,
/// `[pool.tls]` or a length helps.
///
/// The appliance tells the supervisor over the control connection (vsock port 9999, `model::control`) when requests wait that no
/// worker can take; the supervisor tells it who has come, is to go, and is gone. An appliance without supervisor serves on: it
/// knows workers with a `vsock:` address itself and judges them by their answers. One whose supervisor has gone holds what waits,
/// and hears of all workers again when a supervisor connects.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["name", "worker"]))]
pub(crate) struct Pool {
    /// The pool's name, which no other pool has.
    #[schemars(with = "Name")]
    pub(crate) name: Spanned<String>,
    /// Requests that wait; more are 503 `QueueFull`.
    #[schemars(with = "Option<i64>", transform = QUEUE_LENGTH.show(), extend("default" = 1000))]
    pub(crate) queue_length: Option<Spanned<i64>>,
    /// How long a request may wait.
    #[schemars(with = "Option<i64>", transform = QUEUE_SECONDS.show(), extend("default" = 120))]
    pub(crate) queue_timeout: Option<Spanned<i64>>,
    /// A worker that is silent for so long with a request in hand has lost it: 504, unless another worker may be asked the same.
    #[schemars(with = "Option<i64>", transform = QUEUE_SECONDS.show(), extend("default" = 90))]
    pub(crate) response_timeout: Option<Spanned<i64>>,
    /// How much a 503 says.
    #[schemars(with = "Option<String>", extend("enum" = ["basic", "limited", "full"], "default" = "limited"))]
    pub(crate) verbosity: Option<Spanned<String>>,
    /// What one worker is given at a time; when all workers have as many, another one is started.
    #[schemars(with = "Option<i64>", transform = PER_WORKER.show(), extend("default" = 64))]
    pub(crate) requests_per_worker: Option<Spanned<i64>>,
    /// The longest head of an answer; a longer one is 502.
    #[schemars(with = "Option<i64>", transform = RESPONSE_HEAD.show(), extend("default" = 65_536))]
    pub(crate) response_head_bytes: Option<Spanned<i64>>,
    /// The most fields of an answer; more are 502.
    #[schemars(with = "Option<i64>", transform = RESPONSE_FIELDS.show(), extend("default" = 256))]
    pub(crate) response_fields: Option<Spanned<i64>>,
    /// Workers that are kept running; the others are started when requests wait.
    #[schemars(with = "Option<i64>", transform = WORKERS.show(), extend("default" = 0))]
    pub(crate) min_workers: Option<Spanned<i64>>,
    /// Workers at a time; at least 1 and `min_workers`.
    #[schemars(with = "Option<i64>", transform = WORKERS.show(), extend("x-default" = "as many as the list of workers has"))]
    pub(crate) max_workers: Option<Spanned<i64>>,
    /// A worker that has not answered by then has failed.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 90))]
    pub(crate) start_limit: Option<Spanned<i64>>,
    /// How long a worker that is to go may finish what it has, and end: SIGTERM to a process, `stop` to weir-agent.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 90))]
    pub(crate) stop_limit: Option<Spanned<i64>>,
    /// A worker that has had no request for so long is stopped; 0: never.
    #[schemars(with = "Option<i64>", transform = SECONDS_OR_NEVER.show(), extend("default" = 1200))]
    pub(crate) idle_stop: Option<Spanned<i64>>,
    /// Whether a worker is well.
    pub(crate) ping: Option<Ping>,
    /// When failures take the pool out of service.
    pub(crate) rapid_fail: Option<RapidFail>,
    /// When a worker is replaced.
    pub(crate) recycle: Option<Recycle>,
    /// A worker that answers no pings is left to this command (`{pid}`: its process) instead of being killed.
    #[schemars(with = "Option<Vec<String>>", extend("x-default" = "it is killed"))]
    pub(crate) orphan: Option<Spanned<Vec<String>>>,
    /// TLS on the links to the workers.
    pub(crate) tls: Option<PoolTls>,
    /// The workers, at least one. Error: `pool without worker, expected at least one [[pool.worker]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Worker>", length(min = 1))]
    pub(crate) worker: Vec<Spanned<Worker>>,
}

/// How it is found out whether a worker is well.
///
/// ```toml
/// [pool.ping]
/// interval = 30
/// limit = 90
/// path = "/health"
/// expect = [200, "300-399"]
/// ```
///
/// A process and a server at an address are asked by HTTP (`GET /`, or what `path` says), because the kernel accepts connections
/// for a process that is stopped, too. Of a process or server with `[pool.tls]` any reaction will do; there is no `path` then.
/// `weir-agent` answers for its server, and with `path` that is asked as well; of another VM, without `path`, it is only seen
/// whether it takes streams. While a ping is not answered yet, what a worker sends counts as a sign of life, so that a server with
/// one thread that is busy with a long download is not ended for it; an answer that is not the expected one is not made up for.
/// With `path`, a worker that was started gets its first request when it gives the expected answer. After `limit` a worker that
/// was started is ended, and replaced. A server at an address that cannot be connected to is *down* at once, one that gives no or
/// a wrong answer after `limit`; it is given nothing while it is down, is looked at twice a second, and its requests wait in the
/// queue. All of it is said on standard error and in `weir ctl status`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ping {
    /// Between two pings.
    #[schemars(
        with = "Option<i64>",
        transform = SECONDS.show(),
        extend("default" = 30, "x-default" = "30, at most a third of `limit`")
    )]
    pub(crate) interval: Option<Spanned<i64>>,
    /// A worker that has answered no ping for so long has failed; more than `interval`.
    #[schemars(
        with = "Option<i64>",
        transform = SECONDS.show(),
        extend("default" = 90, "x-default" = "90, at least three times `interval`")
    )]
    pub(crate) limit: Option<Spanned<i64>>,
    /// The path and query that are asked for by HTTP. Error: `path in a pool with tls, expected none: pings are plain HTTP`.
    #[schemars(
        with = "Option<String>",
        regex(pattern = "^/[!-~]{0,1023}$"),
        extend("x-default" = "`/`, for which any answer will do")
    )]
    pub(crate) path: Option<Spanned<String>>,
    /// The host that is asked for. Error: `host without path, expected both`.
    #[schemars(with = "Option<String>", regex(pattern = "^[!-~]{1,1024}$"), extend("default" = "localhost"))]
    pub(crate) host: Option<Spanned<String>>,
    /// Status codes of a worker that is well: 200, `"200-299"`, or a list of both, from 100 to 999. Error: `expect without path,
    /// expected both`.
    #[schemars(with = "Option<Expect>", extend("default" = "200-399"))]
    pub(crate) expect: Option<Spanned<toml::Value>>,
}

/// When failures take a pool out of service: 503 `AppOffline`.
///
/// Failures in a row make the next start wait: 50 ms, 200 ms, 800 ms, 3.2 s, 10 s. A pool that is out of service says in
/// `weir ctl status` why, when it is tried again, and what brings it back sooner. One failure is enough then to put it out of
/// service again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RapidFail {
    /// So many within `interval`; 0: never.
    #[schemars(with = "Option<i64>", transform = FAILURES.show(), extend("default" = 5))]
    pub(crate) failures: Option<Spanned<i64>>,
    /// The time in which failures are counted.
    #[schemars(with = "Option<i64>", transform = SECONDS.show(), extend("default" = 300))]
    pub(crate) interval: Option<Spanned<i64>>,
    /// The pool is tried again by itself after 10 s, 20 s, 40 s … 10 min. False: only `weir ctl pool NAME start` brings it back.
    #[schemars(extend("default" = true))]
    pub(crate) recover: Option<bool>,
}

/// When a worker is replaced. Its successor answers before it goes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recycle {
    /// After so long, 29 hours if left out; 0: never.
    #[schemars(with = "Option<i64>", transform = SECONDS_OR_NEVER.show(), extend("default" = 104_400))]
    pub(crate) age: Option<Spanned<i64>>,
    /// After so many requests.
    #[schemars(with = "Option<i64>", transform = RECYCLE_REQUESTS.show(), extend("x-default" = "never for that"))]
    pub(crate) requests: Option<Spanned<i64>>,
    /// When it takes so much of the host's memory.
    #[schemars(with = "Option<Size>", extend("x-default" = "never for that"))]
    pub(crate) memory: Option<Spanned<String>>,
}
