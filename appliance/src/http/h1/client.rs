//! Writes the fields that tell a worker about the client: `X-Forwarded-*`, `Forwarded` (RFC 7239), `Via`.
//!
//! All of them agree. A sender that is not a trusted proxy is the client, and what it says about itself is
//! dropped; a trusted proxy's list is kept, and its own address appended.

use super::host::{host, put_address};
use crate::http::client::{OriginalRequest, nodes, parse_node, received};
use crate::http::forward::Forwarded;
use crate::http::{Overflow, RequestHead, Sink, Version};
use core::net::IpAddr;
use model::settings::ClientField;

/// Writes the fields.
pub(super) fn write(
    head: &RequestHead<'_>,
    forwarded: &Forwarded<'_>,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    let original = OriginalRequest::new(head, forwarded);
    out.put(b"X-Forwarded-For: ")?;
    if let Some(field) = forwarded.trusted {
        for node in nodes(head, field) {
            match (field, parse_node(node)) {
                (ClientField::XForwardedFor, _) => out.put(node)?,
                (ClientField::Forwarded, Some(address)) => put_address(address, out)?,
                (ClientField::Forwarded, None) => out.put(b"unknown")?,
            }
            out.put(b", ")?;
        }
    }
    put_address(forwarded.client, out)?;
    out.put(b"\r\nX-Forwarded-Proto: ")?;
    out.put(original.proto.as_str().as_bytes())?;
    out.put(b"\r\nX-Forwarded-Host: ")?;
    match original.host {
        Some(said) => out.put(said)?,
        None => host(head, forwarded, out)?,
    }
    out.put(b"\r\nX-Forwarded-Port: ")?;
    out.put_decimal(u64::from(original.port))?;
    out.put(b"\r\nForwarded: ")?;
    match forwarded.trusted {
        Some(ClientField::Forwarded) => {
            for element in received(head, ClientField::Forwarded) {
                out.put(element)?;
                out.put(b", ")?;
            }
        }
        Some(field) => {
            for node in nodes(head, field) {
                put_node(parse_node(node), out)?;
                out.put(b", ")?;
            }
        }
        None => {}
    }
    put_node(Some(forwarded.client), out)?;
    out.put(b";proto=")?;
    out.put(forwarded.scheme.as_str().as_bytes())?;
    out.put(b";host=\"")?;
    host(head, forwarded, out)?;
    out.put(match head.version {
        Version::Http10 => b"\"\r\nVia: 1.0 weir\r\n",
        Version::Http11 => b"\"\r\nVia: 1.1 weir\r\n",
    })
}

/// Writes `for=` and the node (RFC 7239 §6).
fn put_node(address: Option<IpAddr>, out: &mut Sink<'_>) -> Result<(), Overflow> {
    out.put(b"for=")?;
    match address {
        None => out.put(b"unknown"),
        Some(address @ IpAddr::V4(_)) => put_address(address, out),
        Some(address) => {
            out.put(b"\"[")?;
            put_address(address, out)?;
            out.put(b"]\"")
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
