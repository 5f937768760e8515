//! virtio-vsock with a hostile peer: any packets in any order, while we use our streams.

use crate::input::Input;
use crate::support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};
use netdrv::stream::{StreamEvent, StreamId, StreamTransport, VsockAddr};
use netdrv::vsock::{DEVICE_TYPE, MAX_STREAMS, RECEIVE_BUFFER, VirtioVsock};

const CID: u32 = 5;
const HOST: u32 = 2;
const RX: usize = 0;
const TX: usize = 1;

struct Peer {
    machine: FakeMachine,
    vsock: VirtioVsock<FakeMachine>,
    now_ns: u64,
    streams: Vec<StreamId>,
    /// Local ports of streams that we opened, as learned by the peer.
    ports: Vec<u32>,
}

/// Steps: one byte selects each, and its parameters follow.
pub fn vsock_packets(data: &[u8]) {
    let device =
        FakeDevice::new(DEVICE_TYPE, VERSION_1 | EVENT_IDX, &u64::from(CID).to_le_bytes(), &[16, 16, 16]);
    let machine = FakeMachine::new(vec![device]);
    let vsock = VirtioVsock::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    let mut peer = Peer { machine, vsock, now_ns: 1, streams: Vec::new(), ports: Vec::new() };
    peer.vsock.listen(80);
    let mut input = Input::new(data);
    while !input.is_empty() {
        peer.step(&mut input);
    }
    peer.end();
}

impl Peer {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0 => {
                let opened = self.vsock.connect(VsockAddr { cid: HOST, port: 9000 }, self.now_ns);
                self.streams.extend(opened);
            }
            1 => {
                let len = usize::from(input.u16());
                if let Some(stream) = self.pick(input) {
                    let room = self.vsock.send_room(stream);
                    assert!(self.vsock.send(stream, &vec![7; len]) <= room.max(len));
                }
            }
            2 => {
                if let Some(stream) = self.pick(input) {
                    let readable = self.vsock.readable(stream).len();
                    assert!(readable <= RECEIVE_BUFFER as usize);
                    self.vsock.consume(stream, readable.min(usize::from(input.u16())));
                }
            }
            3 => {
                if let Some(stream) = self.pick(input) {
                    self.vsock.release(stream);
                    self.streams.retain(|other| *other != stream);
                }
            }
            4 => self.now_ns += u64::from(input.u16()) * 100_000,
            _ => self.deliver(input),
        }
        self.turn();
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<StreamId> {
        let index = usize::from(input.byte());
        self.streams.get(index % self.streams.len().max(1)).copied()
    }

    /// A packet whose fields are often plausible, and sometimes arbitrary.
    fn deliver(&mut self, input: &mut Input<'_>) {
        let shape = input.byte();
        let mut packet = [0; 44];
        let mut put = |at: usize, word: u32| packet[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(0, if shape & 1 == 0 { HOST } else { input.u32() });
        put(8, if shape & 2 == 0 { CID } else { input.u32() });
        put(16, if shape & 4 == 0 { 9000 } else { input.u32() });
        let port = usize::from(input.byte());
        put(20, self.ports.get(port % self.ports.len().max(1)).copied().unwrap_or(80));
        if shape & 8 != 0 {
            put(20, 80);
        }
        let (op, flags) = (input.byte(), input.byte());
        let len = usize::from(input.u16()) % 5000;
        let payload = input.bytes(len);
        put(24, if shape & 16 == 0 { payload.len() as u32 } else { input.u32() });
        put(28, u32::from(if shape & 32 == 0 { 1 } else { input.u16() }) | u32::from(op) << 16);
        put(32, flags.into());
        put(36, if shape & 64 == 0 { 65_536 } else { input.u32() });
        put(40, if shape & 128 == 0 { 0 } else { input.u32() });
        let mut bytes = packet.to_vec();
        bytes.extend_from_slice(payload);
        let cut = if op == 0xff { usize::from(input.byte()) } else { bytes.len() };
        let _ = self.machine.queue(RX).deliver(&bytes[..cut.min(bytes.len())]);
    }

    fn turn(&mut self) {
        self.vsock.poll(self.now_ns);
        self.vsock.flush();
        assert!(!self.vsock.is_dead(), "{:?}", self.vsock.errors());
        while let Some(event) = self.vsock.next_event() {
            match event {
                StreamEvent::Accepted { stream, port, peer } => {
                    assert!(port == 80 && !self.streams.contains(&stream), "{peer:?}");
                    self.streams.push(stream);
                }
                StreamEvent::Connected(stream)
                | StreamEvent::Readable(stream)
                | StreamEvent::Writable(stream)
                | StreamEvent::Closed(stream, _) => assert!(self.streams.contains(&stream), "{event:?}"),
            }
        }
        assert!(self.streams.len() <= MAX_STREAMS);
        for sent in self.machine.queue(TX).drain() {
            assert!(sent.len() >= 44, "a packet of {} bytes", sent.len());
            let word = |at: usize| u32::from_le_bytes([sent[at], sent[at + 1], sent[at + 2], sent[at + 3]]);
            assert_eq!((word(0), word(24) as usize), (CID, sent.len() - 44));
            if sent[30] == 1 {
                self.ports.push(word(16));
            }
        }
    }

    /// Nothing remains once all streams are released and the time limit for closing has passed.
    fn end(&mut self) {
        for stream in std::mem::take(&mut self.streams) {
            self.vsock.release(stream);
        }
        for _ in 0..3 {
            self.now_ns += 10_000_000_000;
            self.turn();
        }
        assert_eq!(self.vsock.next_deadline(), None);
    }
}
