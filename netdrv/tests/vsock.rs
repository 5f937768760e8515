//! virtio-vsock against a fake device: protocol, credit, and all faults of a peer or device.

mod support;

use netdrv::{
    queue::QueueError,
    stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr},
    transport::DeviceError,
    vsock::{CONNECT_TIMEOUT_NS, MAX_STREAMS, RECEIVE_BUFFER, VirtioVsock, VsockErrors},
};
use proptest::prelude::*;
use support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};

const RX: usize = 0;
const TX: usize = 1;
const EVENTS: usize = 2;
const CID: u32 = 5;
const HOST: u32 = 2;

const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RST: u16 = 3;
const SHUTDOWN: u16 = 4;
const RW: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;

/// A packet as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    from: (u32, u32),
    to: (u32, u32),
    kind: u16,
    op: u16,
    flags: u32,
    buf_alloc: u32,
    fwd_cnt: u32,
    len: u32,
    data: Vec<u8>,
}

impl Packet {
    fn host(op: u16, host_port: u32, guest_port: u32) -> Self {
        Self {
            from: (HOST, host_port),
            to: (CID, guest_port),
            kind: 1,
            op,
            flags: 0,
            buf_alloc: 262_144,
            fwd_cnt: 0,
            len: 0,
            data: Vec::new(),
        }
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self.len = data.len() as u32;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(u64::from(self.from.0).to_le_bytes());
        out.extend(u64::from(self.to.0).to_le_bytes());
        for word in [self.from.1, self.to.1, self.len] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.kind.to_le_bytes());
        out.extend(self.op.to_le_bytes());
        for word in [self.flags, self.buf_alloc, self.fwd_cnt] {
            out.extend(word.to_le_bytes());
        }
        out.extend(&self.data);
        out
    }

    fn parse(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((word(4), word(12)), (0, 0));
        assert_eq!(word(24) as usize, bytes.len() - 44);
        Self {
            from: (word(0), word(16)),
            to: (word(8), word(20)),
            len: word(24),
            kind: half(28),
            op: half(30),
            flags: word(32),
            buf_alloc: word(36),
            fwd_cnt: word(40),
            data: bytes[44..].to_vec(),
        }
    }
}

/// A guest and its host.
struct Pair {
    machine: FakeMachine,
    vsock: VirtioVsock<FakeMachine>,
    now: u64,
}

fn device(offered: u64) -> FakeDevice {
    FakeDevice::new(19, offered, &u64::from(CID).to_le_bytes(), &[128, 128, 64])
}

impl Pair {
    fn new() -> Self {
        Self::with(VERSION_1 | EVENT_IDX | 1)
    }

    fn with(offered: u64) -> Self {
        let machine = FakeMachine::new(vec![device(offered)]);
        let vsock = VirtioVsock::new(machine.clone(), FakeMachine::address(0)).expect("a device");
        Self { machine, vsock, now: 1_000_000 }
    }

    /// The host sends; the guest polls.
    fn send(&mut self, packet: &Packet) {
        assert!(self.machine.queue(RX).deliver(&packet.bytes()), "no receive buffer");
        self.poll();
    }

    fn poll(&mut self) {
        self.vsock.poll(self.now);
        self.vsock.flush();
    }

    /// What the guest has sent.
    fn sent(&mut self) -> Vec<Packet> {
        self.vsock.flush();
        let packets = self.machine.queue(TX).drain().iter().map(|bytes| Packet::parse(bytes)).collect();
        self.poll();
        packets
    }

    fn ops(&mut self) -> Vec<u16> {
        self.sent().iter().map(|packet| packet.op).collect()
    }

    fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.vsock.next_event()).collect()
    }

    /// A stream the guest opened to host port 9000; returns it and its local port.
    fn connected(&mut self) -> (StreamId, u32) {
        let stream = self.vsock.connect(VsockAddr { cid: HOST, port: 9000 }, self.now).expect("a stream");
        let request = self.sent().pop().expect("a request");
        assert_eq!(
            (request.op, request.kind, request.to, request.buf_alloc),
            (REQUEST, 1, (HOST, 9000), RECEIVE_BUFFER)
        );
        assert_eq!(request.from.0, CID);
        self.send(&Packet::host(RESPONSE, 9000, request.from.1));
        assert_eq!(self.events(), [StreamEvent::Connected(stream)]);
        (stream, request.from.1)
    }

    /// A stream the host opened from its port to guest port 80.
    fn accepted(&mut self, host_port: u32) -> StreamId {
        self.vsock.listen(80);
        self.send(&Packet::host(REQUEST, host_port, 80));
        match self.events()[..] {
            [StreamEvent::Accepted { stream, port: 80, peer: VsockAddr { cid: HOST, port } }] => {
                assert_eq!(port, host_port);
                assert_eq!(self.ops(), [RESPONSE]);
                stream
            }
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn connect_exchange_and_close() {
    for offered in [VERSION_1, VERSION_1 | EVENT_IDX, VERSION_1 | EVENT_IDX | 1] {
        let mut pair = Pair::with(offered);
        let (stream, port) = pair.connected();
        assert_eq!(pair.vsock.send(stream, b"hello"), 5);
        let packet = pair.sent().remove(0);
        assert_eq!((packet.op, &packet.data[..]), (RW, &b"hello"[..]));
        pair.send(&Packet::host(RW, 9000, port).data(b"world"));
        assert_eq!(pair.events(), [StreamEvent::Readable(stream)]);
        assert_eq!(pair.vsock.readable(stream), b"world");
        pair.vsock.consume(stream, 5);
        assert!(pair.vsock.readable(stream).is_empty());
        pair.vsock.release(stream);
        let shutdown = pair.sent().remove(0);
        assert_eq!((shutdown.op, shutdown.flags, shutdown.fwd_cnt), (SHUTDOWN, 3, 5));
        pair.send(&Packet::host(RST, 9000, port));
        assert_eq!(pair.events(), []);
        assert_eq!(pair.sent(), []);
        assert_eq!(pair.vsock.next_deadline().filter(|&at| at > pair.now + 3 * CONNECT_TIMEOUT_NS), None);
    }
}

#[test]
fn accepts_only_where_it_listens() {
    let mut pair = Pair::new();
    pair.send(&Packet::host(REQUEST, 1000, 80));
    assert_eq!(pair.ops(), [RST]);
    let stream = pair.accepted(1000);
    assert_eq!(pair.vsock.send(stream, b"x"), 1);
    assert_eq!(pair.ops(), [RW]);
    assert_eq!(pair.vsock.errors().unknown_stream, 1);
}

#[test]
fn refusal_time_out_and_late_answers() {
    let mut pair = Pair::new();
    let host = VsockAddr { cid: HOST, port: 1 };
    let refused = pair.vsock.connect(host, pair.now).expect("a stream");
    let port = pair.sent()[0].from.1;
    pair.send(&Packet::host(RST, 1, port));
    assert_eq!(pair.events(), [StreamEvent::Closed(refused, CloseReason::Reset)]);
    pair.vsock.release(refused);

    let unanswered = pair.vsock.connect(host, pair.now).expect("a stream");
    assert_ne!(unanswered, refused);
    let port = pair.sent()[0].from.1;
    assert_eq!(pair.vsock.next_deadline(), Some(pair.now + CONNECT_TIMEOUT_NS));
    pair.now += CONNECT_TIMEOUT_NS;
    pair.poll();
    assert_eq!(pair.events(), [StreamEvent::Closed(unanswered, CloseReason::TimedOut)]);
    assert_eq!(pair.ops(), [RST]);
    assert_eq!(pair.vsock.next_deadline(), None);
    // A late reply finds no stream.
    pair.send(&Packet::host(RESPONSE, 1, port));
    assert_eq!(pair.ops(), [RST]);
    assert_eq!(pair.events(), []);
    // The old id has no effect any more, not even after its slot is reused.
    pair.vsock.release(unanswered);
    let (stream, _) = pair.connected();
    assert_eq!(stream.slot, unanswered.slot);
    assert_eq!((pair.vsock.send(unanswered, b"x"), pair.vsock.send_room(unanswered)), (0, 0));
    pair.vsock.release(unanswered);
    assert_eq!(pair.vsock.send(stream, b"x"), 1);
}

#[test]
fn never_sends_more_than_the_peer_takes() {
    let mut pair = Pair::new();
    pair.vsock.listen(80);
    pair.send(&Packet { buf_alloc: 1000, ..Packet::host(REQUEST, 7, 80) });
    let Some(StreamEvent::Accepted { stream, .. }) = pair.vsock.next_event() else { panic!("no stream") };
    assert_eq!(pair.ops(), [RESPONSE]);
    assert_eq!(pair.vsock.send_room(stream), 1000);
    assert_eq!(pair.vsock.send(stream, &[1; 3000]), 1000);
    assert_eq!((pair.vsock.send_room(stream), pair.vsock.send(stream, &[1; 10])), (0, 0));
    // It requests credit, once.
    assert_eq!(pair.ops(), [RW, CREDIT_REQUEST]);
    pair.send(&Packet { buf_alloc: 1000, fwd_cnt: 400, ..Packet::host(CREDIT_UPDATE, 7, 80) });
    assert_eq!(pair.events(), [StreamEvent::Writable(stream)]);
    assert_eq!(pair.vsock.send(stream, &[1; 3000]), 400);
    // A peer that shrinks its buffer gets nothing more, and does no harm.
    pair.send(&Packet { buf_alloc: 0, fwd_cnt: 400, ..Packet::host(CREDIT_UPDATE, 7, 80) });
    assert_eq!(pair.vsock.send(stream, &[1; 10]), 0);
    pair.send(&Packet { buf_alloc: 1000, fwd_cnt: 1400, ..Packet::host(CREDIT_UPDATE, 7, 80) });
    assert_eq!(pair.vsock.send_room(stream), 1000);
}

#[test]
fn bulk_data_goes_in_large_packets_and_send_room_is_exact() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    let room = pair.vsock.send_room(stream);
    assert!(room >= 128 * 1024 - 4 * 44, "{room}");
    let data: Vec<u8> = (0..room + 1).map(|i| i as u8).collect();
    assert_eq!(pair.vsock.send(stream, &data), room);
    assert_eq!(pair.vsock.send_room(stream), 0);
    let packets = pair.sent();
    assert_eq!(packets[0].data.len(), 32 * 1024 - 44);
    let arrived: Vec<u8> = packets.into_iter().filter(|p| p.op == RW).flat_map(|p| p.data).collect();
    assert_eq!(arrived, data[..room]);
    assert_eq!(pair.events(), [StreamEvent::Writable(stream)]);
}

#[test]
fn returns_credit_when_half_is_consumed_or_asked() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    for _ in 0..4 {
        pair.send(&Packet::host(RW, 7, 80).data(&[9; 16_000]));
    }
    assert_eq!(pair.ops(), []);
    pair.vsock.consume(stream, 32_000);
    assert_eq!(pair.ops(), []);
    pair.vsock.consume(stream, 1_000);
    let update = pair.sent().remove(0);
    assert_eq!((update.op, update.fwd_cnt, update.buf_alloc), (CREDIT_UPDATE, 33_000, RECEIVE_BUFFER));
    pair.vsock.consume(stream, 10);
    pair.send(&Packet::host(CREDIT_REQUEST, 7, 80));
    let update = pair.sent().remove(0);
    assert_eq!((update.op, update.fwd_cnt), (CREDIT_UPDATE, 33_010));
}

/// A response to a request cannot have been sent before the peer read any byte of the request.
#[test]
fn what_was_sent_before_the_question_was_taken_in_is_told_apart() {
    let mut pair = Pair::new();
    let (stream, port) = pair.connected();
    let say = |pair: &mut Pair, consumed: u32, bytes: &[u8]| {
        let mut packet = Packet::host(RW, 9000, port).data(bytes);
        packet.fwd_cnt = consumed;
        pair.send(&packet);
    };
    say(&mut pair, 0, b"greeting");
    assert!(!pair.vsock.spoke_early(stream), "nothing was asked");
    pair.vsock.ask(stream);
    say(&mut pair, 0, b"before a byte was sent");
    assert!(pair.vsock.spoke_early(stream));
    pair.vsock.ask(stream);
    assert_eq!(pair.vsock.send(stream, b"question"), 8);
    say(&mut pair, 1, b"answer");
    assert!(pair.vsock.has_unread(stream));
    say(&mut pair, 8, b"more of it");
    assert!(!pair.vsock.has_unread(stream));
    assert!(!pair.vsock.spoke_early(stream));
    pair.vsock.ask(stream);
    assert_eq!(pair.vsock.send(stream, b"another"), 7);
    say(&mut pair, 8, b"surplus of the first answer");
    // Once true, it stays true, even if credit follows before anyone checks.
    say(&mut pair, 15, b"answer");
    assert!(pair.vsock.spoke_early(stream));
    pair.vsock.ask(stream);
    assert!(!pair.vsock.spoke_early(stream));
}

#[test]
fn a_credit_overrun_ends_the_stream() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    for _ in 0..4 {
        pair.send(&Packet::host(RW, 7, 80).data(&[9; 16_300]));
    }
    pair.send(&Packet::host(RW, 7, 80).data(&[9; 337]));
    assert_eq!(pair.ops(), [RST]);
    let events = pair.events();
    assert_eq!(events.last(), Some(&StreamEvent::Closed(stream, CloseReason::Protocol)));
    // Data within its credit can still be read.
    assert_eq!(pair.vsock.readable(stream).len(), 65_200);
    pair.vsock.consume(stream, 65_200);
    pair.vsock.release(stream);
    assert_eq!(pair.ops(), []);
    assert_eq!(pair.vsock.errors().protocol, 1);
}

#[test]
fn impossible_counts_and_operations_end_the_stream() {
    let breaches = [
        Packet { fwd_cnt: 1, ..Packet::host(CREDIT_UPDATE, 7, 80) },
        Packet { fwd_cnt: u32::MAX, ..Packet::host(RW, 7, 80) },
        Packet::host(RESPONSE, 7, 80),
        Packet::host(REQUEST, 7, 80),
        Packet::host(99, 7, 80),
    ];
    for breach in breaches {
        let mut pair = Pair::new();
        let stream = pair.accepted(7);
        pair.send(&breach);
        assert_eq!(pair.events(), [StreamEvent::Closed(stream, CloseReason::Protocol)], "{breach:?}");
        assert_eq!(pair.ops(), [RST]);
    }
    // The same while connecting.
    let mut pair = Pair::new();
    let stream = pair.vsock.connect(VsockAddr { cid: HOST, port: 9 }, 1).expect("a stream");
    let port = pair.sent()[0].from.1;
    pair.send(&Packet::host(RW, 9, port).data(b"too early"));
    assert_eq!(pair.events(), [StreamEvent::Closed(stream, CloseReason::Protocol)]);
}

/// vhost-device-vsock sends such headers when it has nothing to send.
#[test]
fn a_header_without_operation_only_carries_credit() {
    let mut pair = Pair::new();
    pair.accepted(7);
    pair.send(&Packet::host(0, 7, 80));
    assert_eq!((pair.events(), pair.ops()), (vec![], vec![]));
    // Its counts are checked like any others.
    pair.send(&Packet { fwd_cnt: 1, ..Packet::host(0, 7, 80) });
    assert_eq!(pair.ops(), [RST]);
    assert_eq!(pair.vsock.errors().protocol, 1);
}

#[test]
fn shutdown_ends_when_both_directions_are_shut() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    pair.send(&Packet::host(RW, 7, 80).data(b"last words"));
    pair.send(&Packet { flags: 2, ..Packet::host(SHUTDOWN, 7, 80) });
    assert_eq!(pair.events(), [StreamEvent::Readable(stream)]);
    assert_eq!(pair.ops(), []);
    pair.send(&Packet { flags: 1, ..Packet::host(SHUTDOWN, 7, 80) });
    assert_eq!(pair.events(), [StreamEvent::Closed(stream, CloseReason::Shutdown)]);
    assert_eq!(pair.ops(), [RST]);
    assert_eq!(pair.vsock.readable(stream), b"last words");
    assert_eq!(pair.vsock.send(stream, b"x"), 0);
    pair.vsock.release(stream);
    // The same address can connect again.
    pair.accepted(7);
}

#[test]
fn release_is_orderly_only_when_everything_was_read() {
    let mut pair = Pair::new();
    let unread = pair.accepted(7);
    pair.send(&Packet::host(RW, 7, 80).data(b"unread"));
    pair.vsock.release(unread);
    assert_eq!(pair.ops(), [RST]);
    pair.events();
    // Bytes sent earlier precede the shutdown; a peer that does not reply to it is reset after the time limit.
    let stream = pair.accepted(8);
    pair.vsock.send(stream, b"bye");
    pair.vsock.release(stream);
    assert_eq!(pair.ops(), [RW, SHUTDOWN]);
    pair.send(&Packet::host(RW, 8, 80).data(b"ignored"));
    assert_eq!((pair.ops(), pair.events()), (vec![], vec![]));
    pair.now += 2 * CONNECT_TIMEOUT_NS;
    pair.poll();
    assert_eq!(pair.ops(), [RST]);
    // Both at once.
    let stream = pair.accepted(9);
    pair.vsock.release(stream);
    pair.send(&Packet { flags: 3, ..Packet::host(SHUTDOWN, 9, 80) });
    assert_eq!(pair.ops(), [SHUTDOWN, RST]);
    pair.send(&Packet::host(RW, 9, 80));
    assert_eq!(pair.ops(), [RST], "forgotten");
}

#[test]
fn the_table_is_bounded() {
    let mut pair = Pair::new();
    pair.vsock.listen(80);
    for port in 0..MAX_STREAMS as u32 {
        pair.send(&Packet::host(REQUEST, port, 80));
        assert_eq!(pair.ops(), [RESPONSE]);
    }
    pair.send(&Packet::host(REQUEST, 5000, 80));
    assert_eq!(pair.ops(), [RST]);
    assert_eq!(pair.vsock.errors().refused, 1);
    let host = VsockAddr { cid: HOST, port: 1 };
    assert_eq!(pair.vsock.connect(host, 1), Err(ConnectError::TooManyStreams));
    let events = pair.events();
    assert_eq!(events.len(), MAX_STREAMS);
    let StreamEvent::Accepted { stream, .. } = events[17] else { panic!("no stream") };
    pair.send(&Packet::host(RST, 17, 80));
    pair.vsock.release(stream);
    assert!(pair.vsock.connect(host, 1).is_ok());
}

#[test]
fn events_coalesce() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    for _ in 0..100 {
        pair.send(&Packet::host(RW, 7, 80).data(b"abc"));
    }
    assert_eq!(pair.events(), [StreamEvent::Readable(stream)]);
    assert_eq!(pair.vsock.readable(stream).len(), 300);
}

#[test]
fn floods_are_answered_within_bounds() {
    let mut pair = Pair::new();
    // RSTs never get a reply.
    for port in 0..1000 {
        pair.send(&Packet::host(RST, port, 80));
    }
    assert_eq!(pair.ops(), []);
    // Packets for no stream do, as far as there is room; the device accepts no replies meanwhile.
    for port in 0..2000 {
        pair.send(&Packet::host(RW, port, 80).data(b"?"));
    }
    let errors = pair.vsock.errors();
    assert_eq!(errors.unknown_stream, 2000);
    assert_eq!(errors.answers_dropped, 2000 - 32 - 320);
    let mut answers = 0;
    loop {
        let ops = pair.ops();
        if ops.is_empty() {
            break;
        }
        assert!(ops.iter().all(|&op| op == RST));
        answers += ops.len();
    }
    assert_eq!(answers, 352);
    pair.accepted(7);
}

#[test]
fn bulk_data_leaves_room_for_control_packets() {
    let mut pair = Pair::new();
    let bulk = pair.accepted(7);
    let other = pair.accepted(8);
    while pair.vsock.send(bulk, &[0; 100]) > 0 {}
    assert_eq!(pair.vsock.send_room(other), 0);
    assert_eq!(pair.vsock.send(other, b"waits"), 0);
    pair.send(&Packet::host(CREDIT_REQUEST, 7, 80));
    assert!(!pair.machine.queue(TX).drain().is_empty());
    pair.poll();
    let events = pair.events();
    assert!(events.contains(&StreamEvent::Writable(bulk)) && events.contains(&StreamEvent::Writable(other)));
}

#[test]
fn malformed_packets_are_dropped() {
    let mut pair = Pair::new();
    let stream = pair.accepted(7);
    let good = Packet::host(RW, 7, 80).data(b"data").bytes();
    // Too short for a header, and one that announces more data than it has.
    for len in [1, 43, 44, 47] {
        assert!(pair.machine.queue(RX).deliver(&good[..len]));
    }
    for lie in [5u32, 16_341, u32::MAX] {
        let packet = Packet { len: lie, ..Packet::host(RW, 7, 80).data(b"data") };
        assert!(pair.machine.queue(RX).deliver(&packet.bytes()));
    }
    // A payload where none is allowed; identifiers beyond 32 bits.
    assert!(pair.machine.queue(RX).deliver(&Packet::host(RST, 7, 80).data(b"data").bytes()));
    let mut wide = good.clone();
    wide[4] = 1;
    assert!(pair.machine.queue(RX).deliver(&wide));
    pair.poll();
    assert_eq!(pair.vsock.errors().malformed, 9);
    // A buffer returned unused is not an error.
    assert!(pair.machine.queue(RX).deliver(&[]));
    pair.poll();
    assert_eq!(pair.vsock.errors().malformed, 9);
    // A packet for another machine.
    pair.send(&Packet { to: (CID + 1, 80), ..Packet::host(RW, 7, 80).data(b"data") });
    assert_eq!(pair.vsock.errors().misdirected, 1);
    // Another socket type: refused with the same type.
    pair.send(&Packet { kind: 2, ..Packet::host(REQUEST, 7, 80) });
    assert_eq!(pair.ops(), [RST]);
    // A forged sender cannot reach another peer's stream.
    pair.send(&Packet { from: (9, 7), ..Packet::host(RST, 7, 80) });
    assert_eq!((pair.events(), pair.vsock.send(stream, b"x")), (vec![], 1));
}

/// vhost-device-vsock 0.3 does this, reporting the length of a header, if the connection for which it had data is gone.
#[test]
fn a_buffer_given_back_unwritten_repeats_nothing() {
    let mut pair = Pair::new();
    pair.accepted(7);
    pair.send(&Packet::host(RST, 7, 80));
    assert_eq!(pair.events().len(), 1);
    let other = pair.accepted(8);
    for given in 0..1000 {
        let mut queue = pair.machine.queue(RX);
        let chain = queue.take().expect("a buffer");
        queue.complete(chain.id, 44);
        drop(queue);
        pair.poll();
        assert_eq!((pair.events(), pair.ops()), (vec![], vec![]), "buffer {given}");
    }
    assert_eq!(pair.vsock.errors(), VsockErrors::default());
    assert_eq!(pair.vsock.send(other, b"x"), 1);
}

#[test]
fn transport_reset_ends_all_streams_and_renews_the_identifier() {
    let mut pair = Pair::new();
    let open = pair.accepted(7);
    let connecting = pair.vsock.connect(VsockAddr { cid: HOST, port: 9 }, pair.now).expect("a stream");
    pair.sent();
    pair.machine.device_mut(0).config = 6u64.to_le_bytes().to_vec();
    assert!(pair.machine.queue(EVENTS).deliver(&0u32.to_le_bytes()));
    assert!(!pair.vsock.arm(), "an event is work");
    pair.poll();
    let reason = CloseReason::TransportReset;
    assert_eq!(pair.events(), [StreamEvent::Closed(open, reason), StreamEvent::Closed(connecting, reason)]);
    assert_eq!(pair.vsock.cid(), 6);
    assert_eq!(pair.machine.queue(EVENTS).available(), 4);
    // An unknown event, or one that is too short, changes nothing.
    pair.machine.queue(EVENTS).deliver(&7u32.to_le_bytes());
    pair.machine.queue(EVENTS).deliver(&[0]);
    pair.poll();
    assert_eq!((pair.events(), pair.vsock.errors().malformed), (vec![], 2));
}

/// Faults of a hostile device in its receive queue, and the expected errors.
type Attack = (fn(&mut support::DeviceQueue), QueueError);

#[test]
fn a_hostile_device_is_reset_and_goes_on() {
    let attacks: [Attack; 4] = [
        (
            |queue| {
                queue.write_used(4000, 44);
                queue.set_used_idx(queue.used_idx.wrapping_add(1))
            },
            QueueError::BadId,
        ),
        (
            |queue| {
                let chain = queue.take().expect("a buffer");
                queue.complete(chain.id, 16_385)
            },
            QueueError::BadLength,
        ),
        (|queue| queue.set_used_idx(queue.used_idx.wrapping_add(100)), QueueError::IndexJump),
        (
            |queue| {
                queue.write_used(20, 44);
                queue.set_used_idx(queue.used_idx.wrapping_add(1))
            },
            QueueError::NotInFlight,
        ),
    ];
    for (attack, error) in attacks {
        let mut pair = Pair::new();
        let stream = pair.accepted(7);
        attack(&mut pair.machine.queue(RX));
        pair.vsock.poll(pair.now);
        assert_eq!(pair.vsock.errors().last, Some(error));
        assert!(!pair.vsock.arm());
        pair.poll();
        assert_eq!(pair.events(), [StreamEvent::Closed(stream, CloseReason::TransportReset)]);
        assert_eq!(pair.machine.queue(RX).available(), 16);
        pair.vsock.release(stream);
        pair.connected();
    }
    // Repeatedly, until it is given up.
    let mut pair = Pair::new();
    for _ in 0..40 {
        if pair.machine.queue(RX).enabled == 1 {
            pair.machine.queue(RX).set_used_idx(999);
        }
        pair.poll();
    }
    assert!(pair.vsock.is_dead());
    assert_eq!(pair.vsock.connect(VsockAddr { cid: HOST, port: 1 }, 1), Err(ConnectError::NoTransport));
    assert!(pair.vsock.arm());
}

#[test]
fn refuses_identifiers_that_are_nobodys() {
    for cid in [0u64, 1, 2, 0xffff_ffff, 1 << 32] {
        let device = FakeDevice::new(19, VERSION_1, &cid.to_le_bytes(), &[128, 128, 64]);
        let machine = FakeMachine::new(vec![device]);
        let error = VirtioVsock::new(machine, FakeMachine::address(0)).err();
        assert_eq!(error, Some(DeviceError::BadConfiguration), "{cid}");
    }
}

#[test]
fn memory_is_bounded() {
    let pair = Pair::new();
    assert!(pair.machine.dma_bytes() <= 448 * 1024 + 8 * 4096, "{}", pair.machine.dma_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever packets arrive, in whatever order: no panic, and streams stay within their limits.
    #[test]
    fn survives_any_packets(
        steps in prop::collection::vec(
            (0u32..3, 0u32..3, 0u16..9, 0u32..4, any::<u32>(), 0u32..3, 0usize..20_000, 0u8..8), 1..150),
    ) {
        let mut pair = Pair::new();
        pair.vsock.listen(80);
        let mut streams = Vec::new();
        for (port, to, op, flags, buf_alloc, fwd_cnt, len, what) in steps {
            let mut packet = Packet { flags, buf_alloc, fwd_cnt, ..Packet::host(op, port, 79 + to) };
            if op == RW { packet = packet.data(&vec![7; len.min(16_340)]); }
            pair.machine.queue(RX).deliver(&packet.bytes());
            pair.vsock.poll(pair.now);
            for event in pair.events() {
                if let StreamEvent::Accepted { stream, .. } = event { streams.push(stream); }
            }
            for &stream in &streams {
                match what {
                    0 => { let n = pair.vsock.readable(stream).len(); pair.vsock.consume(stream, n); }
                    1 => { let room = pair.vsock.send_room(stream); prop_assert_eq!(pair.vsock.send(stream, &vec![1; room]), room); }
                    2 => pair.vsock.release(stream),
                    3 => { pair.sent(); }
                    4 => pair.now += CONNECT_TIMEOUT_NS / 2,
                    5 => { if streams.len() < 20 { let _ = pair.vsock.connect(VsockAddr { cid: HOST, port }, pair.now); } }
                    _ => { pair.vsock.flush(); let _ = pair.vsock.arm(); }
                }
                prop_assert!(pair.vsock.readable(stream).len() <= RECEIVE_BUFFER as usize);
            }
        }
        prop_assert_eq!(pair.vsock.errors().ring, 0);
    }

    /// Whatever bytes arrive: no panic, no ring error.
    #[test]
    fn survives_any_bytes(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..50)) {
        let mut pair = Pair::new();
        pair.vsock.listen(80);
        for bytes in packets {
            pair.machine.queue(RX).deliver(&bytes);
            pair.poll();
            pair.sent();
        }
        prop_assert_eq!(pair.vsock.errors().ring, 0);
    }
}
