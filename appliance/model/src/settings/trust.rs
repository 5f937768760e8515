//! Trusted proxies, and how they name their clients.

use alloc::vec::Vec;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// Proxies whose statements about their clients are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Their addresses.
    pub networks: Vec<Network>,
    /// The field in which they name the client.
    pub field: ClientField,
    /// TCP ports on which every connection begins with a PROXY protocol header, in ascending order.
    pub proxy_protocol: Vec<u16>,
}

impl Trust {
    /// Whether this is the address of a trusted proxy.
    #[inline]
    pub fn covers(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// The field in which proxies name their client. Only one is used: a proxy that writes one of them passes the
/// other on as its client wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientField {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

impl ClientField {
    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// As an IPv6 address; IPv4 in its mapped form (`::ffff:0:0/96`).
    bits: u128,
    /// Length of the prefix in bits, of 128.
    len: u8,
}

impl Network {
    /// The network of an address with a prefix of this length; `None` if the address is shorter. Ignores bits
    /// after the prefix.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let len = match address {
            IpAddr::V4(_) if prefix_len <= 32 => 96 + prefix_len,
            IpAddr::V6(_) if prefix_len <= 128 => prefix_len,
            _ => return None,
        };
        Some(Self { bits: bits(address) & mask(len), len })
    }

    /// Whether the address is the first one of the network, with no bits set after the prefix.
    pub fn begins_at(&self, address: IpAddr) -> bool {
        bits(address) == self.bits
    }

    /// Whether the address belongs to the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.len) == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first `len` bits.
fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_as_they_do() {
        let network = |address: &str, len| Network::new(address.parse().unwrap(), len);
        for (address, len, inside, outside) in [
            ("10.1.2.3", 8, "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0", 0, "255.1.2.3", "2001:db8::1"),
            ("10.0.0.0", 8, "::ffff:10.0.0.1", "::10.0.0.1"),
            ("fd00::", 8, "fdff::1", "fe00::1"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::2"),
        ] {
            let network = network(address, len).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{address}/{len} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{address}/{len} {outside}");
        }
        assert!(network("::", 0).unwrap().contains("10.0.0.1".parse().unwrap()));
        assert_eq!((network("10.0.0.0", 33), network("::", 129)), (None, None));
    }
}
