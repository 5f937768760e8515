//! ARP (RFC 826): answers requests for our address and announces it (RFC 5227 §2.3). Never asks.

use netdrv::nic::{Nic, TxFull, TxOffload};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Ipv4Address,
};

const ARP_FRAME_LEN: usize = 14 + 28;

/// Answers a request for `local`. False if the packet was anything else.
pub(super) fn answer<N: Nic>(packet: &[u8], nic: &mut N, mac: [u8; 6], local: Ipv4Address) -> bool {
    let Ok(packet) = ArpPacket::new_checked(packet) else { return false };
    let Ok(ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return false;
    };
    if target_protocol_addr != local || !source_hardware_addr.is_unicast() {
        return false;
    }
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: local,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    // If there is no room for the answer, the peer will ask again.
    let _ = send(nic, mac, source_hardware_addr, reply);
    true
}

/// Announces `local` on the link, so that stale caches are updated.
pub(super) fn announce<N: Nic>(nic: &mut N, mac: [u8; 6], local: Ipv4Address) -> Result<(), TxFull> {
    let announcement = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: local,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: local,
    };
    send(nic, mac, EthernetAddress::BROADCAST, announcement)
}

fn send<N: Nic>(nic: &mut N, mac: [u8; 6], to: EthernetAddress, arp: ArpRepr) -> Result<(), TxFull> {
    let ethernet =
        EthernetRepr { src_addr: EthernetAddress(mac), dst_addr: to, ethertype: EthernetProtocol::Arp };
    nic.transmit(ARP_FRAME_LEN, |frame| {
        let mut frame = EthernetFrame::new_unchecked(frame);
        ethernet.emit(&mut frame);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        ((), TxOffload::default())
    })
}
