//! The appliance's network card as seen from the host.

use anyhow::{Result, bail};
use appliance::settings::StaticAddress;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetKind {
    /// QEMU's user-mode network; the appliance's ports are forwarded from the loopback interface.
    User,
    /// An existing tap interface.
    Tap(String),
}

impl FromStr for NetKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "user" => Ok(Self::User),
            // 15 bytes: IFNAMSIZ less its terminator. A comma would start another option.
            Some(("tap", name)) if (1..=15).contains(&name.len()) && !name.contains([',', '/']) => {
                Ok(Self::Tap(name.to_owned()))
            }
            _ => Err("expected `user` or `tap:IFNAME`".into()),
        }
    }
}

/// The network of one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// What it is attached to.
    pub kind: NetKind,
    /// Its static address; by DHCP otherwise.
    pub address: Option<StaticAddress>,
    /// Ports forwarded in user mode: (on the host's loopback interface, in the appliance).
    pub forwards: Vec<(u16, u16)>,
}

impl Net {
    /// QEMU's `-netdev`.
    pub fn netdev(&self) -> String {
        match &self.kind {
            NetKind::Tap(name) => format!("tap,id=net0,ifname={name},script=no,downscript=no,vhost=off"),
            NetKind::User => {
                let mut netdev = String::from("user,id=net0");
                let mut guest = String::new();
                if let Some(address) = &self.address {
                    let own = Ipv4Addr::from(address.address);
                    let [host, dns, dhcp] = others(address);
                    let net = network(address);
                    netdev +=
                        &format!(",net={net}/{},host={host},dns={dns},dhcpstart={dhcp}", address.prefix_len);
                    guest = own.to_string();
                }
                for (host, port) in &self.forwards {
                    netdev += &format!(",hostfwd=tcp:127.0.0.1:{host}-{guest}:{port}");
                }
                netdev
            }
        }
    }
}

/// Reads `--address A.B.C.D/LEN`. A prefix longer than 30 has no room for a neighbour.
pub fn parse_address(text: &str) -> Result<StaticAddress> {
    let parsed = text.split_once('/').and_then(|(address, len)| {
        Some((
            address.parse::<Ipv4Addr>().ok()?,
            len.parse::<u8>().ok().filter(|len| (1..=30).contains(len))?,
        ))
    });
    match parsed {
        Some((address, prefix_len)) if !address.is_unspecified() && !address.is_multicast() => {
            Ok(StaticAddress { address: address.octets(), prefix_len, gateway: None })
        }
        _ => {
            bail!("--address {text}: expected an IPv4 address with its prefix length, such as 192.168.7.2/24")
        }
    }
}

fn network(address: &StaticAddress) -> Ipv4Addr {
    let mask = u32::MAX << (32 - u32::from(address.prefix_len.clamp(1, 32)));
    Ipv4Addr::from(u32::from_be_bytes(address.address) & mask)
}

/// Three addresses of the network that are not the appliance's: for QEMU's own ends.
fn others(address: &StaticAddress) -> [Ipv4Addr; 3] {
    let base = u32::from(network(address));
    let own = u32::from_be_bytes(address.address);
    let gateway = address.gateway.map(u32::from_be_bytes);
    let mut free = (1..=6).map(|n| base + n).filter(|&ip| ip != own && Some(ip) != gateway);
    let mut next = || free.next().unwrap_or(base + 1);
    let host = gateway.unwrap_or_else(&mut next);
    [host, next(), next()].map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_network_makes_room_for_a_static_address() {
        let address = parse_address("192.168.7.2/24").ok();
        let net = Net { kind: NetKind::User, address, forwards: vec![(8080, 80)] };
        assert_eq!(
            net.netdev(),
            "user,id=net0,net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.3,dhcpstart=192.168.7.4,\
             hostfwd=tcp:127.0.0.1:8080-192.168.7.2:80"
        );
        let net = Net { address: None, ..net };
        assert_eq!(net.netdev(), "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80");
    }

    #[test]
    fn bad_networks_are_refused() {
        for text in ["", "tap", "tap:", "tap:a,b", "tap:sixteen-letters-", "bridge:x"] {
            assert!(text.parse::<NetKind>().is_err(), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.1/0", "10.0.0.1/33", "10.0.0/8", "224.0.0.1/8", "fe80::1/64", "x/24"]
        {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
