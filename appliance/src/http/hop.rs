//! Which fields end here: hop-by-hop fields (RFC 9110 §7.6.1), those named by Connection, and those we write anew.

use super::Fields;
use super::request::MAX_CONNECTION_OPTIONS;

/// Names listed in Connection.
pub(crate) struct Nominated<'a> {
    names: [&'a [u8]; MAX_CONNECTION_OPTIONS],
    len: usize,
}

impl<'a> Nominated<'a> {
    pub(crate) const NONE: Self = Self { names: [&[]; MAX_CONNECTION_OPTIONS], len: 0 };

    /// Reads all Connection fields. The parsers have refused heads that list more than fit here.
    pub(crate) fn read(fields: Fields<'a>) -> Self {
        let mut nominated = Self::NONE;
        for (slot, name) in nominated.names.iter_mut().zip(fields.elements("connection")) {
            *slot = name;
            nominated.len += 1;
        }
        nominated
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.iter().take(self.len).any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// Never passed on, in either direction: they belong to one connection, or are restated by whoever writes the head.
/// Trailer goes because trailers are not passed on.
pub(crate) fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |lower: &[u8]| name.eq_ignore_ascii_case(lower);
    match name.len() {
        2 => is(b"te"),
        7 => is(b"trailer") || is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"content-length"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

/// Request fields whose meaning we decide: a client must not be able to speak in our name, not even to a worker that
/// takes `_` for `-`. `Proxy` would become the environment variable HTTP_PROXY in a CGI worker.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    let is = |lower: &[u8]| same(name, lower);
    match name.len() {
        4 => is(b"host"),
        5 => is(b"proxy"),
        9 => is(b"forwarded") || is(b"x-real-ip"),
        // RFC 9440.
        11 => is(b"client-cert"),
        14 => is(b"content-length"),
        17 => is(b"transfer-encoding") || is(b"client-cert-chain") || starts(name),
        _ => starts(name),
    }
}

fn starts(name: &[u8]) -> bool {
    let with = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| same(start, prefix));
    with(b"x-forwarded-") || with(b"x-client-cert-")
}

fn same(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name.iter().zip(lower).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}
