//! Bounds on a request head, by HTTP.sys's names. Every size is a `usize`: sixteen bits were not enough for HTTP.sys
//! (CVE-2026-47291).

use super::Refusal;
use model::reason::Reason;

/// Bounds on a request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// MaxRequestBytes: request line and all fields, up to and with the empty line. No head longer than this is
    /// ever [`Partial`](crate::http::h1::request::Parsed::Partial): a buffer of this size always suffices.
    pub max_request_bytes: usize,
    /// MaxFieldLength: one field line, name to value.
    pub max_field_length: usize,
    /// Number of fields, at most [`RequestLimits::MAX_FIELDS`].
    pub max_fields: usize,
    /// Length of the request target.
    pub max_url_length: usize,
    /// UrlSegmentMaxLength: characters of one path segment once it is decoded (`characters`).
    pub url_segment_max_length: usize,
    /// UrlSegmentMaxCount: number of path segments.
    pub url_segment_max_count: usize,
    /// Answer an oversized head with 400 as HTTP.sys does, not with 431 (RFC 6585 §5).
    pub oversized_head_is_400: bool,
    /// Accept in the query what RFC 3986 does not (a `%` that begins no escape, quotes, angle brackets).
    pub lenient_query: bool,
    /// Accept TRACE; without, it is 501.
    pub trace: bool,
}

impl RequestLimits {
    /// The most fields any profile allows.
    pub const MAX_FIELDS: usize = 100;

    /// Our own, stricter than HTTP.sys.
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

    /// `compat = "http.sys"`: its documented defaults.
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
    /// Limits that let everything pass that either lets pass. The answer to what both refuse is the first's.
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

    /// The segments of a path in its final form are few and short enough.
    #[inline]
    pub(super) fn fit_segments(&self, path: &str) -> bool {
        // Neither are there more of them than bytes, nor is one longer than all.
        let len = path.len();
        len <= self.url_segment_max_count && len <= self.url_segment_max_length || self.count_segments(path)
    }

    fn count_segments(&self, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        segments.clone().count() <= self.url_segment_max_count
            && segments.all(|segment| characters(segment.as_bytes()) <= self.url_segment_max_length)
    }

    /// The answer to a head or field that is too long.
    pub(crate) fn oversized(&self, reason: Reason) -> Refusal {
        Refusal::new(if self.oversized_head_is_400 { 400 } else { 431 }, reason)
    }
}

/// Characters of a decoded path segment as HTTP.sys counts them: units of UTF-16. An encoded slash, which is kept as `%2F`, is
/// one.
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
