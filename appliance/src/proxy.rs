//! The PROXY protocol, versions 1 and 2, by which a load balancer names the client of a connection (HAProxy's
//! `proxy-protocol.txt`). The header comes first on a connection, before TLS.
//!
//! Implemented here because the known crates need `std`. Strict: anything that is not exactly a header is
//! [`Parsed::Malformed`] as soon as that can be determined.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the longest version 1 header, including its line end (section 2.1).
const MAX_V1: usize = 107;
/// Limit on a version 2 header including TLVs, in bytes. Fits the smallest receive buffer.
pub const MAX_HEADER: usize = 1024;
/// First bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of version 1.
const PROXY: [u8; 6] = *b"PROXY ";
/// Length of a version 2 header without addresses.
const FIXED: usize = 16;

/// Result of parsing the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed. Never returned for [`MAX_HEADER`] bytes.
    Partial,
    /// A whole header.
    Complete {
        /// Its length in bytes.
        len: usize,
        /// The client's address and port; `None` if the connection is the sender's own (LOCAL, UNKNOWN) or
        /// not from an IP address.
        source: Option<(IpAddr, u16)>,
    },
    /// Not a header.
    Malformed,
}

/// Looks for a header at the start of `input`. The result does not depend on how the bytes were split.
pub fn parse(input: &[u8]) -> Parsed {
    let begins = |start: &[u8]| {
        let len = input.len().min(start.len());
        input.get(..len) == start.get(..len)
    };
    let parsed = match input.first() {
        None => Some(Parsed::Partial),
        Some(b'P') if begins(&PROXY) => version_1(input),
        Some(b'\r') if begins(&SIGNATURE) => version_2(input),
        Some(_) => None,
    };
    parsed.unwrap_or(Parsed::Malformed)
}

/// `None` if malformed.
fn version_1(input: &[u8]) -> Option<Parsed> {
    let Some(at) = input.iter().take(MAX_V1).position(|&b| b == b'\n') else {
        return (input.len() < MAX_V1).then_some(Parsed::Partial);
    };
    let line = input.get(PROXY.len()..at)?.strip_suffix(b"\r")?;
    let mut words = core::str::from_utf8(line).ok()?.split(' ');
    let protocol = words.next()?;
    let len = at + 1;
    // Everything after UNKNOWN is ignored.
    if protocol == "UNKNOWN" {
        return Some(Parsed::Complete { len, source: None });
    }
    let address = |text: &str| -> Option<IpAddr> {
        match protocol {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical()),
            _ => None,
        }
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let source = Some((source, source_port));
    words.next().is_none().then_some(Parsed::Complete { len, source })
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_number.then(|| text.parse().ok()).flatten()
}

/// `None` if malformed.
fn version_2(input: &[u8]) -> Option<Parsed> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const UNSPECIFIED: u8 = 0x00;
    const TCP_4: u8 = 0x11;
    const TCP_6: u8 = 0x21;
    const UNIX_STREAM: u8 = 0x31;
    let Some(&command) = input.get(12) else { return Some(Parsed::Partial) };
    if !matches!(command, LOCAL | PROXY) {
        return None;
    }
    let Some(&family) = input.get(13) else { return Some(Parsed::Partial) };
    let known = matches!(family, UNSPECIFIED | TCP_4 | TCP_6 | UNIX_STREAM);
    if command == PROXY && !known {
        return None;
    }
    let Some(&[high, low]) = input.get(14..FIXED) else { return Some(Parsed::Partial) };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_HEADER {
        return None;
    }
    let addresses = match (command, family) {
        (PROXY, TCP_4) => 12,
        (PROXY, TCP_6) => 36,
        (PROXY, UNIX_STREAM) => 216,
        _ => 0,
    };
    if len < FIXED + addresses {
        return None;
    }
    // TLVs may follow the addresses; they are ignored.
    let Some(body) = input.get(FIXED..len) else { return Some(Parsed::Partial) };
    let source = match (command, family, body) {
        (PROXY, TCP_4, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            Some((IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)), u16::from_be_bytes([*high, *low])))
        }
        (PROXY, TCP_6, body) => {
            let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
            let port: [u8; 2] = body.get(32..34)?.try_into().ok()?;
            Some((IpAddr::V6(Ipv6Addr::from(address)).to_canonical(), u16::from_be_bytes(port)))
        }
        _ => None,
    };
    Some(Parsed::Complete { len, source })
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
