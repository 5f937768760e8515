//! The client of a request, as trusted proxies report it: `X-Forwarded-*`, `Forwarded` (RFC 7239).

use super::fields::trim;
use super::forward::Forwarded;
use super::{RequestHead, number, target};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use model::settings::{ClientField, Trust};
use model::url::Scheme;

/// The client's address for limits and logs: the last address in the list that is not a trusted proxy's,
/// provided that all proxies from there to `peer`, the sender of the request, are trusted (nginx:
/// `real_ip_recursive on`).
pub fn address(head: &RequestHead<'_>, peer: IpAddr, trust: &Trust) -> IpAddr {
    if !trust.covers(peer) {
        return peer;
    }
    client(head, trust).map_or(peer, |(address, _)| address)
}

/// The scheme of the client's own request, if `peer`, the sender, is a trusted proxy and states it.
/// `X-Forwarded-Proto` accompanies `X-Forwarded-For`; in `Forwarded`, it is in the client's element.
pub fn scheme(head: &RequestHead<'_>, peer: IpAddr, trust: &Trust) -> Option<Scheme> {
    if !trust.covers(peer) {
        return None;
    }
    let said = match trust.field {
        ClientField::XForwardedFor => head.fields.get_only("x-forwarded-proto"),
        ClientField::Forwarded => client(head, trust).and_then(|(_, element)| parameter(element, b"proto")),
    };
    said.and_then(Scheme::parse)
}

/// The element that names the client, and its address.
fn client<'h>(head: &RequestHead<'h>, trust: &Trust) -> Option<(IpAddr, &'h [u8])> {
    // From the left: the answer if everything further right is trusted.
    let mut found = None;
    for element in received(head, trust.field) {
        found = match (parse_node(node(element, trust.field)), found) {
            (Some(address), Some(_)) if !trust.covers(address) => Some((address, element)),
            (Some(address), None) => Some((address, element)),
            (Some(_), kept) => kept,
            (None, _) => None,
        };
    }
    found
}

/// The elements of the field in which trusted proxies name their clients. Elements with an unclosed quotation
/// mark are left out: what a proxy appends would become part of them.
pub(super) fn received<'h>(head: &RequestHead<'h>, field: ClientField) -> impl Iterator<Item = &'h [u8]> {
    let is_closed = |element: &&[u8]| element.iter().filter(|&&b| b == b'"').count() % 2 == 0;
    head.fields.elements(field.name()).filter(move |element| is_closed(element) && !element.contains(&b'\\'))
}

/// The nodes named by trusted proxies, the farthest first.
pub(super) fn nodes<'h>(head: &RequestHead<'h>, field: ClientField) -> impl Iterator<Item = &'h [u8]> {
    received(head, field).map(move |element| node(element, field))
}

/// The node named by an element.
fn node(element: &[u8], field: ClientField) -> &[u8] {
    match field {
        ClientField::XForwardedFor => element,
        ClientField::Forwarded => parameter(element, b"for").unwrap_or_default(),
    }
}

/// The value of a parameter in an element of `Forwarded`, without quotation marks (RFC 7239 §4).
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = element;
    loop {
        let end = end_of_parameter(rest);
        let pair = trim(rest.get(..end)?);
        let equals = pair.iter().position(|&b| b == b'=');
        if let Some((found, value)) = equals.and_then(|at| Some((pair.get(..at)?, pair.get(at + 1..)?)))
            && found.eq_ignore_ascii_case(name)
        {
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            return Some(quoted.unwrap_or(value));
        }
        rest = rest.get(end + 1..)?;
    }
}

/// Offset of the first semicolon outside a quoted string, or the end.
fn end_of_parameter(element: &[u8]) -> usize {
    let mut quoted = false;
    for (at, &b) in element.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b';' if !quoted => return at,
            _ => {}
        }
    }
    element.len()
}

/// Parses an address with optional port; IPv6 with optional brackets. IPv4-mapped IPv6 becomes IPv4.
pub(super) fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(node).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok().or_else(bracketed);
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// The client's request as a trusted proxy describes it, or as received.
pub(super) struct OriginalRequest<'a> {
    pub(super) proto: Scheme,
    /// As the proxy wrote it; `None`: as received.
    pub(super) host: Option<&'a [u8]>,
    pub(super) port: u16,
}

impl<'a> OriginalRequest<'a> {
    pub(super) fn new(head: &RequestHead<'a>, forwarded: &Forwarded<'_>) -> Self {
        let said = |name: &str| forwarded.trusted.and_then(|_| head.fields.get_only(name));
        let proto = forwarded.client_scheme.unwrap_or(forwarded.scheme);
        let host =
            said("x-forwarded-host").and_then(|host| Some((host, target::parse_authority(host).ok()?.port)));
        let named = match host {
            Some((_, port)) => port,
            None if head.host.is_empty() => core::num::NonZeroU16::new(forwarded.local.1),
            None => head.port,
        };
        let port = said("x-forwarded-port")
            .and_then(number::decimal)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|&port| port != 0);
        let port = port.unwrap_or(named.map_or(proto.default_port(), |port| port.get()));
        Self { proto, host: host.map(|(host, _)| host), port }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
