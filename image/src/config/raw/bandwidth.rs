//! `[server.bandwidth]`, `[site.bandwidth]`, and the `limits` of both.

use super::forms::{Rate, Requests, Size};
use crate::config::bounds::{COUNT, WEIGHT};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// Bandwidth of all sites together.
///
/// ```toml
/// [server.bandwidth]
/// ceil = "100 Mbit/s"
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerBandwidth {
    /// The most of all responses together.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) ceil: Option<Spanned<String>>,
    /// The most of all content of requests together.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) upload_ceil: Option<Spanned<String>>,
}

/// Bandwidth of a site.
///
/// The clients of a site share equally, a client's connections take turns, and responses of up to two segments go ahead of bulk.
///
/// ```toml
/// [site.bandwidth]
/// rate = "2 MB/s"
/// ceil = "8 MB/s"
/// burst = "256 KiB"
/// weight = 3
/// client_ceil = "1 MiB/s"
/// upload_ceil = "512 KiB/s"
/// ```
///
/// The demo's site `slow.test` has `ceil = "512 KiB/s"`:
///
/// ```sh
/// curl --resolve slow.test:8080:127.0.0.1 -o /dev/null http://slow.test:8080/8m.bin    # 8 MiB: 16 s
/// curl --resolve slow.test:8080:127.0.0.1 -o /dev/null http://slow.test:8080/1m.bin    # 2 s; meanwhile both take half
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteBandwidth {
    /// What is guaranteed while the server's `ceil` is short; all sites' rates together are at most that.
    #[schemars(with = "Option<Rate>", extend("x-default" = "nothing is guaranteed"))]
    pub(crate) rate: Option<Spanned<String>>,
    /// The most that the site's responses ever get.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) ceil: Option<Spanned<String>>,
    /// What may be sent at once after a pause.
    #[schemars(with = "Option<Size>", extend("x-default" = "50 ms of the rate"))]
    pub(crate) burst: Option<Spanned<String>>,
    /// The site's share of what is left.
    #[schemars(with = "Option<i64>", transform = WEIGHT.show(), extend("default" = 1))]
    pub(crate) weight: Option<Spanned<i64>>,
    /// The most of one client address, however many connections it opens.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) client_ceil: Option<Spanned<String>>,
    /// The most of content of requests.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) upload_ceil: Option<Spanned<String>>,
    /// The most of content of requests of one client address.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) client_upload_ceil: Option<Spanned<String>>,
}

/// Limits on connections, requests and slow clients: of all sites together, or of one site. Each holds by itself.
///
/// ```toml
/// [server.limits]
/// client_connections = 100
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections at a time; above: 503, `ConnLimit`.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "no limit"))]
    pub(crate) connections: Option<Spanned<i64>>,
    /// Connections of one client address at a time; in `[server.limits]` over all sites.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "no limit"))]
    pub(crate) client_connections: Option<Spanned<i64>>,
    /// Requests; above: 429 with Retry-After.
    #[schemars(with = "Option<Requests>", extend("x-default" = "no limit"))]
    pub(crate) requests: Option<Spanned<String>>,
    /// Requests that may come at once. Error: `requests_burst without requests, expected both or neither`.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "those of one second"))]
    pub(crate) requests_burst: Option<Spanned<i64>>,
    /// Requests of one client address; above: 429 with Retry-After.
    #[schemars(with = "Option<Requests>", extend("x-default" = "no limit"))]
    pub(crate) client_requests: Option<Spanned<String>>,
    /// Requests of one client address that may come at once. Error: `client_requests_burst without client_requests, expected
    /// both or neither`.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "those of one second"))]
    pub(crate) client_requests_burst: Option<Spanned<i64>>,
    /// A client that drains a response more slowly is disconnected; `"0 B/s"` is off.
    #[schemars(with = "Option<Rate>", extend("default" = "150 B/s"))]
    pub(crate) min_send_rate: Option<Spanned<String>>,
}
