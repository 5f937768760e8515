//! The one way for bytes between a connection and its client: everything sent passes here, and content that is read.
//!
//! Before bytes are moved into the socket's send buffer, `flow` is asked for them; what it grants and is not used at once
//! is kept as allowance. Heads that may not or cannot go yet are held here, content waits where it is. Content of requests
//! is read from the socket only as far as `flow` grants; what stays there closes the receive window.

use crate::budget::Buffers;
use crate::connection::wire::Wire;
use crate::flow::{Direction, Flow, SendFloor};
use crate::tcp::ConnId;
use crate::time::Instant;
use alloc::vec::Vec;

/// What all gates of a shard share.
pub(crate) struct Traffic {
    pub(crate) flow: Flow,
    /// For output that waits.
    pub(crate) buffers: Buffers,
    pub(crate) now: Instant,
}

impl Traffic {
    pub(crate) fn new(flow: Flow) -> Self {
        Self { flow, buffers: Buffers::new(), now: Instant::ZERO }
    }
}

/// What a connection may move, and output that waits.
#[derive(Default)]
pub(crate) struct Gate {
    conn: u32,
    /// Bytes that may be sent.
    allowance: usize,
    /// Bytes of content that may be read.
    intake: usize,
    /// Output before anything else.
    bytes: Vec<u8>,
    sent: usize,
    /// Content known to follow it.
    follows: usize,
    floor: SendFloor,
    /// Bytes sent, and bytes of content read, for the request under way.
    totals: (u64, u64),
}

impl Gate {
    /// Says whose gate it is.
    pub(crate) fn name(&mut self, me: ConnId) {
        self.conn = me.index() as u32;
    }

    pub(crate) const fn conn(&self) -> u32 {
        self.conn
    }

    /// Nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// A grant came from `flow`.
    pub(crate) fn grant(&mut self, direction: Direction, bytes: usize) {
        match direction {
            Direction::Down => self.allowance += bytes,
            Direction::Up => self.intake += bytes,
        }
    }

    /// Sends now what may go and holds the rest. `follows`: how much content comes after it, as far as is known.
    pub(crate) fn send(
        &mut self,
        socket: &mut Wire<'_, '_>,
        bytes: &[u8],
        follows: usize,
        traffic: &mut Traffic,
    ) {
        let mut sent = 0;
        if self.is_empty() {
            self.open(bytes.len() + follows, socket, traffic);
            sent = self.write(socket, bytes);
        }
        self.follows = follows;
        let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) else { return };
        if self.bytes.capacity() == 0 {
            self.bytes = traffic.buffers.take();
        }
        self.bytes.extend_from_slice(rest);
    }

    /// Tries again to send what is held. True once nothing is left.
    pub(crate) fn flush(&mut self, socket: &mut Wire<'_, '_>, traffic: &mut Traffic) -> bool {
        if self.is_empty() {
            return true;
        }
        self.open(self.bytes.len() - self.sent + self.follows, socket, traffic);
        let held = core::mem::take(&mut self.bytes);
        self.sent += self.write(socket, &held[self.sent..]);
        if self.sent == held.len() {
            self.sent = 0;
            traffic.buffers.recycle(held);
            return true;
        }
        self.bytes = held;
        false
    }

    /// How many of `wanted` bytes may be sent now and have room in the send buffer. If not all may, `flow` will name the
    /// connection later.
    pub(crate) fn open(&mut self, wanted: usize, socket: &Wire<'_, '_>, traffic: &mut Traffic) -> usize {
        let on_wire = socket.on_wire(wanted).min(socket.send_room());
        if on_wire > self.allowance {
            let more = on_wire - self.allowance;
            self.allowance += traffic.flow.request(Direction::Down, self.conn, more, traffic.now.as_nanos());
        }
        wanted.min(socket.fit(on_wire.min(self.allowance)))
    }

    /// Sends as much as was granted and has room; returns how much that is. A closed socket takes nothing, which its owner
    /// notices by itself.
    pub(crate) fn write(&mut self, socket: &mut Wire<'_, '_>, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(socket.fit(self.allowance))];
        let (sent, on_wire) = socket.send(bytes);
        self.allowance = self.allowance.saturating_sub(on_wire);
        self.floor.add(on_wire);
        self.totals.0 += on_wire as u64;
        sent
    }

    /// How many of `wanted` bytes of content may be read now. Tell [`Gate::took`] how many were.
    pub(crate) fn admit(&mut self, wanted: usize, traffic: &mut Traffic) -> usize {
        if wanted > self.intake {
            let more = wanted - self.intake;
            self.intake += traffic.flow.request(Direction::Up, self.conn, more, traffic.now.as_nanos());
        }
        wanted.min(self.intake)
    }

    /// Content was read.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.intake = self.intake.saturating_sub(bytes);
        self.totals.1 += bytes as u64;
    }

    /// A response begins.
    pub(crate) fn begin(&mut self) {
        self.floor.restart();
        self.totals = (0, 0);
    }

    /// Bytes sent and bytes of content read since the request began.
    pub(crate) const fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// A response is complete: nothing more is wanted.
    pub(crate) fn end(&mut self, traffic: &mut Traffic) {
        for direction in [Direction::Down, Direction::Up] {
            if traffic.flow.is_waiting(direction, self.conn) {
                traffic.flow.request(direction, self.conn, 0, traffic.now.as_nanos());
            }
        }
    }

    /// Our own limits, and not the client, hold it up.
    pub(crate) fn is_held(&self, direction: Direction, socket: &Wire<'_, '_>, traffic: &Traffic) -> bool {
        traffic.flow.is_waiting(direction, self.conn)
            && (direction == Direction::Up || socket.send_queue() == 0)
    }

    /// When the client will have taken its response too slowly (MinSendRate).
    pub(crate) fn deadline(&mut self, socket: &Wire<'_, '_>, traffic: &Traffic) -> Option<Instant> {
        self.floor.update(socket.send_queue() > 0, traffic.now.as_nanos());
        let floor = traffic.flow.min_send_rate(self.conn)?;
        self.floor.deadline_ns(floor).map(Instant::from_nanos)
    }
}
