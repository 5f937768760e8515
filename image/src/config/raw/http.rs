//! `[server.http]` and `[site.http]`.

use super::forms::{Rate, Size};
use crate::config::bounds::{FIELD_LENGTH, REQUEST_BYTES, SEGMENT_COUNT, SEGMENT_LENGTH, TIMER};
use appliance::http::RequestLimits;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// How requests are parsed: limits and timers, named as in HTTP.sys. `[site.http]` overrides `[server.http]` for one site.
///
/// The first request head of a connection is read with the server's limits and timers, as in HTTP.sys; later heads with those of
/// the site of the previous request. A head longer than the server's limit is accepted if a site allows it.
///
/// **Idle streams and tunnels.** A pool's `response_timeout` applies until the response head arrives, and between two pieces of a
/// response whose length is known. A WebSocket that has been silent for `tunnel_idle` is closed with a close frame (1001) to both
/// sides, if both are between two frames; other protocols are closed with FIN. A response stream that has been silent for
/// `stream_idle` is reset, with `Timer_Response` in the error log, because FIN would look like the end of the response. Weir
/// sends no WebSocket pings. A client that has sent nothing for 30 s is probed with TCP keep-alive every 15 s, and is considered
/// gone after 90 s without a reply.
///
/// **Methods.** CONNECT always gets 501: it asks for a tunnel to a host of the client's choice, which is the job of a forward
/// proxy. TRACE and OPTIONS are forwarded as often as `Max-Forwards` permits; with 0, Weir responds itself (to TRACE without
/// Cookie and Authorization).
///
/// **Compatibility.** `compat = "http.sys"` adopts HTTP.sys's documented defaults for limits and timers, its limit of 100 fields,
/// its status 400 for oversized heads, and its leniency about query strings. Other leniencies of HTTP.sys, default or by registry
/// value, are deliberately not available, because a server behind Weir may interpret such requests differently:
///
/// | HTTP.sys | Weir |
/// |---|---|
/// | `AllowRestrictedChars`, `AllowUnEscapedRestrictedChars` (off by default) | control characters in URLs, escaped or not, are 400 `URL` |
/// | `AllowWeakHeaderNameSyntax`, `AllowWeakHeaderValueSyntax` (off by default) | field names are tokens and values have no control characters: otherwise 400 `Header` |
/// | `AllowCaseInsensitiveVerbs` (off by default) | `get` is 400 `Verb`; so is a method that does not begin with a letter or has punctuation other than `-`, `.` and `_` |
/// | `EnableNonUTF8`, `FavorUTF8` (on by default) | paths are shortest-form UTF-8, otherwise 400 `URL`; no code page is guessed |
/// | `PercentUAllowed` (on by default) | `%u0041` is 400 `URL` |
/// | bare LF, white space before the first field | 400 `Invalid_CR/LF`, 400 `Header` |
/// | `UrlSegmentMaxLength`, `UrlSegmentMaxCount` 0 for "no limit" | the minimum is 1 |
/// | EntityBody timer restarts with every byte | the same with `compat = "http.sys"`; otherwise `entity_body_rate` applies as well |
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Source of the defaults: Weir's own, stricter ones, or those documented for HTTP.sys.
    #[schemars(with = "Option<String>", extend("enum" = ["strict", "http.sys"], "default" = "strict"))]
    pub(crate) compat: Option<Spanned<String>>,
    /// Maximum size of request line and fields together.
    #[schemars(with = "Option<i64>", transform = REQUEST_BYTES.show(), extend("default" = RequestLimits::STRICT.max_request_bytes))]
    pub(crate) max_request_bytes: Option<Spanned<i64>>,
    /// Maximum size of one field line, and of the URL.
    #[schemars(
        with = "Option<i64>",
        transform = FIELD_LENGTH.show(),
        extend("default" = RequestLimits::STRICT.max_field_length, "x-http.sys" = RequestLimits::HTTP_SYS.max_field_length)
    )]
    pub(crate) max_field_length: Option<Spanned<i64>>,
    /// Maximum length of one path segment, decoded, in UTF-16 code units.
    #[schemars(
        with = "Option<i64>",
        transform = SEGMENT_LENGTH.show(),
        extend(
            "default" = RequestLimits::STRICT.url_segment_max_length,
            "x-http.sys" = RequestLimits::HTTP_SYS.url_segment_max_length
        )
    )]
    pub(crate) url_segment_max_length: Option<Spanned<i64>>,
    /// Maximum number of path segments.
    #[schemars(
        with = "Option<i64>",
        transform = SEGMENT_COUNT.show(),
        extend("default" = RequestLimits::STRICT.url_segment_max_count, "x-http.sys" = RequestLimits::HTTP_SYS.url_segment_max_count)
    )]
    pub(crate) url_segment_max_count: Option<Spanned<i64>>,
    /// Maximum size of request content; more is 413.
    #[schemars(with = "Option<Size>", extend("x-default" = "no limit"))]
    pub(crate) max_content: Option<Spanned<String>>,
    /// Time limit for a request head, from its first byte, or from the TLS handshake.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 30, "x-http.sys" = 120))]
    pub(crate) header_wait: Option<Spanned<i64>>,
    /// Time limit between two requests on a connection.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 120))]
    pub(crate) idle_connection: Option<Spanned<i64>>,
    /// Time limit between two bytes, in either direction, on a connection that has switched protocols.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 3600))]
    pub(crate) tunnel_idle: Option<Spanned<i64>>,
    /// Time limit between two pieces of a response of unknown length, such as an event stream.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 3600))]
    pub(crate) stream_idle: Option<Spanned<i64>>,
    /// Time limit between two pieces of request content.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 60, "x-http.sys" = 120))]
    pub(crate) entity_body: Option<Spanned<i64>>,
    /// Time limit for discarding request content that is still arriving after the response.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 30, "x-http.sys" = 120))]
    pub(crate) drain_entity_body: Option<Spanned<i64>>,
    /// Minimum average rate of request content: all of it must arrive within `entity_body` plus its size divided by this rate.
    /// `"0 B/s"` disables the check.
    #[schemars(with = "Option<Rate>", extend("default" = "240 B/s", "x-http.sys" = "0 B/s"))]
    pub(crate) entity_body_rate: Option<Spanned<String>>,
    /// Forward TRACE to workers, and answer TRACE for a file with 405. If false, TRACE is 501.
    #[schemars(extend("default" = false))]
    pub(crate) trace: Option<bool>,
}
