#[path = "closed_window_tests.rs"]
mod closed_window;

use super::*;
use netdrv::nic::{RxFrame, TxFull, TxOffload};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const US: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const PEER: Ipv4Address = Ipv4Address::new(10, 0, 0, 9);

/// A card that keeps what is sent.
struct Card {
    info: NicInfo,
    sent: VecDeque<(Vec<u8>, TxOffload)>,
    room: usize,
}

impl Card {
    fn new() -> Self {
        Self {
            info: NicInfo { mac: MAC, mtu: 1500, tx_checksum: false, tso4_max: None },
            sent: VecDeque::new(),
            room: 64,
        }
    }
}

impl Nic for Card {
    type RxBuffer = Vec<u8>;

    fn info(&self) -> NicInfo {
        self.info
    }

    fn link_up(&self) -> bool {
        true
    }

    fn receive(&mut self) -> Option<RxFrame<Vec<u8>>> {
        None
    }

    fn recycle(&mut self, _: Vec<u8>) {}

    fn tx_room(&self) -> usize {
        self.room
    }

    fn transmit<R>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> (R, TxOffload),
    ) -> Result<R, TxFull> {
        self.room = self.room.checked_sub(1).ok_or(TxFull)?;
        let mut frame = vec![0; len];
        let (result, offload) = fill(&mut frame);
        self.sent.push_back((frame, offload));
        Ok(result)
    }

    fn flush(&mut self) {}

    fn arm(&mut self, _: bool) -> bool {
        true
    }
}

struct Bench {
    stack: Stack<u32>,
    card: Card,
    now: Instant,
}

impl Bench {
    fn new(address: Option<StaticAddress>, card: Card) -> Self {
        let config = StackConfig {
            address,
            ports: vec![80],
            buffer_bytes: 1 << 20,
            max_connections: 8,
            max_half_open: 4,
            handshake_timeout: Duration::from_secs(15),
            seed: [1, 2, 3, 4],
        };
        let stack = Stack::new(config, card.info, Instant::ZERO);
        Self { stack, card, now: Instant::ZERO }
    }

    fn with_static_address() -> Self {
        let address = StaticAddress { address: US.octets(), prefix_len: 8, gateway: None };
        Self::new(Some(address), Card::new())
    }

    fn receive(&mut self, frame: &[u8]) -> Option<ConnId> {
        self.stack.receive(self.now, &mut frame.to_vec(), false, &mut self.card)
    }

    fn flush(&mut self, id: ConnId) -> Flushed<u32> {
        self.stack.flush(id, self.now, &mut self.card)
    }

    /// The next frame sent, without its Ethernet header.
    fn sent(&mut self) -> Option<Vec<u8>> {
        self.card.sent.pop_front().map(|(frame, _)| frame[14..].to_vec())
    }

    fn sent_segment(&mut self) -> Option<Segment> {
        self.sent().map(|packet| Segment::parse(&packet))
    }

    /// Completes a handshake from `port`; returns the connection and both sides' next sequence numbers.
    fn connect(&mut self, port: u16) -> (ConnId, TcpSeqNumber, TcpSeqNumber) {
        let ours = TcpSeqNumber(1000);
        let id = self.receive(&segment(port, 80, TcpControl::Syn, ours, None, b"")).unwrap();
        self.flush(id);
        let reply = self.sent_segment().unwrap();
        assert_eq!((reply.control, reply.ack), (TcpControl::Syn, Some(ours + 1)));
        self.receive(&segment(port, 80, TcpControl::None, ours + 1, Some(reply.seq + 1), b"")).unwrap();
        self.flush(id);
        (id, ours + 1, reply.seq + 1)
    }
}

#[derive(Debug)]
struct Segment {
    control: TcpControl,
    seq: TcpSeqNumber,
    ack: Option<TcpSeqNumber>,
    window: u16,
    payload: Vec<u8>,
}

impl Segment {
    fn parse(packet: &[u8]) -> Self {
        let ip = Ipv4Packet::new_checked(packet).unwrap();
        assert!(ip.verify_checksum());
        let (from, to) = (IpAddress::Ipv4(ip.src_addr()), IpAddress::Ipv4(ip.dst_addr()));
        let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
        let repr = TcpRepr::parse(&tcp, &from, &to, &ChecksumCapabilities::default()).unwrap();
        Self {
            control: repr.control,
            seq: repr.seq_number,
            ack: repr.ack_number,
            window: repr.window_len,
            payload: repr.payload.to_vec(),
        }
    }
}

fn ethernet(ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14 + payload.len()];
    let repr = EthernetRepr { src_addr: PEER_MAC, dst_addr: EthernetAddress(MAC), ethertype };
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    repr.emit(&mut ethernet);
    ethernet.payload_mut().copy_from_slice(payload);
    frame
}

fn ipv4(protocol: IpProtocol, to: Ipv4Address, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: PEER,
        dst_addr: to,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut packet = vec![0; repr.buffer_len() + payload.len()];
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &ChecksumCapabilities::default());
    packet[repr.buffer_len()..].copy_from_slice(payload);
    ethernet(EthernetProtocol::Ipv4, &packet)
}

fn segment(
    from_port: u16,
    to_port: u16,
    control: TcpControl,
    seq: TcpSeqNumber,
    ack: Option<TcpSeqNumber>,
    payload: &[u8],
) -> Vec<u8> {
    segment_with(from_port, to_port, control, seq, ack, 60_000, payload)
}

fn segment_with(
    from_port: u16,
    to_port: u16,
    control: TcpControl,
    seq: TcpSeqNumber,
    ack: Option<TcpSeqNumber>,
    window_len: u16,
    payload: &[u8],
) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: from_port,
        dst_port: to_port,
        control,
        seq_number: seq,
        ack_number: ack,
        window_len,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    let (from, to) = (IpAddress::Ipv4(PEER), IpAddress::Ipv4(US));
    repr.emit(&mut TcpPacket::new_unchecked(&mut bytes[..]), &from, &to, &ChecksumCapabilities::default());
    ipv4(IpProtocol::Tcp, US, &bytes)
}

#[test]
fn answers_arp_for_its_own_address_only() {
    let mut bench = Bench::with_static_address();
    for (asked, answered) in [(US, true), (Ipv4Address::new(10, 0, 0, 2), false)] {
        let request = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: PEER_MAC,
            source_protocol_addr: PEER,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: asked,
        };
        let mut bytes = [0; 28];
        request.emit(&mut ArpPacket::new_unchecked(&mut bytes[..]));
        bench.receive(&ethernet(EthernetProtocol::Arp, &bytes));
        let reply = bench.sent();
        assert_eq!(reply.is_some(), answered);
        if let Some(reply) = reply {
            let repr = ArpRepr::parse(&ArpPacket::new_checked(&reply[..]).unwrap()).unwrap();
            let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, .. } = repr
            else {
                panic!("{repr:?}");
            };
            assert_eq!(operation, ArpOperation::Reply);
            assert_eq!((source_hardware_addr, source_protocol_addr), (EthernetAddress(MAC), US));
        }
    }
}

#[test]
fn announces_its_address() {
    let mut bench = Bench::with_static_address();
    bench.stack.maintain(bench.now, &mut bench.card);
    let announcement = bench.sent().unwrap();
    let repr = ArpRepr::parse(&ArpPacket::new_checked(&announcement[..]).unwrap()).unwrap();
    assert!(matches!(repr, ArpRepr::EthernetIpv4 { source_protocol_addr: US, target_protocol_addr: US, .. }));
}

#[test]
fn answers_icmp_echo() {
    let mut bench = Bench::with_static_address();
    let echo = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 3, data: b"ping" };
    let mut bytes = vec![0; echo.buffer_len()];
    echo.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
    bench.receive(&ipv4(IpProtocol::Icmp, US, &bytes));
    let reply = bench.sent().unwrap();
    let ip = Ipv4Packet::new_checked(&reply[..]).unwrap();
    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
    let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 7, seq_no: 3, data: b"ping" });
}

#[test]
fn a_closed_port_answers_rst() {
    let mut bench = Bench::with_static_address();
    assert_eq!(bench.receive(&segment(5000, 81, TcpControl::Syn, TcpSeqNumber(1), None, b"")), None);
    assert_eq!(bench.sent_segment().unwrap().control, TcpControl::Rst);
}

#[test]
fn handshake_data_and_orderly_end() {
    let mut bench = Bench::with_static_address();
    let (id, seq, ack) = bench.connect(5000);
    assert_eq!((bench.stack.established(), bench.stack.half_open()), (1, 0));
    bench.receive(&segment(5000, 80, TcpControl::Psh, seq, Some(ack), b"hello")).unwrap();
    let (socket, _) = bench.stack.get(id).unwrap();
    assert_eq!(socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap(), b"hello");
    socket.send_slice(b"world").unwrap();
    socket.close();
    bench.flush(id);
    let reply = bench.sent_segment().unwrap();
    assert_eq!(
        (&reply.payload[..], reply.ack, reply.control),
        (&b"world"[..], Some(seq + 5), TcpControl::Fin)
    );
    // Our FIN is acknowledged by the peer's FIN: TIME-WAIT, kept as a record.
    bench.receive(&segment(5000, 80, TcpControl::Fin, seq + 5, Some(ack + 6), b""));
    assert_eq!(bench.flush(id), Flushed::Closed(0));
    let last = bench.sent_segment().unwrap();
    assert_eq!((last.seq, last.ack), (ack + 6, Some(seq + 6)));
    assert_eq!((bench.stack.established(), bench.stack.buffer_bytes()), (0, 0));
    // Our last acknowledgement was lost, and the peer repeats its FIN.
    bench.receive(&segment(5000, 80, TcpControl::Fin, seq + 5, Some(ack + 6), b""));
    let again = bench.sent_segment().unwrap();
    assert_eq!((again.control, again.seq, again.ack), (TcpControl::None, ack + 6, Some(seq + 6)));
    assert_eq!(bench.stack.counters().time_wait_answered, 1);
    // The tuple can be reused at once.
    bench.connect(5000);
}

#[test]
fn a_stale_id_does_not_reach_another_connection() {
    let mut bench = Bench::with_static_address();
    let (first, ..) = bench.connect(5000);
    bench.stack.get(first).unwrap().0.abort();
    bench.flush(first);
    let (second, ..) = {
        bench.card.sent.clear();
        bench.connect(5001)
    };
    assert_eq!(first.index(), second.index());
    assert!(bench.stack.get(first).is_none());
    assert_eq!(bench.flush(first), Flushed::Unknown);
}

#[test]
fn half_open_connections_are_bounded_and_give_way_and_time_out() {
    let mut bench = Bench::with_static_address();
    for port in 5000..5010 {
        let id = bench.receive(&segment(port, 80, TcpControl::Syn, TcpSeqNumber(1), None, b"")).unwrap();
        assert_eq!(bench.flush(id), Flushed::Done);
    }
    assert_eq!((bench.stack.half_open(), bench.stack.counters().half_open_evicted), (4, 6));
    bench.now = bench.now + Duration::from_secs(16);
    while bench.stack.pop_due(bench.now).is_some() {}
    assert_eq!((bench.stack.half_open(), bench.stack.counters().half_open_timed_out), (0, 4));
}

#[test]
fn an_unfinished_handshake_gives_way_where_there_is_no_room() {
    let mut bench = Bench::with_static_address();
    for port in 5000..5006 {
        bench.connect(port);
        bench.card.sent.clear();
        bench.card.room = 64;
    }
    let mut begin = |port| bench.receive(&segment(port, 80, TcpControl::Syn, TcpSeqNumber(1), None, b""));
    assert!([6000, 6001, 6002, 6003].map(&mut begin).iter().all(Option::is_some));
    let counters = bench.stack.counters();
    assert_eq!((counters.half_open_evicted, counters.connections_refused), (2, 0));
    assert_eq!((bench.stack.established(), bench.stack.half_open()), (6, 2));
}

#[test]
fn the_connection_limit_refuses_silently_and_counts() {
    let mut bench = Bench::with_static_address();
    for port in 5000..5008 {
        bench.connect(port);
        bench.card.sent.clear();
        bench.card.room = 64;
    }
    assert!(bench.stack.is_full());
    assert_eq!(bench.receive(&segment(6000, 80, TcpControl::Syn, TcpSeqNumber(1), None, b"")), None);
    assert_eq!(bench.stack.counters().connections_refused, 1);
    assert!(bench.sent().is_none());
}

#[test]
fn a_full_card_blocks_output_and_loses_nothing() {
    let mut bench = Bench::with_static_address();
    let (id, seq, ack) = bench.connect(5000);
    bench.stack.get(id).unwrap().0.send_slice(&[7; 5000]).unwrap();
    bench.card.room = REPLY_RESERVE;
    assert_eq!(bench.flush(id), Flushed::Blocked);
    assert!(bench.sent().is_none());
    bench.card.room = 64;
    assert_eq!(bench.flush(id), Flushed::Done);
    let first = bench.sent_segment().unwrap();
    assert_eq!((first.seq, first.ack), (ack, Some(seq)));
}

#[test]
fn checksums_are_left_to_a_card_that_completes_them() {
    let mut card = Card::new();
    card.info.tx_checksum = true;
    let address = StaticAddress { address: US.octets(), prefix_len: 8, gateway: None };
    let mut bench = Bench::new(Some(address), card);
    let id = bench.receive(&segment(5000, 80, TcpControl::Syn, TcpSeqNumber(1), None, b"")).unwrap();
    bench.flush(id);
    let (mut frame, offload) = bench.card.sent.pop_front().unwrap();
    let checksum = offload.checksum.unwrap();
    assert_eq!((checksum.start, checksum.offset), (34, 16));
    // What a card does: sum from `start` on, including the field, and store the complement.
    let sum: u32 =
        frame[34..].chunks(2).map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let complete = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[50..52].copy_from_slice(&complete.to_be_bytes());
    assert_eq!(Segment::parse(&frame[14..]).control, TcpControl::Syn);
}

#[test]
fn malformed_frames_are_counted_and_dropped() {
    let mut bench = Bench::with_static_address();
    let good = segment(5000, 80, TcpControl::Syn, TcpSeqNumber(1), None, b"");
    let mut bad_checksum = good.clone();
    *bad_checksum.last_mut().unwrap() ^= 1;
    let mut fragment = good.clone();
    fragment[14 + 6] = 0x20;
    let mut long = good.clone();
    long[14 + 3] = 255;
    for frame in [&good[..10], &good[..30], &bad_checksum, &long] {
        assert_eq!(bench.receive(frame), None);
    }
    assert_eq!(bench.stack.counters().frames_malformed, 4);
    assert_eq!(bench.receive(&fragment), None);
    assert_eq!(bench.stack.counters().frames_ignored, 1);
    assert!(bench.sent().is_none());
}

#[test]
fn dhcp_gives_an_address() {
    let mut bench = Bench::new(None, Card::new());
    assert_eq!(bench.stack.address(), None);
    for answer in [DhcpMessageType::Offer, DhcpMessageType::Ack] {
        while bench.card.sent.is_empty() {
            bench.now = bench.stack.next_deadline().expect("the client tries again").max(bench.now);
            bench.stack.maintain(bench.now, &mut bench.card);
        }
        let request = bench.sent().unwrap();
        let ip = Ipv4Packet::new_checked(&request[..]).unwrap();
        let udp = UdpPacket::new_checked(ip.payload()).unwrap();
        let dhcp = DhcpPacket::new_checked(udp.payload()).unwrap();
        let asked = DhcpRepr::parse(&dhcp).unwrap();
        let reply = DhcpRepr {
            message_type: answer,
            your_ip: US,
            server_ip: PEER,
            router: Some(PEER),
            subnet_mask: Some(Ipv4Address::new(255, 0, 0, 0)),
            server_identifier: Some(PEER),
            lease_duration: Some(3600),
            requested_ip: None,
            client_identifier: None,
            parameter_request_list: None,
            max_size: None,
            ..asked
        };
        let mut payload = vec![0; reply.buffer_len()];
        reply.emit(&mut DhcpPacket::new_unchecked(&mut payload[..])).unwrap();
        let repr = UdpRepr { src_port: 67, dst_port: 68 };
        let mut bytes = vec![0; repr.header_len() + payload.len()];
        repr.emit(
            &mut UdpPacket::new_unchecked(&mut bytes[..]),
            &IpAddress::Ipv4(PEER),
            &IpAddress::Ipv4(US),
            payload.len(),
            |buffer| buffer.copy_from_slice(&payload),
            &ChecksumCapabilities::default(),
        );
        bench.receive(&ipv4(IpProtocol::Udp, US, &bytes));
    }
    assert_eq!(bench.stack.address(), Some(IpAddr::V4(US)));
    bench.card.sent.clear();
    bench.connect(5000);
}
