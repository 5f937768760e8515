//! The request head as a worker receives it (RFC 9110 §7.6).

use super::request::{Framing, Present, TargetForm, content_length};
use super::{Method, Overflow, RequestHead, Sink, Version, hop, syntax};
use crate::site::Scheme;
use core::fmt::Write as _;
use core::net::IpAddr;

/// What the appliance knows about the client and the worker does not.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// How the client reached us.
    pub scheme: Scheme,
    /// Fields about the client's certificate, whole lines.
    pub certificate: &'a [u8],
    /// We answered `Expect: 100-continue` ourselves: the worker must not see it.
    pub expect_answered: bool,
}

/// Writes the head for the worker: HTTP/1.1, original path and query (dot segments removed), Host, end-to-end fields
/// only, `Forwarded` and `X-Forwarded-*` as we know them, and the framing restated.
///
/// What is added to the received head stays below 256 bytes plus twice the length of Host and the certificate's fields.
pub fn write_request(
    head: &RequestHead<'_>,
    forwarded: &Forwarded<'_>,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    out.put(head.method.as_str().as_bytes())?;
    out.put(b" ")?;
    target(head, out)?;
    out.put(b" HTTP/1.1\r\nHost: ")?;
    host(head, out)?;
    out.put(b"\r\n")?;
    let nominated = if head.present.any(Present::NOMINATED) {
        hop::Nominated::read(head.fields)
    } else {
        hop::Nominated::NONE
    };
    let drop_expect = forwarded.expect_answered || !head.expects_continue();
    for field in head.fields {
        if hop::is_hop_by_hop(field.name)
            || hop::is_ours(field.name)
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
    client(head, forwarded, out)?;
    out.put(forwarded.certificate)?;
    if let Some(protocols) = head.upgrade() {
        out.put(b"Connection: Upgrade\r\nUpgrade: ")?;
        out.put(protocols)?;
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

/// Over how many more servers an OPTIONS or TRACE may go (RFC 9110 §7.6.2); with 0, it is ours to answer.
pub fn max_forwards(head: &RequestHead<'_>) -> Option<u64> {
    let counts = matches!(head.method, Method::Options | Method::Trace);
    counts.then(|| head.fields.get_only("max-forwards")).flatten().and_then(content_length)
}

/// Origin-form, or `*`. An escape that changes no meaning stays as the client wrote it; a path with dot segments is
/// written in the form that was routed, so that the worker cannot resolve them differently.
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

/// Percent-encodes a normalised path. `%2F` in it is an encoded slash that was kept.
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

fn host(head: &RequestHead<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
    out.put(head.host)?;
    if let Some(port) = head.port {
        out.put(b":")?;
        out.put_decimal(u64::from(port.get()))?;
    }
    Ok(())
}

/// `Forwarded` (RFC 7239), its older relatives, and `Via` (RFC 9110 §7.6.3).
fn client(head: &RequestHead<'_>, forwarded: &Forwarded<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
    out.put(b"X-Forwarded-For: ")?;
    address(forwarded.client, out)?;
    out.put(b"\r\nX-Forwarded-Proto: ")?;
    out.put(forwarded.scheme.as_str().as_bytes())?;
    out.put(b"\r\nX-Forwarded-Host: ")?;
    host(head, out)?;
    out.put(b"\r\nForwarded: for=")?;
    if forwarded.client.is_ipv6() {
        out.put(b"\"[")?;
        address(forwarded.client, out)?;
        out.put(b"]\"")?;
    } else {
        address(forwarded.client, out)?;
    }
    out.put(b";proto=")?;
    out.put(forwarded.scheme.as_str().as_bytes())?;
    out.put(b";host=\"")?;
    host(head, out)?;
    out.put(match head.version {
        Version::Http10 => b"\"\r\nVia: 1.0 weir\r\n",
        Version::Http11 => b"\"\r\nVia: 1.1 weir\r\n",
    })
}

fn address(address: IpAddr, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let IpAddr::V4(v4) = address else {
        return write!(out, "{address}").map_err(|_| Overflow);
    };
    for (i, octet) in v4.octets().into_iter().enumerate() {
        if i != 0 {
            out.put(b".")?;
        }
        out.put_decimal(u64::from(octet))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
