//! Conditional requests (RFC 9110 §13).

use super::request::Present;
use super::{RequestHead, fields};
use model::date;

/// Outcome of the preconditions of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as usual.
    Proceed,
    /// 304 (Not Modified).
    NotModified,
    /// 412 (Precondition Failed).
    Failed,
}

/// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since of a GET or HEAD in the order
/// of RFC 9110 §13.2.2. `etag` includes the quotes; times are in seconds since 1970-01-01 UTC. A date that is
/// invalid or repeated is ignored.
pub fn evaluate(head: &RequestHead<'_>, etag: &[u8], last_modified: u64, now: u64) -> Precondition {
    if !head.present.any(Present::PRECONDITION) {
        return Precondition::Proceed;
    }
    let fields = head.fields;
    let date = |name| fields.get_only(name).and_then(|value| date::parse(value, now));
    if fields.get("if-match").is_some() {
        if !fields.elements("if-match").any(|tag| tag == b"*" || strong_match(tag, etag)) {
            return Precondition::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|since| last_modified > since) {
        return Precondition::Failed;
    }
    if fields.get("if-none-match").is_some() {
        if fields.elements("if-none-match").any(|tag| tag == b"*" || weak_match(tag, etag)) {
            return Precondition::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|since| last_modified <= since) {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// Whether a Range may be answered with a part (RFC 9110 §13.1.5): If-Range is absent, or names exactly this
/// representation.
pub fn range_applies(head: &RequestHead<'_>, etag: &[u8], last_modified: u64, now: u64) -> bool {
    if head.fields.get("if-range").is_none() {
        return true;
    }
    let Some(value) = head.fields.get_only("if-range") else { return false };
    let value = fields::trim(value);
    if value.ends_with(b"\"") {
        return strong_match(value, etag);
    }
    date::parse(value, now) == Some(last_modified)
}

/// Strong comparison (RFC 9110 §8.8.3.2).
fn strong_match(a: &[u8], b: &[u8]) -> bool {
    a == b && a.starts_with(b"\"")
}

/// Weak comparison (RFC 9110 §8.8.3.2).
fn weak_match(a: &[u8], b: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    opaque(a) == opaque(b)
}
