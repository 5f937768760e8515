//! Answers a request from a stored response: 200, 206, 304, 405, 412, 416, 301; and other answers that are made from the
//! request alone.

use super::StoredResponse;
use crate::http::error::Text;
use crate::http::request::{Framing, Present};
use crate::http::{
    Content, Decimal, Encode, Field, Method, Overflow, OwnField, Page, Reply, RequestHead, Version,
    conditional, range,
};
use core::net::IpAddr;
use core::ops::Range;
use model::url::Scheme;

const NOTHING: Content = Content::Nothing { announced: None };

/// Writes the head for a file that was found. Returns the part of [`StoredResponse::content`] that follows it: none to HEAD,
/// with 304 and errors.
pub fn file(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    page: &mut Page<'_, impl Encode>,
) -> Result<Range<usize>, Overflow> {
    let len = stored.content().len();
    let content = match head.method {
        Method::Get => 0..len,
        Method::Head => 0..0,
        _ => return Text::read_only().write(page).map(|()| 0..0),
    };
    if head.present.any(Present::PRECONDITION | Present::RANGE)
        && let Some(part) = special(head, stored, page)?
    {
        return Ok(part);
    }
    let lines = stored.metadata();
    let reply =
        Reply { prepared: Some(stored.head()), lines, ..Reply::new(200, Content::Length(len as u64)) };
    page.head(&reply)?;
    Ok(content)
}

/// What conditions and ranges ask for, if it is not the whole after all.
fn special(
    head: &RequestHead<'_>,
    stored: &StoredResponse<'_>,
    page: &mut Page<'_, impl Encode>,
) -> Result<Option<Range<usize>>, Overflow> {
    let (etag, last_modified) = (stored.etag(), stored.last_modified());
    match conditional::evaluate(head, etag, last_modified, page.unix()) {
        conditional::Precondition::Proceed => {}
        conditional::Precondition::NotModified => {
            page.head(&Reply { lines: stored.validators(), ..Reply::new(304, NOTHING) })?;
            return Ok(Some(0..0));
        }
        conditional::Precondition::Failed => {
            return Text::new(412).write(page).map(|()| Some(0..0));
        }
    }
    // RFC 9110 §14.2: Range means something for GET only.
    if head.method != Method::Get || !head.present.any(Present::RANGE) {
        return Ok(None);
    }
    let Some(value) = head.fields.get_only("range") else { return Ok(None) };
    if !conditional::range_applies(head, etag, last_modified, page.unix()) {
        return Ok(None);
    }
    let len = Decimal::new(stored.content().len() as u64);
    match range::parse(value, stored.content().len() as u64) {
        range::ByteRange::Ignored => Ok(None),
        range::ByteRange::Unsatisfiable => {
            let which = OwnField { name: "Content-Range", value: &[b"bytes */", len.as_bytes()] };
            Text { fields: &[Text::PLAIN, which], ..Text::new(416) }.write(page).map(|()| Some(0..0))
        }
        range::ByteRange::Satisfiable { first, end } => {
            let (from, to) = (Decimal::new(first), Decimal::new(end - 1));
            let value: &[&[u8]] = &[b"bytes ", from.as_bytes(), b"-", to.as_bytes(), b"/", len.as_bytes()];
            let own = &[OwnField { name: "Content-Range", value }];
            page.head(&Reply {
                own,
                lines: stored.metadata(),
                ..Reply::new(206, Content::Length(end - first))
            })?;
            // Both lie within the content, whose length is a usize.
            Ok(Some(first as usize..end as usize))
        }
    }
}

/// Writes a 301 to the same path with a slash at its end.
pub fn redirect_to_directory(
    head: &RequestHead<'_>,
    page: &mut Page<'_, impl Encode>,
) -> Result<(), Overflow> {
    if !matches!(head.method, Method::Get | Method::Head) {
        return Text::read_only().write(page);
    }
    // Two slashes at the start would name another host (RFC 3986 §4.2), and so would a slash and a backslash to some.
    let path = head.raw_path().trim_start_matches('/');
    let [mark, query] = query(head);
    redirect(301, &[b"/", path.as_bytes(), b"/", mark, query], page)
}

/// The query as it was asked for, with its question mark.
fn query<'a>(head: &RequestHead<'a>) -> [&'a [u8]; 2] {
    head.query().map_or([b"", b""], |query| [b"?", query.as_bytes()])
}

fn redirect(status: u16, to: &[&[u8]], page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
    let own = &[OwnField { name: "Location", value: to }];
    page.head(&Reply { own, ..Reply::new(status, Content::Length(0)) })
}

/// Writes a 308 to the same target over https at `port`. Without Host (HTTP/1.0), `local` stands in for it.
pub fn redirect_to_https(
    head: &RequestHead<'_>,
    port: u16,
    local: IpAddr,
    page: &mut Page<'_, impl Encode>,
) -> Result<(), Overflow> {
    // Content that came with the request is not read.
    if head.framing != Framing::None {
        page.content_unread();
    }
    // The longest address is that of IPv6 with an IPv4 address in it, in brackets.
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
    redirect(308, &[b"https://", host, colon, port, head.raw_path().as_bytes(), mark, query], page)
}

/// Writes a 404, or 405 if the method is not GET or HEAD.
pub fn not_found(head: &RequestHead<'_>, page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
    match head.method {
        Method::Get | Method::Head => Text::new(404).write(page),
        _ => Text::read_only().write(page),
    }
}

/// Writes the answer to `OPTIONS *` (RFC 9110 §9.3.7).
pub fn options_asterisk(page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
    page.head(&Reply::new(204, NOTHING))
}

/// Writes the answer to an OPTIONS or TRACE that is not to go any further: what may be asked of us, or what came
/// (RFC 9110 §9.3.8), without what is secret.
pub fn last_recipient(head: &RequestHead<'_>, page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
    // Content that came with the request is not read.
    if head.framing != Framing::None {
        page.content_unread();
    }
    if head.method != Method::Trace {
        return page.head(&Reply::new(204, NOTHING));
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
    page.whole(&Reply { own, ..Reply::new(200, Content::Length(len)) }, &parts)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
