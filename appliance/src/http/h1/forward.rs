//! Writes the request head that a worker receives (RFC 9110 §7.6).

use super::client;
use super::host::host;
use crate::http::forward::{Forwarded, max_forwards};
use crate::http::request::{Present, TargetForm};
use crate::http::{Framing, Overflow, RequestHead, Sink, hop, syntax, upgrade};

/// Writes the head for the worker: HTTP/1.1, the original path and query (without dot segments), Host,
/// end-to-end fields only, our own `Forwarded` and `X-Forwarded-*`, and the framing.
///
/// The result exceeds the received head by at most 320 bytes plus three times the length of Host and the
/// certificate fields; each address named by a trusted proxy is added a second time.
pub fn write_request(
    head: &RequestHead<'_>,
    forwarded: &Forwarded<'_>,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    out.put(head.method.as_str().as_bytes())?;
    out.put(b" ")?;
    target(head, out)?;
    out.put(b" HTTP/1.1\r\nHost: ")?;
    host(head, forwarded, out)?;
    out.put(b"\r\n")?;
    let nominated = if head.present.any(Present::NOMINATED) {
        hop::Nominated::read(head.fields)
    } else {
        hop::Nominated::NONE
    };
    let drop_expect = forwarded.expect_answered || !head.expects_continue();
    for field in head.fields {
        let is_dropped = match hop::disposition(field.name) {
            hop::Disposition::Forwarded => false,
            hop::Disposition::Reserved => true,
            hop::Disposition::Withheld => !forwarded.fields.iter().any(|wanted| field.is(wanted)),
        };
        if is_dropped
            || hop::is_hop_by_hop(field.name)
            || nominated.contains(field.name)
            || (drop_expect && field.is("expect"))
        {
            continue;
        }
        match max_forwards(head).filter(|_| field.is("max-forwards")) {
            Some(left) => {
                out.put(b"Max-Forwards: ")?;
                out.put_decimal(left.saturating_sub(1))?;
                out.put(b"\r\n")?;
            }
            None => out.put_field(&field)?,
        }
    }
    client::write(head, forwarded, out)?;
    out.put(forwarded.certificate)?;
    let mut protocols = upgrade::asked(head, forwarded.upgrade);
    if let Some(first) = protocols.next() {
        out.put(b"Connection: Upgrade\r\nUpgrade: ")?;
        out.put(first)?;
        for protocol in protocols {
            out.put(b", ")?;
            out.put(protocol)?;
        }
        out.put(b"\r\n")?;
    }
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            out.put(b"Content-Length: ")?;
            out.put_decimal(length)?;
            out.put(b"\r\n")?;
        }
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n")?,
    }
    out.put(b"\r\n")
}

/// Writes the target in origin-form, or `*`. Escapes without effect stay as the client wrote them; a path
/// with dot segments is written in the form that was routed, so that the worker cannot resolve them
/// differently.
fn target(head: &RequestHead<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
    if head.form == TargetForm::Asterisk {
        return out.put(b"*");
    }
    if head.present.any(Present::REWRITTEN) {
        encode(head.path, out)?;
    } else {
        out.put(head.raw_path().as_bytes())?;
    }
    if let Some(query) = head.query() {
        out.put(b"?")?;
        out.put(query.as_bytes())?;
    }
    Ok(())
}

/// Percent-encodes a normalised path, in which `%2F` is a preserved encoded slash.
fn encode(path: &str, out: &mut Sink<'_>) -> Result<(), Overflow> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = path.as_bytes();
    while let [b, after @ ..] = rest {
        if *b == b'/' || syntax::is_segment(*b) || rest.starts_with(b"%2F") {
            out.put(&[*b])?;
        } else {
            out.put(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]])?;
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
