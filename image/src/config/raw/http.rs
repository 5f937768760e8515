//! `[server.http]` and `[site.http]`.

use super::forms::{Rate, Size};
use crate::config::bounds::{FIELD_LENGTH, REQUEST_BYTES, SEGMENT_COUNT, SEGMENT_LENGTH, TIMER};
use appliance::http::RequestLimits;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// How requests are read: limits and timers by HTTP.sys's names. In `[site.http]` for that site alone.
///
/// A connection's first head is read by the server's limits and timers, as in HTTP.sys; what comes after it by those of the site
/// that the last request was for. A longer head than the server's is read if a site allows it.
///
/// A pool's `response_timeout` counts until an answer's head, and between two pieces of an answer whose length was said. A
/// WebSocket that has been silent for `tunnel_idle` is ended with a close frame (1001) to both sides, where they are between two
/// frames; other protocols with an orderly end. A stream that has been silent for `stream_idle` is reset, with `Timer_Response`
/// in the error log, since an orderly end would look like the answer's. No WebSocket pings are sent: a client from which nothing
/// came for 30 s meanwhile is asked by TCP keep-alive, every 15 s, and is taken for gone when it has not answered for 90 s.
///
/// CONNECT is 501 and has no switch: it asks for a tunnel to a host of the client's choice, which is a forward proxy's business;
/// who stands in front of known servers has none to offer. TRACE and OPTIONS are passed on `Max-Forwards` times at most; with 0
/// they are answered here (TRACE without Cookie and Authorization).
///
/// `compat = "http.sys"` takes over its documented defaults of limits and timers, 100 fields, its 400 for oversized heads and its
/// leniency towards what is in a query. What else HTTP.sys lets pass, by default or by a registry value, is deliberately not
/// offered, because somebody behind it may read it differently:
///
/// | HTTP.sys | here |
/// |---|---|
/// | `AllowRestrictedChars`, `AllowUnEscapedRestrictedChars` (off there) | control characters in URLs, escaped or not, are 400 `URL` |
/// | `AllowWeakHeaderNameSyntax`, `AllowWeakHeaderValueSyntax` (off there) | names are tokens, values have no control characters: 400 `Header` |
/// | `AllowCaseInsensitiveVerbs` (off there) | `get` is 400 `Verb`; so is what does not begin with a letter or has other marks than `-`, `.` and `_` |
/// | `EnableNonUTF8`, `FavorUTF8` (on there) | paths are UTF-8 in its shortest form, else 400 `URL`; there is no code page to guess |
/// | `PercentUAllowed` (on there) | `%u0041` is 400 `URL` |
/// | bare LF, white space before the first field | 400 `Invalid_CR/LF`, 400 `Header` |
/// | `UrlSegmentMaxLength`, `UrlSegmentMaxCount` 0 for "no limit" | 1 is the least |
/// | EntityBody starts anew with every byte | so it does in this profile; the strict one has a floor rate as well |
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Where values come from that are not said: our own stricter ones, or HTTP.sys's documented defaults.
    #[schemars(with = "Option<String>", extend("enum" = ["strict", "http.sys"], "default" = "strict"))]
    pub(crate) compat: Option<Spanned<String>>,
    /// Request line and fields.
    #[schemars(with = "Option<i64>", transform = REQUEST_BYTES.show(), extend("default" = RequestLimits::STRICT.max_request_bytes))]
    pub(crate) max_request_bytes: Option<Spanned<i64>>,
    /// One field line, and the URL.
    #[schemars(
        with = "Option<i64>",
        transform = FIELD_LENGTH.show(),
        extend("default" = RequestLimits::STRICT.max_field_length, "x-http.sys" = RequestLimits::HTTP_SYS.max_field_length)
    )]
    pub(crate) max_field_length: Option<Spanned<i64>>,
    /// One segment of a path, decoded, in characters of UTF-16.
    #[schemars(
        with = "Option<i64>",
        transform = SEGMENT_LENGTH.show(),
        extend(
            "default" = RequestLimits::STRICT.url_segment_max_length,
            "x-http.sys" = RequestLimits::HTTP_SYS.url_segment_max_length
        )
    )]
    pub(crate) url_segment_max_length: Option<Spanned<i64>>,
    /// Segments of a path.
    #[schemars(
        with = "Option<i64>",
        transform = SEGMENT_COUNT.show(),
        extend("default" = RequestLimits::STRICT.url_segment_max_count, "x-http.sys" = RequestLimits::HTTP_SYS.url_segment_max_count)
    )]
    pub(crate) url_segment_max_count: Option<Spanned<i64>>,
    /// Content of a request; more is 413.
    #[schemars(with = "Option<Size>", extend("x-default" = "no limit"))]
    pub(crate) max_content: Option<Spanned<String>>,
    /// From the first byte of a head, or from the TLS handshake, to the head's end.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 30, "x-http.sys" = 120))]
    pub(crate) header_wait: Option<Spanned<i64>>,
    /// Between two requests of a connection.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 120))]
    pub(crate) idle_connection: Option<Spanned<i64>>,
    /// Between two bytes, either way, of a connection that has changed its protocol.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 3600))]
    pub(crate) tunnel_idle: Option<Spanned<i64>>,
    /// Between two pieces of an answer that has begun and whose length was not said: event streams.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 3600))]
    pub(crate) stream_idle: Option<Spanned<i64>>,
    /// Between two pieces of a request's content.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 60, "x-http.sys" = 120))]
    pub(crate) entity_body: Option<Spanned<i64>>,
    /// For discarding content that nobody wants after the response.
    #[schemars(with = "Option<i64>", transform = TIMER.show(), extend("default" = 30, "x-http.sys" = 120))]
    pub(crate) drain_entity_body: Option<Spanned<i64>>,
    /// Content may be waited for as long as `entity_body` and its time at this rate, together; `"0 B/s"`: no such bound.
    #[schemars(with = "Option<Rate>", extend("default" = "240 B/s", "x-http.sys" = "0 B/s"))]
    pub(crate) entity_body_rate: Option<Spanned<String>>,
    /// TRACE is passed on to workers, and a file's is 405. Where it is false, TRACE is 501.
    #[schemars(extend("default" = false))]
    pub(crate) trace: Option<bool>,
}
