//! `[server.bandwidth]`, `[site.bandwidth]`, `[server.limits]` and `[site.limits]`.

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
    /// Maximum rate of all responses together.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) ceil: Option<Spanned<String>>,
    /// Maximum rate of all request content together.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) upload_ceil: Option<Spanned<String>>,
}

/// Bandwidth of one site.
///
/// The clients of a site share its bandwidth equally, and the connections of one client take turns. Responses of up to two TCP
/// segments are sent ahead of larger ones.
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
    /// Guaranteed rate while the server's `ceil` is exhausted. The rates of all sites together must not exceed that `ceil`.
    #[schemars(with = "Option<Rate>", extend("x-default" = "nothing is guaranteed"))]
    pub(crate) rate: Option<Spanned<String>>,
    /// Maximum rate of the site's responses.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) ceil: Option<Spanned<String>>,
    /// How much may be sent at once after a pause.
    #[schemars(with = "Option<Size>", extend("x-default" = "50 ms of the rate"))]
    pub(crate) burst: Option<Spanned<String>>,
    /// The site's share of bandwidth that is not guaranteed to others, relative to other sites.
    #[schemars(with = "Option<i64>", transform = WEIGHT.show(), extend("default" = 1))]
    pub(crate) weight: Option<Spanned<i64>>,
    /// Maximum rate of responses to one client address, however many connections it opens.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) client_ceil: Option<Spanned<String>>,
    /// Maximum rate of request content.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) upload_ceil: Option<Spanned<String>>,
    /// Maximum rate of request content from one client address.
    #[schemars(with = "Option<Rate>", extend("x-default" = "no bound"))]
    pub(crate) client_upload_ceil: Option<Spanned<String>>,
}

/// Limits on connections, requests and slow clients, for all sites together or for one site. Both levels apply.
///
/// ```toml
/// [server.limits]
/// client_connections = 100
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Concurrent connections; further ones get 503 (`ConnLimit`).
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "no limit"))]
    pub(crate) connections: Option<Spanned<i64>>,
    /// Concurrent connections of one client address; in `[server.limits]`, over all sites.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "no limit"))]
    pub(crate) client_connections: Option<Spanned<i64>>,
    /// Request rate; further requests get 429 with Retry-After.
    #[schemars(with = "Option<Requests>", extend("x-default" = "no limit"))]
    pub(crate) requests: Option<Spanned<String>>,
    /// How many requests may arrive at once. Error: `requests_burst without requests, expected both or neither`.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "one second's worth"))]
    pub(crate) requests_burst: Option<Spanned<i64>>,
    /// Request rate of one client address; further requests get 429 with Retry-After.
    #[schemars(with = "Option<Requests>", extend("x-default" = "no limit"))]
    pub(crate) client_requests: Option<Spanned<String>>,
    /// How many requests of one client address may arrive at once. Error: `client_requests_burst without client_requests,
    /// expected both or neither`.
    #[schemars(with = "Option<i64>", transform = COUNT.show(), extend("x-default" = "one second's worth"))]
    pub(crate) client_requests_burst: Option<Spanned<i64>>,
    /// Minimum rate at which a client must read a response; slower clients are disconnected. `"0 B/s"` disables the check.
    #[schemars(with = "Option<Rate>", extend("default" = "150 B/s"))]
    pub(crate) min_send_rate: Option<Spanned<String>>,
}
