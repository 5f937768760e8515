//! Answers a request from a stored response: 200, 206, 304, 405, 412, 416, 301.

use super::{Overflow, RequestHead, Sink};
use crate::cache::StoredResponse;
use crate::date::DateCache;
use core::ops::Range;

/// What to send: the head is in the sink, then this part of the stored content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Status code.
    pub status: u16,
    /// Part of [`StoredResponse::content`] to send; empty for HEAD, 304 and errors.
    pub content: Range<usize>,
    /// The connection may live on after the response (if the request's content was read or drained).
    pub keep_alive: bool,
}

/// Writes the response head for a file that was found. `keep_alive`: what the server wants; the request is asked too.
pub fn plan(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let _ = (head, stored, keep_alive, date, out);
    todo!()
}

/// Writes a 301 to the same path with a slash at its end. The whole response is in the sink.
pub fn redirect_to_directory(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let _ = (head, keep_alive, date, out);
    todo!()
}

/// Writes a 404 (or 405 if the method is not GET or HEAD) that keeps the connection. The whole response is in the sink.
pub fn not_found(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let _ = (head, keep_alive, date, out);
    todo!()
}
