//! Answers requests from stored responses (200, 206, 304, 405, 412, 416, 301), and requests whose answer
//! follows from the request alone.

use super::StoredResponse;
use crate::http::error::Text;
use crate::http::request::{Framing, Present};
use crate::http::{
    Content, Decimal, Encode, Field, Method, Overflow, OwnField, Reply, RequestHead, ResponseWriter, Version,
    conditional, range,
};
use core::net::IpAddr;
use core::ops::Range;
use model::url::Scheme;

const NOTHING: Content = Content::Nothing { announced: None };

/// Writes the head for a file. Returns the part of [`StoredResponse::content`] that follows: none for HEAD,
/// 304 and errors.
pub fn file(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<Range<usize>, Overflow> {
    let len = stored.content().len();
    let content = match head.method {
        Method::Get => 0..len,
        Method::Head => 0..0,
        _ => return Text::read_only().write(writer).map(|()| 0..0),
    };
    if head.present.any(Present::PRECONDITION | Present::RANGE)
        && let Some(part) = conditional_or_partial(head, stored, writer)?
    {
        return Ok(part);
    }
    let lines = stored.metadata();
    let reply =
        Reply { prepared: Some(stored.head()), lines, ..Reply::new(200, Content::Length(len as u64)) };
    writer.head(&reply)?;
    Ok(content)
}

/// Handles preconditions and ranges. `None` if the whole file is to be sent.
fn conditional_or_partial(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<Option<Range<usize>>, Overflow> {
    let (etag, last_modified) = (stored.etag(), stored.last_modified());
    match conditional::evaluate(head, etag, last_modified, writer.unix()) {
        conditional::Precondition::Proceed => {}
        conditional::Precondition::NotModified => {
            writer.head(&Reply { lines: stored.validators(), ..Reply::new(304, NOTHING) })?;
            return Ok(Some(0..0));
        }
        conditional::Precondition::Failed => {
            return Text::new(412).write(writer).map(|()| Some(0..0));
        }
    }
    // Range is defined for GET only (RFC 9110 §14.2).
    if head.method != Method::Get || !head.present.any(Present::RANGE) {
        return Ok(None);
    }
    let Some(value) = head.fields.get_only("range") else { return Ok(None) };
    if !conditional::range_applies(head, etag, last_modified, writer.unix()) {
        return Ok(None);
    }
    let len = Decimal::new(stored.content().len() as u64);
    match range::parse(value, stored.content().len() as u64) {
        range::ByteRange::Ignored => Ok(None),
        range::ByteRange::Unsatisfiable => {
            let which = OwnField { name: "Content-Range", value: &[b"bytes */", len.as_bytes()] };
            Text { fields: &[Text::PLAIN, which], ..Text::new(416) }.write(writer).map(|()| Some(0..0))
        }
        range::ByteRange::Satisfiable { first, end } => {
            let (from, to) = (Decimal::new(first), Decimal::new(end - 1));
            let value: &[&[u8]] = &[b"bytes ", from.as_bytes(), b"-", to.as_bytes(), b"/", len.as_bytes()];
            let own = &[OwnField { name: "Content-Range", value }];
            writer.head(&Reply {
                own,
                lines: stored.metadata(),
                ..Reply::new(206, Content::Length(end - first))
            })?;
            // Both lie within the content, whose length is a usize.
            Ok(Some(first as usize..end as usize))
        }
    }
}

/// Writes a 301 to the same path with a trailing slash.
pub fn redirect_to_directory(
    head: &RequestHead<'_>,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<(), Overflow> {
    if !matches!(head.method, Method::Get | Method::Head) {
        return Text::read_only().write(writer);
    }
    // Two leading slashes would name another host (RFC 3986 §4.2), and to some clients so would a slash and a
    // backslash.
    let path = head.raw_path().trim_start_matches('/');
    let [mark, query] = query(head);
    redirect(301, &[b"/", path.as_bytes(), b"/", mark, query], writer)
}

/// The query as received, with its question mark.
fn query<'a>(head: &RequestHead<'a>) -> [&'a [u8]; 2] {
    head.query().map_or([b"", b""], |query| [b"?", query.as_bytes()])
}

fn redirect(status: u16, to: &[&[u8]], writer: &mut ResponseWriter<'_, impl Encode>) -> Result<(), Overflow> {
    let own = &[OwnField { name: "Location", value: to }];
    writer.head(&Reply { own, ..Reply::new(status, Content::Length(0)) })
}

/// Writes a 308 to the same target over https at `port`. `local` replaces a missing Host (HTTP/1.0).
pub fn redirect_to_https(
    head: &RequestHead<'_>,
    port: u16,
    local: IpAddr,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<(), Overflow> {
    // Content of the request is not read.
    if head.framing != Framing::None {
        writer.content_unread();
    }
    // The longest address is a bracketed IPv6 address with an embedded IPv4 address.
    let mut address = heapless::String::<48>::new();
    let host = if head.host.is_empty() {
        let written = match local {
            IpAddr::V4(local) => core::fmt::write(&mut address, format_args!("{local}")),
            IpAddr::V6(local) => core::fmt::write(&mut address, format_args!("[{local}]")),
        };
        written.map_err(|_| Overflow)?;
        address.as_bytes()
    } else {
        head.host
    };
    let digits = Decimal::new(port.into());
    let (colon, port): (&[u8], &[u8]) =
        if port == Scheme::Https.default_port() { (b"", b"") } else { (b":", digits.as_bytes()) };
    let [mark, query] = query(head);
    redirect(308, &[b"https://", host, colon, port, head.raw_path().as_bytes(), mark, query], writer)
}

/// Writes a 404, or 405 if the method is not GET or HEAD.
pub fn not_found(
    head: &RequestHead<'_>,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<(), Overflow> {
    match head.method {
        Method::Get | Method::Head => Text::new(404).write(writer),
        _ => Text::read_only().write(writer),
    }
}

/// Writes the answer to `OPTIONS *` (RFC 9110 §9.3.7).
pub fn options_asterisk(writer: &mut ResponseWriter<'_, impl Encode>) -> Result<(), Overflow> {
    writer.head(&Reply::new(204, NOTHING))
}

/// Answers an OPTIONS or TRACE that must not be forwarded further: OPTIONS with 204, TRACE with the request
/// as received (RFC 9110 §9.3.8), without sensitive fields.
pub fn last_recipient(
    head: &RequestHead<'_>,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<(), Overflow> {
    // Content of the request is not read.
    if head.framing != Framing::None {
        writer.content_unread();
    }
    if head.method != Method::Trace {
        return writer.head(&Reply::new(204, NOTHING));
    }
    let is_secret = |field: &Field<'_>| {
        ["authorization", "proxy-authorization", "cookie"].iter().any(|name| field.is(name))
    };
    let version: &[u8] = if head.version == Version::Http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" };
    let mut parts: alloc::vec::Vec<&[u8]> = alloc::vec![b"TRACE ", head.target.as_bytes(), version];
    for field in head.fields.into_iter().filter(|field| !is_secret(field)) {
        parts.extend([field.name, b": ", field.value, b"\r\n"]);
    }
    parts.push(b"\r\n");
    let len = parts.iter().map(|part| part.len() as u64).sum();
    let own = &[OwnField { name: "Content-Type", value: &[b"message/http"] }];
    writer.whole(&Reply { own, ..Reply::new(200, Content::Length(len)) }, &parts)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
