//! The device that smoltcp sees: at most one received packet, and a card that sends to one peer.
//!
//! smoltcp runs with [`Medium::Ip`]; the Ethernet header is written here. Frames go to the hardware address
//! from which the peer's frames came, so no neighbour cache is needed, and none can be exhausted.

use netdrv::nic::{ChecksumOffload, Nic, NicInfo, TxOffload};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, TcpPacket,
    TcpSeqNumber,
};

/// Length of an Ethernet header in bytes.
pub(super) const ETHERNET_LEN: usize = 14;
/// Offset of the checksum field in a TCP header (RFC 9293 §3.1).
const TCP_CHECKSUM_OFFSET: u16 = 16;

/// State of a connection's output, for acknowledgements now and after the connection has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastSent {
    /// SND.NXT: the sequence number after everything sent so far (RFC 9293 §3.3.1).
    pub(super) next: TcpSeqNumber,
    /// The last acknowledgement number sent.
    pub(super) ack: TcpSeqNumber,
}

/// One packet in, any number of packets out, all from and to the same peer.
pub(super) struct Port<'a, N: Nic> {
    pub(super) nic: &'a mut N,
    pub(super) info: &'a NicInfo,
    pub(super) peer: EthernetAddress,
    pub(super) received: Option<&'a [u8]>,
    /// Transmit slots that must stay free for replies to packets not yet received.
    pub(super) reserve: usize,
    /// The connection has more to send than one packet holds, so smoltcp may request segmentation offload.
    pub(super) bulk: bool,
    /// The connection's state, updated with every packet sent.
    pub(super) last_sent: Option<LastSent>,
    /// The peer's window is zero. A single new byte is then smoltcp's window probe, which it does not count as sent.
    pub(super) is_closed: bool,
    /// Content bytes that were retransmitted.
    pub(super) resent: u32,
    /// The card had no room when smoltcp wanted to send.
    pub(super) blocked: bool,
}

/// What smoltcp may offload to the card. Transport checksums of received packets were verified before (by the
/// card or by `super::ingress`), so smoltcp does not verify them.
pub(super) fn capabilities(info: &NicInfo) -> DeviceCapabilities {
    let mut caps = DeviceCapabilities::default();
    caps.medium = Medium::Ip;
    caps.max_transmission_unit = usize::from(info.mtu);
    // Unset, whatever the queue holds: a burst size would clamp the receive window.
    caps.max_burst_size = None;
    caps.checksum.tcp = if info.tx_checksum { Checksum::None } else { Checksum::Tx };
    caps.segmentation.tcpv4 = info
        .tso4_max
        .filter(|_| info.tx_checksum)
        .and_then(|max| core::num::NonZeroUsize::new((max as usize).checked_sub(ETHERNET_LEN)?));
    caps
}

impl<N: Nic> Device for Port<'_, N> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t, N>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_, N>)> {
        let packet = self.received.take()?;
        Some((Received(packet), self.token()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_, N>> {
        let largest = self.info.tso4_max.filter(|_| self.bulk);
        self.blocked = self.nic.tx_room() <= self.reserve
            || largest.is_some_and(|len| self.nic.tx_room_for(len as usize) == 0);
        (!self.blocked).then(|| self.token())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.info)
    }
}

impl<N: Nic> Port<'_, N> {
    fn token(&mut self) -> Transmit<'_, N> {
        Transmit {
            nic: self.nic,
            info: self.info,
            peer: self.peer,
            last_sent: &mut self.last_sent,
            is_closed: self.is_closed,
            resent: &mut self.resent,
            segment: None,
        }
    }
}

pub(super) struct Received<'t>(&'t [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(super) struct Transmit<'t, N: Nic> {
    nic: &'t mut N,
    info: &'t NicInfo,
    peer: EthernetAddress,
    last_sent: &'t mut Option<LastSent>,
    is_closed: bool,
    resent: &'t mut u32,
    segment: Option<u16>,
}

impl<N: Nic> TxToken for Transmit<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { nic, info, peer, last_sent, is_closed, resent, segment } = self;
        let mut f = Some(f);
        let mut run = |packet: &mut [u8]| f.take().map(|f| f(packet));
        let sent = nic.transmit(ETHERNET_LEN + len, |frame| {
            write_header(frame, info.mac, peer);
            let packet = &mut frame[ETHERNET_LEN..];
            let result = run(packet);
            *resent = resent.saturating_add(sent_before(packet, last_sent.as_ref()));
            (result, finish(packet, info.tx_checksum, segment, is_closed, last_sent))
        });
        match sent.ok().flatten() {
            Some(result) => result,
            // The card refused the frame although it had room when the token was made. The packet is lost
            // like any other, but smoltcp still needs a place to write it.
            None => match run(&mut alloc::vec![0; len]) {
                Some(result) => result,
                None => unreachable!("the closure runs once: either the card ran it or it did not"),
            },
        }
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size.map(core::num::NonZeroU16::get);
    }
}

/// Writes the Ethernet header of an IPv4 frame.
pub(super) fn write_header(frame: &mut [u8], from: [u8; 6], to: EthernetAddress) {
    let mut header = EthernetFrame::new_unchecked(frame);
    header.set_src_addr(EthernetAddress(from));
    header.set_dst_addr(to);
    header.set_ethertype(EthernetProtocol::Ipv4);
}

/// Updates the state of the connection's output, and leaves the checksum to the card if it can complete it.
fn finish(
    packet: &mut [u8],
    checksum: bool,
    segment: Option<u16>,
    is_closed: bool,
    last: &mut Option<LastSent>,
) -> TxOffload {
    let ip = Ipv4Packet::new_unchecked(&*packet);
    if ip.next_header() != IpProtocol::Tcp {
        return TxOffload::default();
    }
    let (source, destination, start) = (ip.src_addr(), ip.dst_addr(), usize::from(ip.header_len()));
    let Some(segment_bytes) = packet.get_mut(start..) else { return TxOffload::default() };
    let len = segment_bytes.len();
    let mut tcp = TcpPacket::new_unchecked(segment_bytes);
    let (occupies, ack) = (tcp.segment_len(), tcp.ack_number());
    let mut next = tcp.seq_number() + occupies;
    // smoltcp's probe of a closed window, see `Port::is_closed`.
    if let Some(last) = *last
        && is_closed
        && next == last.next + 1
        && !tcp.fin()
    {
        next = last.next;
    }
    if let Some(last) = *last
        && last.next > next
    {
        next = last.next;
        // After a retransmission timeout, smoltcp puts the sequence number from which it restarts on bare
        // acknowledgements too. That lies before the peer's window: two such peers would ignore each other's
        // acknowledgements for ever. RFC 9293 §3.10.7.4 requires SND.NXT here.
        if occupies == 0 && !tcp.rst() {
            tcp.set_seq_number(next);
            if !checksum {
                tcp.fill_checksum(&IpAddress::Ipv4(source), &IpAddress::Ipv4(destination));
            }
        }
    }
    *last = Some(LastSent { next, ack });
    if !checksum {
        return TxOffload::default();
    }
    tcp.set_checksum(pseudo_header_sum(source.octets(), destination.octets(), len));
    TxOffload {
        checksum: Some(ChecksumOffload { start: (ETHERNET_LEN + start) as u16, offset: TCP_CHECKSUM_OFFSET }),
        tso4_segment: segment,
    }
}

/// How many of a packet's content bytes were sent before.
fn sent_before(packet: &[u8], last: Option<&LastSent>) -> u32 {
    let ip = Ipv4Packet::new_unchecked(packet);
    let Some(last) = last.filter(|_| ip.next_header() == IpProtocol::Tcp) else { return 0 };
    let tcp = TcpPacket::new_unchecked(ip.payload());
    let (seq, len) = (tcp.seq_number(), tcp.payload().len());
    if len == 0 || seq >= last.next { 0 } else { (last.next - seq).min(len) as u32 }
}

/// The folded one's-complement sum of the TCP pseudo-header (RFC 9293 §3.1), not inverted.
fn pseudo_header_sum(source: [u8; 4], destination: [u8; 4], len: usize) -> u16 {
    let word = |b: [u8; 4]| {
        u32::from(u16::from_be_bytes([b[0], b[1]])) + u32::from(u16::from_be_bytes([b[2], b[3]]))
    };
    // A TSO frame is at most 64 KiB and a few headers, so the sum of seven 16-bit words cannot overflow.
    let mut sum = word(source) + word(destination) + 6 + len as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A device with capabilities only, which is all that creating an [`smoltcp::iface::Interface`] needs.
pub(super) struct CapabilitiesOnly(pub(super) DeviceCapabilities);

impl Device for CapabilitiesOnly {
    type RxToken<'t> = Received<'t>;
    type TxToken<'t> = NoTransmit;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, NoTransmit)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<NoTransmit> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.clone()
    }
}

/// A token that is never constructed.
pub(super) enum NoTransmit {}

impl TxToken for NoTransmit {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}
