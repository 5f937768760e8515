//! Limits on a request head, with HTTP.sys's names. All sizes are `usize`: sixteen bits were not enough for
//! HTTP.sys (CVE-2026-47291).

use super::Refusal;
use model::reason::Reason;

/// Limits on a request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// MaxRequestBytes: request line and all fields, including the final empty line. A buffer of this size
    /// always suffices: no longer head is ever [`Partial`](crate::http::h1::request::Parsed::Partial).
    pub max_request_bytes: usize,
    /// MaxFieldLength: length of one field line, name through value.
    pub max_field_length: usize,
    /// Number of fields, at most [`RequestLimits::MAX_FIELDS`].
    pub max_fields: usize,
    /// Length of the request target.
    pub max_url_length: usize,
    /// UrlSegmentMaxLength: length of one decoded path segment in characters, see `characters`.
    pub url_segment_max_length: usize,
    /// UrlSegmentMaxCount: number of path segments.
    pub url_segment_max_count: usize,
    /// Answer an oversized head with 400 like HTTP.sys, not with 431 (RFC 6585 §5).
    pub oversized_head_is_400: bool,
    /// Accept characters in the query that RFC 3986 forbids (a bare `%`, quotes, angle brackets).
    pub lenient_query: bool,
    /// Accept TRACE; otherwise it is answered with 501.
    pub trace: bool,
}

impl RequestLimits {
    /// The most fields that any profile allows.
    pub const MAX_FIELDS: usize = 100;

    /// Weir's defaults, stricter than HTTP.sys.
    pub const STRICT: Self = Self {
        max_request_bytes: 16 * 1024,
        max_field_length: 8 * 1024,
        max_fields: 64,
        max_url_length: 8 * 1024,
        url_segment_max_length: 255,
        url_segment_max_count: 64,
        oversized_head_is_400: false,
        lenient_query: false,
        trace: false,
    };

    /// HTTP.sys's documented defaults, for `compat = "http.sys"`.
    pub const HTTP_SYS: Self = Self {
        max_request_bytes: 16 * 1024,
        max_field_length: 16 * 1024,
        max_fields: Self::MAX_FIELDS,
        max_url_length: 16 * 1024,
        url_segment_max_length: 260,
        url_segment_max_count: 255,
        oversized_head_is_400: true,
        lenient_query: true,
        trace: false,
    };
}

impl RequestLimits {
    /// Limits that accept whatever either accepts. How oversized heads are answered is taken from `self`.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            max_request_bytes: self.max_request_bytes.max(other.max_request_bytes),
            max_field_length: self.max_field_length.max(other.max_field_length),
            max_fields: self.max_fields.max(other.max_fields),
            max_url_length: self.max_url_length.max(other.max_url_length),
            url_segment_max_length: self.url_segment_max_length.max(other.url_segment_max_length),
            url_segment_max_count: self.url_segment_max_count.max(other.url_segment_max_count),
            oversized_head_is_400: self.oversized_head_is_400,
            lenient_query: self.lenient_query || other.lenient_query,
            trace: self.trace || other.trace,
        }
    }

    /// Whether the segments of a path in its final form are few and short enough.
    #[inline]
    pub(super) fn fit_segments(&self, path: &str) -> bool {
        // Quick check: neither their number nor their lengths exceed the length of the path.
        let len = path.len();
        len <= self.url_segment_max_count && len <= self.url_segment_max_length || self.count_segments(path)
    }

    fn count_segments(&self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        segments.clone().count() <= self.url_segment_max_count
            && segments.all(|segment| characters(segment.as_bytes()) <= self.url_segment_max_length)
    }

    /// The refusal of a head or field that is too long.
    pub(crate) fn oversized(&self, reason: Reason) -> Refusal {
        Refusal::new(if self.oversized_head_is_400 { 400 } else { 431 }, reason)
    }
}

/// Characters of a decoded path segment as HTTP.sys counts them, in UTF-16 units. An encoded slash, kept as
/// `%2F`, counts as one.
pub(super) fn characters(segment: &[u8]) -> usize {
    let units = |b: u8| match b {
        0x80..=0xbf => 0,
        0xf0.. => 2,
        _ => 1,
    };
    let slashes = segment.windows(3).filter(|window| *window == b"%2F").count();
    segment.iter().map(|&b| units(b)).sum::<usize>() - 2 * slashes
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::STRICT
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
