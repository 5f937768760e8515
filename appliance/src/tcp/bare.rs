//! Acknowledgements that no socket sends: in TIME-WAIT, and to ask a peer for its window.

use super::FlowKey;
use super::port::{ETHERNET_LEN, LastSent, write_header};
use core::net::IpAddr;
use netdrv::nic::{Nic, NicInfo, TxOffload};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
};

/// Sends a segment without content, with these numbers. If the card has no room, it is not sent.
pub(super) fn acknowledge<N: Nic>(
    nic: &mut N,
    info: &NicInfo,
    peer: EthernetAddress,
    key: &FlowKey,
    last: LastSent,
    window_len: u16,
) {
    let (IpAddr::V4(remote), IpAddr::V4(local)) = (key.remote, key.local) else { return };
    let tcp = TcpRepr {
        src_port: key.local_port,
        dst_port: key.remote_port,
        control: TcpControl::None,
        seq_number: last.next,
        ack_number: Some(last.ack),
        window_len,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: local,
        dst_addr: remote,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let len = ETHERNET_LEN + ip.buffer_len() + tcp.buffer_len();
    let checksums = ChecksumCapabilities::default();
    // Whoever has a reason to be sent this asks again, or is asked again.
    let _ = nic.transmit(len, |frame| {
        write_header(frame, info.mac, peer);
        let (header, payload) = frame[ETHERNET_LEN..].split_at_mut(ip.buffer_len());
        ip.emit(&mut Ipv4Packet::new_unchecked(header), &checksums);
        let (from, to) = (IpAddress::Ipv4(local), IpAddress::Ipv4(remote));
        tcp.emit(&mut TcpPacket::new_unchecked(payload), &from, &to, &checksums);
        ((), TxOffload::default())
    });
}
