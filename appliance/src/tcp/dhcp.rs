//! The DHCP client (RFC 2131): smoltcp's, on an Ethernet interface that only sees DHCP frames.

use super::port::CapabilitiesOnly;
use crate::time::Instant;
use alloc::vec;
use netdrv::nic::{Nic, NicInfo, TxOffload};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

pub(super) struct DhcpClient {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    next: Option<Instant>,
}

impl DhcpClient {
    pub(super) fn new(info: &NicInfo, seed: u64, now: Instant) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(info.mac)));
        config.random_seed = seed;
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(dhcpv4::Socket::new());
        let iface = Interface::new(config, &mut CapabilitiesOnly(capabilities()), now.to_smoltcp());
        Self { iface, sockets, handle, next: Some(now) }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Runs the client with at most one received frame. `Some(Some(address))`: a new address; `Some(None)`:
    /// the lease was lost.
    pub(super) fn poll<N: Nic>(
        &mut self,
        now: Instant,
        nic: &mut N,
        received: Option<&[u8]>,
    ) -> Option<Option<Ipv4Cidr>> {
        if received.is_none() && self.next.is_none_or(|next| next > now) {
            return None;
        }
        let at = now.to_smoltcp();
        let mut frames = Frames { nic, received };
        self.iface.poll_ingress_single(at, &mut frames, &mut self.sockets);
        let event = match self.sockets.get_mut::<dhcpv4::Socket>(self.handle).poll() {
            Some(dhcpv4::Event::Configured(lease)) => Some(Some(lease.address)),
            Some(dhcpv4::Event::Deconfigured) => Some(None),
            None => None,
        };
        if let Some(address) = event {
            // Renewals are sent from the address itself (RFC 2131 §4.4.5).
            self.iface.update_ip_addrs(|addresses| {
                addresses.clear();
                if let Some(cidr) = address {
                    let _ = addresses.push(IpCidr::Ipv4(cidr));
                }
            });
        }
        while self.iface.poll_egress(at, &mut frames, &mut self.sockets) == PollResult::SocketStateChanged {}
        self.next = self.iface.poll_at(at, &self.sockets).map(|t| {
            // Not immediately: if the card had no room, a little later is soon enough.
            Instant::from_smoltcp(t).max(now + core::time::Duration::from_millis(10))
        });
        event
    }
}

/// Whole Ethernet frames from and to the card.
struct Frames<'a, N: Nic> {
    nic: &'a mut N,
    received: Option<&'a [u8]>,
}

fn capabilities() -> DeviceCapabilities {
    let mut caps = DeviceCapabilities::default();
    caps.medium = Medium::Ethernet;
    caps.max_transmission_unit = 1514;
    caps
}

impl<N: Nic> Device for Frames<'_, N> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t, N>
    where
        Self: 't;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received<'_>, Transmit<'_, N>)> {
        let frame = self.received.take()?;
        Some((Received(frame), Transmit(self.nic)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Transmit<'_, N>> {
        (self.nic.tx_room() > 0).then_some(Transmit(self.nic))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

struct Received<'t>(&'t [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Transmit<'t, N: Nic>(&'t mut N);

impl<N: Nic> TxToken for Transmit<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // DHCP is rare: a buffer of its own simplifies the case of a full queue (the frame is lost and DHCP
        // repeats it).
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        let _ = self.0.transmit(len, |buffer| {
            buffer.copy_from_slice(&frame);
            ((), TxOffload::default())
        });
        result
    }
}
