//! Conditional requests (RFC 9110 §13).

use super::RequestHead;

/// What the preconditions of a GET or HEAD say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as usual.
    Proceed,
    /// 304 (Not Modified).
    NotModified,
    /// 412 (Precondition Failed).
    Failed,
}

/// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order of RFC 9110 §13.2.2.
/// `etag` with quotes; times in seconds since 1970-01-01 UTC.
pub fn evaluate(head: &RequestHead<'_>, etag: &[u8], last_modified: u64, now: u64) -> Precondition {
    let _ = (head, etag, last_modified, now);
    todo!()
}
