//! The request head as a worker receives it (RFC 9110 §7.6).

use super::request::{Framing, Present, TargetForm, content_length};
use super::{Method, Overflow, RequestHead, Sink, client, hop, syntax, upgrade};
use alloc::string::String;
use core::net::IpAddr;
use model::settings::ClientField;
use model::url::Scheme;

/// What the appliance knows about the client and the worker does not, and what it lets through.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The address of whoever sent the request: the client's, or the last proxy's.
    pub client: IpAddr,
    /// It is a trusted proxy, which names its client in this field.
    pub trusted: Option<ClientField>,
    /// Our address and port, which stand in for a host that the client did not name (HTTP/1.0).
    pub local: (IpAddr, u16),
    /// How the request reached us.
    pub scheme: Scheme,
    /// How the client asked, if a trusted proxy says so; `None`: the same.
    pub asked: Option<Scheme>,
    /// Fields about the client's certificate, whole lines.
    pub certificate: &'a [u8],
    /// We answered `Expect: 100-continue` ourselves: the worker must not see it.
    pub expect_answered: bool,
    /// Protocols that the client may ask to change to.
    pub upgrade: &'a [String],
    /// Names of [withheld](is_withheld) fields that are passed on all the same.
    pub fields: &'a [String],
}

impl Forwarded<'_> {
    /// A request from a client over plain HTTP or TLS, with nothing let through that needs a permission.
    pub const fn new(client: IpAddr, local: (IpAddr, u16), scheme: Scheme) -> Self {
        Self {
            client,
            trusted: None,
            local,
            scheme,
            asked: None,
            certificate: &[],
            expect_answered: true,
            upgrade: &[],
            fields: &[],
        }
    }
}

/// A field that tells some server to take another target, host or method than the request line says: it is dropped unless a
/// prefix wants it ([`Passing::fields`](model::settings::Passing::fields)).
pub fn is_withheld(name: &str) -> bool {
    hop::fate(name.as_bytes()) == hop::Fate::Withheld
}

/// Writes the head for the worker: HTTP/1.1, original path and query (dot segments removed), Host, end-to-end fields
/// only, `Forwarded` and `X-Forwarded-*` as we know them, and the framing restated.
///
/// What is added to the received head stays below 320 bytes plus three times the length of Host and the certificate's fields;
/// of a trusted proxy, each address that it names is added a second time.
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
        let is_dropped = match hop::fate(field.name) {
            hop::Fate::Kept => false,
            hop::Fate::Ours => true,
            hop::Fate::Withheld => !forwarded.fields.iter().any(|wanted| field.is(wanted)),
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

/// The host that the client named, or where it found us.
pub(super) fn host(
    head: &RequestHead<'_>,
    forwarded: &Forwarded<'_>,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    let port = if !head.host.is_empty() {
        out.put(head.host)?;
        head.port.map(core::num::NonZeroU16::get)
    } else {
        let (address, port) = forwarded.local;
        match address {
            IpAddr::V4(_) => client::put_address(address, out)?,
            IpAddr::V6(_) => {
                out.put(b"[")?;
                client::put_address(address, out)?;
                out.put(b"]")?;
            }
        }
        Some(port).filter(|&port| port != forwarded.scheme.default_port())
    };
    if let Some(port) = port {
        out.put(b":")?;
        out.put_decimal(u64::from(port))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
