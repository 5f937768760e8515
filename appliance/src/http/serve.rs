//! Answers a request from a stored response: 200, 206, 304, 405, 412, 416, 301.

use super::error::{self, Answer};
use super::request::{Framing, Present};
use super::{Field, Method, Overflow, RequestHead, Sink, Version, conditional, range};
use crate::cache::StoredResponse;
use core::fmt::Write as _;
use core::net::IpAddr;
use core::ops::Range;
use model::date::DateCache;
use model::url::Scheme;

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
    let keep_alive = keep_alive && head.keep_alive();
    let len = stored.content().len();
    let content = match head.method {
        Method::Get => 0..len,
        Method::Head => 0..0,
        _ => return method_not_allowed(head, keep_alive, date, out),
    };
    if head.present.any(Present::PRECONDITION | Present::RANGE)
        && let Some(plan) = special(head, stored, keep_alive, date, out)?
    {
        return Ok(plan);
    }
    out.put(stored.head())?;
    finish(head, keep_alive, date, out)?;
    Ok(Plan { status: 200, content, keep_alive })
}

/// What conditions and ranges ask for, if it is not the whole after all.
fn special(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Option<Plan>, Overflow> {
    let (etag, last_modified) = (stored.etag(), stored.last_modified());
    match conditional::evaluate(head, etag, last_modified, date.unix()) {
        conditional::Precondition::Proceed => {}
        conditional::Precondition::NotModified => {
            out.put(b"HTTP/1.1 304 Not Modified\r\n")?;
            out.put(stored.validators())?;
            finish(head, keep_alive, date, out)?;
            return Ok(Some(Plan { status: 304, content: 0..0, keep_alive }));
        }
        conditional::Precondition::Failed => {
            return message(head, 412, b"", keep_alive, date, out).map(Some);
        }
    }
    // RFC 9110 §14.2: Range means something for GET only.
    if head.method != Method::Get || !head.present.any(Present::RANGE) {
        return Ok(None);
    }
    let Some(value) = head.fields.get_only("range") else { return Ok(None) };
    if !conditional::range_applies(head, etag, last_modified, date.unix()) {
        return Ok(None);
    }
    let len = stored.content().len();
    match range::parse(value, len as u64) {
        range::ByteRange::Ignored => Ok(None),
        range::ByteRange::Unsatisfiable => {
            let mut field = [0; 48];
            let mut line = Sink::new(&mut field);
            line.put(b"Content-Range: bytes */")?;
            line.put_decimal(len as u64)?;
            line.put(b"\r\n")?;
            message(head, 416, line.written(), keep_alive, date, out).map(Some)
        }
        range::ByteRange::Satisfiable { first, end } => {
            out.put(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ")?;
            out.put_decimal(first)?;
            out.put(b"-")?;
            out.put_decimal(end - 1)?;
            out.put(b"/")?;
            out.put_decimal(len as u64)?;
            out.put(b"\r\nContent-Length: ")?;
            out.put_decimal(end - first)?;
            out.put(b"\r\n")?;
            out.put(stored.metadata())?;
            finish(head, keep_alive, date, out)?;
            // Both lie within the content, whose length is a usize.
            Ok(Some(Plan { status: 206, content: first as usize..end as usize, keep_alive }))
        }
    }
}

/// Date, Connection and the empty line.
#[inline]
fn finish(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    error::end_head(Some(date), head.version, keep_alive, out)
}

/// Writes a 301 to the same path with a slash at its end. The whole response is in the sink.
pub fn redirect_to_directory(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let keep_alive = keep_alive && head.keep_alive();
    if !matches!(head.method, Method::Get | Method::Head) {
        return method_not_allowed(head, keep_alive, date, out);
    }
    // Two slashes at the start would name another host (RFC 3986 §4.2), and so would a slash and a backslash to some.
    let path = head.raw_path().trim_start_matches('/');
    out.put(b"HTTP/1.1 301 Moved Permanently\r\nLocation: /")?;
    out.put(path.as_bytes())?;
    out.put(b"/")?;
    put_query(head, out)?;
    out.put(b"\r\nContent-Length: 0\r\n")?;
    finish(head, keep_alive, date, out)?;
    Ok(Plan { status: 301, content: 0..0, keep_alive })
}

/// The query as it was asked for, with its question mark.
fn put_query(head: &RequestHead<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let Some(query) = head.query() else { return Ok(()) };
    out.put(b"?")?;
    out.put(query.as_bytes())
}

/// Writes a 308 to the same target over https at `port`. Without Host (HTTP/1.0), `local` stands in for it.
pub fn redirect_to_https(
    head: &RequestHead<'_>,
    port: u16,
    local: IpAddr,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    // Content that came with the request is not read.
    let keep_alive = head.keep_alive() && head.framing == Framing::None;
    out.put(b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://")?;
    match (head.host, local) {
        (b"", IpAddr::V4(address)) => write!(out, "{address}").map_err(|_| Overflow)?,
        (b"", IpAddr::V6(address)) => write!(out, "[{address}]").map_err(|_| Overflow)?,
        (host, _) => out.put(host)?,
    }
    if port != Scheme::Https.default_port() {
        out.put(b":")?;
        out.put_decimal(u64::from(port))?;
    }
    out.put(head.raw_path().as_bytes())?;
    put_query(head, out)?;
    out.put(b"\r\nContent-Length: 0\r\n")?;
    finish(head, keep_alive, date, out)?;
    Ok(Plan { status: 308, content: 0..0, keep_alive })
}

/// Writes a 404 (or 405 if the method is not GET or HEAD) that keeps the connection. The whole response is in the sink.
pub fn not_found(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let keep_alive = keep_alive && head.keep_alive();
    if !matches!(head.method, Method::Get | Method::Head) {
        return method_not_allowed(head, keep_alive, date, out);
    }
    message(head, 404, b"", keep_alive, date, out)
}

/// Writes the answer to `OPTIONS *` (RFC 9110 §9.3.7).
pub fn options_asterisk(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let keep_alive = keep_alive && head.keep_alive();
    out.put(b"HTTP/1.1 204 No Content\r\n")?;
    finish(head, keep_alive, date, out)?;
    Ok(Plan { status: 204, content: 0..0, keep_alive })
}

/// Writes the answer to an OPTIONS or TRACE that is not to go any further: what may be asked of us, or what came
/// (RFC 9110 §9.3.8), without what is secret. The whole response is in the sink.
pub fn last_recipient(
    head: &RequestHead<'_>,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let keep_alive = head.keep_alive() && head.framing == Framing::None;
    if head.method != Method::Trace {
        out.put(b"HTTP/1.1 204 No Content\r\n")?;
        finish(head, keep_alive, date, out)?;
        return Ok(Plan { status: 204, content: 0..0, keep_alive });
    }
    let is_secret = |field: &Field<'_>| {
        ["authorization", "proxy-authorization", "cookie"].iter().any(|name| field.is(name))
    };
    let shown = || head.fields.into_iter().filter(|field| !is_secret(field));
    let fields: usize = shown().map(|field| field.name.len() + field.value.len() + 4).sum();
    // The method, two blanks, the version and two line ends.
    let len = b"TRACE  HTTP/1.1\r\n\r\n".len() + head.target.len() + fields;
    out.put(b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: ")?;
    out.put_decimal(len as u64)?;
    out.put(b"\r\n")?;
    finish(head, keep_alive, date, out)?;
    out.put(b"TRACE ")?;
    out.put(head.target.as_bytes())?;
    out.put(if head.version == Version::Http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" })?;
    for field in shown() {
        for part in [field.name, b": ", field.value, b"\r\n"] {
            out.put(part)?;
        }
    }
    out.put(b"\r\n")?;
    Ok(Plan { status: 200, content: 0..0, keep_alive })
}

fn method_not_allowed(
    head: &RequestHead<'_>,
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    message(head, 405, b"Allow: GET, HEAD\r\n", keep_alive, date, out)
}

/// A response with its reason phrase as content that, unlike a refusal, keeps the connection.
fn message(
    head: &RequestHead<'_>,
    status: u16,
    fields: &[u8],
    keep_alive: bool,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Plan, Overflow> {
    let to_head = head.method == Method::Head;
    Answer { status, fields, site_fields: b"", detail: "", to_head, version: head.version, keep_alive }
        .write(date, out)?;
    Ok(Plan { status, content: 0..0, keep_alive })
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
