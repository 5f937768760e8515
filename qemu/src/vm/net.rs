//! The appliance's network card as seen from the host.

use crate::host::tap;
use crate::host::tether::SOCKET;
use anyhow::{Result, bail};
use model::settings::StaticAddress;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The appliance's default address in a private network.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The host's address in that network.
const OWN_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const OWN_PREFIX_LEN: u8 = 24;
/// The host's Ethernet address as shown by passt, the same as in QEMU's user network.
const GATEWAY_MAC: &str = "52:55:0a:00:02:02";

/// `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetKind {
    /// passt (see `passt.rs`); the appliance's ports are forwarded from the host.
    Passt,
    /// QEMU's user network, also with forwarded ports. It listens with a backlog of one, and all clients have the host's address.
    User,
    /// An existing tap interface.
    Tap(String),
    /// A temporary tap interface, see [`tap`]; its address is static, and the host is its gateway.
    OwnTap,
}

impl FromStr for NetKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "passt" => Ok(Self::Passt),
            None if text == "tap" => Ok(Self::OwnTap),
            None if text == "user" => Ok(Self::User),
            // 15 bytes: IFNAMSIZ without the terminator. A comma would start another option.
            Some(("tap", name)) if (1..=15).contains(&name.len()) && !name.contains([',', '/']) => {
                Ok(Self::Tap(name.to_owned()))
            }
            _ => Err("expected `passt`, `user`, `tap` or `tap:IFNAME`".into()),
        }
    }
}

/// Network of one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its kind.
    pub kind: NetKind,
    /// Its static address; `None`: DHCP.
    pub address: Option<StaticAddress>,
    /// Host address of the forwarded ports.
    pub listen: Ipv4Addr,
    /// Forwarded ports: (host, appliance).
    pub forwards: Vec<(u16, u16)>,
}

impl Net {
    /// An existing tap interface of this name, with DHCP.
    pub fn tap(name: &str) -> Self {
        let (kind, listen) = (NetKind::Tap(name.to_owned()), Ipv4Addr::LOCALHOST);
        Self { kind, address: None, listen, forwards: Vec::new() }
    }

    /// passt's arguments, for a socket at this descriptor.
    pub fn passt_args(&self, socket: &str) -> Vec<String> {
        let (own, prefix_len, gateway) = match &self.address {
            Some(address) => (address.address.into(), address.prefix_len, gateway(address)),
            None => (OWN, OWN_PREFIX_LEN, OWN_GATEWAY),
        };
        let words = [
            "--foreground",
            "--quiet",
            "--ipv4-only",
            "--no-udp",
            "--no-icmp",
            "--no-dhcp-dns",
            "--no-dhcp-search",
        ];
        let mut args: Vec<String> = words.map(str::to_owned).into();
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        add("--fd", socket.to_owned());
        // With explicit addresses it uses no interface, but still requires one; this one always exists.
        add("--interface", "lo".into());
        add("--mac-addr", GATEWAY_MAC.into());
        add("--address", own.to_string());
        add("--netmask", prefix_len.to_string());
        add("--gateway", gateway.to_string());
        for (host, port) in &self.forwards {
            add("--tcp-ports", format!("{}/{host}:{port}", self.listen));
        }
        args
    }

    /// QEMU's `-netdev`.
    pub fn netdev(&self) -> String {
        match &self.kind {
            NetKind::Passt => format!("stream,id=net0,addr.type=fd,addr.str={SOCKET},server=off"),
            NetKind::Tap(name) => on_tap(name),
            NetKind::OwnTap => on_tap(&tap::name()),
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
                    netdev += &format!(",hostfwd=tcp:{}:{host}-{guest}:{port}", self.listen);
                }
                netdev
            }
        }
    }
}

fn on_tap(name: &str) -> String {
    format!("tap,id=net0,ifname={name},script=no,downscript=no,vhost=off")
}

/// Parses `--address A.B.C.D/LEN`. The maximum prefix length is 30, to leave room for a neighbour.
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

/// The host's address in the network of the appliance with this address.
pub fn gateway(address: &StaticAddress) -> Ipv4Addr {
    others(address)[0]
}

/// Three other addresses of the network, for QEMU's own use.
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
        let listen = Ipv4Addr::LOCALHOST;
        let net = Net { kind: NetKind::User, address, listen, forwards: vec![(8080, 80)] };
        assert_eq!(
            net.netdev(),
            "user,id=net0,net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.3,dhcpstart=192.168.7.4,\
             hostfwd=tcp:127.0.0.1:8080-192.168.7.2:80"
        );
        let net = Net { address: None, ..net };
        assert_eq!(net.netdev(), "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80");
    }

    #[test]
    fn passt_is_told_everything_and_asks_the_host_for_nothing() {
        let address = parse_address("192.168.7.2/24").ok();
        let listen = Ipv4Addr::UNSPECIFIED;
        let net = Net { kind: NetKind::Passt, address, listen, forwards: vec![(8080, 80), (8443, 443)] };
        let args = net.passt_args("5").join(" ");
        assert!(
            args.contains("--fd 5 ")
                && args.contains("--address 192.168.7.2 --netmask 24 --gateway 192.168.7.1 ")
        );
        assert!(args.ends_with("--tcp-ports 0.0.0.0/8080:80 --tcp-ports 0.0.0.0/8443:443"), "{args}");
        let args = Net { address: None, ..net }.passt_args("5").join(" ");
        assert!(args.contains("--address 10.0.2.15 --netmask 24 --gateway 10.0.2.2 "), "{args}");
    }

    #[test]
    fn bad_networks_are_refused() {
        for text in ["", "tap:", "tap:a,b", "tap:sixteen-letters-", "bridge:x"] {
            assert!(text.parse::<NetKind>().is_err(), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.1/0", "10.0.0.1/33", "10.0.0/8", "224.0.0.1/8", "fe80::1/64", "x/24"]
        {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
