//! Meters all output to a client, and the request content read from it.
//!
//! Before bytes enter the socket's send buffer, the gate requests them from `flow`; what is granted but not
//! used at once is kept as allowance. Heads that cannot be sent yet are held here, content stays where it is.
//! Request content is read from the socket only as far as `flow` grants; unread content closes the receive
//! window.

use crate::budget::BufferPool;
use crate::connection::wire::Wire;
use crate::flow::{Direction, Flow, SendFloor};
use crate::tcp::ConnId;
use crate::time::Instant;
use alloc::vec::Vec;

/// Shared by all gates of a shard.
pub(crate) struct Traffic {
    pub(crate) flow: Flow,
    /// Buffers for held output.
    pub(crate) buffers: BufferPool,
    pub(crate) now: Instant,
}

impl Traffic {
    pub(crate) fn new(flow: Flow) -> Self {
        Self { flow, buffers: BufferPool::new(), now: Instant::ZERO }
    }
}

/// What a connection may send and read, and its held output.
#[derive(Default)]
pub(crate) struct Gate {
    conn: u32,
    /// Bytes that may be sent.
    allowance: usize,
    /// Bytes of content that may be read.
    intake: usize,
    /// Held output, sent before anything else.
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes of content known to follow the held output.
    follows: usize,
    floor: SendFloor,
    /// Bytes sent, and bytes of content read, for the current request.
    totals: (u64, u64),
}

impl Gate {
    /// Sets the connection that the gate belongs to.
    pub(crate) fn set_conn(&mut self, me: ConnId) {
        self.conn = me.index() as u32;
    }

    pub(crate) const fn conn(&self) -> u32 {
        self.conn
    }

    /// Whether no output is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Adds a grant from `flow`.
    pub(crate) fn grant(&mut self, direction: Direction, bytes: usize) {
        match direction {
            Direction::Down => self.allowance += bytes,
            Direction::Up => self.intake += bytes,
        }
    }

    /// Sends what may be sent now and holds the rest. `follows`: bytes of content known to come after it.
    pub(crate) fn send(
        &mut self,
        socket: &mut Wire<'_, '_>,
        bytes: &[u8],
        follows: usize,
        traffic: &mut Traffic,
    ) {
        let mut sent = 0;
        if self.is_empty() {
            self.room(bytes.len() + follows, socket, traffic);
            sent = self.write(socket, bytes);
        }
        self.follows = follows;
        let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) else { return };
        if self.bytes.capacity() == 0 {
            self.bytes = traffic.buffers.take();
        }
        self.bytes.extend_from_slice(rest);
    }

    /// Tries to send held output. True once nothing is left.
    pub(crate) fn flush(&mut self, socket: &mut Wire<'_, '_>, traffic: &mut Traffic) -> bool {
        if self.is_empty() {
            return true;
        }
        self.room(self.bytes.len() - self.sent + self.follows, socket, traffic);
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

    /// How many of `wanted` bytes may be sent now and fit the send buffer. If not all may, `flow` grants the
    /// rest later.
    pub(crate) fn room(&mut self, wanted: usize, socket: &Wire<'_, '_>, traffic: &mut Traffic) -> usize {
        let on_wire = socket.on_wire(wanted).min(socket.send_room());
        if on_wire > self.allowance {
            let more = on_wire - self.allowance;
            self.allowance += traffic.flow.request(Direction::Down, self.conn, more, traffic.now.as_nanos());
        }
        wanted.min(socket.content_that_fits(on_wire.min(self.allowance)))
    }

    /// Sends what was granted and fits; returns how many bytes. A closed socket takes nothing, which the
    /// connection notices by itself.
    pub(crate) fn write(&mut self, socket: &mut Wire<'_, '_>, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(socket.content_that_fits(self.allowance))];
        let (sent, on_wire) = socket.send(bytes);
        self.allowance = self.allowance.saturating_sub(on_wire);
        self.floor.add(on_wire);
        self.totals.0 += on_wire as u64;
        sent
    }

    /// How many of `wanted` bytes of content may be read now. Report those read with [`Gate::consumed`].
    pub(crate) fn admit(&mut self, wanted: usize, traffic: &mut Traffic) -> usize {
        if wanted > self.intake {
            let more = wanted - self.intake;
            self.intake += traffic.flow.request(Direction::Up, self.conn, more, traffic.now.as_nanos());
        }
        wanted.min(self.intake)
    }

    /// Notes that content was read.
    pub(crate) fn consumed(&mut self, bytes: usize) {
        self.intake = self.intake.saturating_sub(bytes);
        self.totals.1 += bytes as u64;
    }

    /// Resets the counts and the rate floor for a new response.
    pub(crate) fn begin_response(&mut self) {
        self.floor.restart();
        self.totals = (0, 0);
    }

    /// Bytes sent and bytes of content read since the request began.
    pub(crate) const fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// Withdraws pending requests for bandwidth when a response is complete.
    pub(crate) fn end_response(&mut self, traffic: &mut Traffic) {
        for direction in [Direction::Down, Direction::Up] {
            if traffic.flow.is_waiting(direction, self.conn) {
                traffic.flow.request(direction, self.conn, 0, traffic.now.as_nanos());
            }
        }
    }

    /// Whether bandwidth limits, not the client, delay the transfer.
    pub(crate) fn is_held(&self, direction: Direction, socket: &Wire<'_, '_>, traffic: &Traffic) -> bool {
        traffic.flow.is_waiting(direction, self.conn)
            && (direction == Direction::Up || socket.send_queue() == 0)
    }

    /// When the client will have fallen below MinSendRate.
    pub(crate) fn deadline(&mut self, socket: &Wire<'_, '_>, traffic: &Traffic) -> Option<Instant> {
        self.floor.update(socket.send_queue() > 0, traffic.now.as_nanos());
        let floor = traffic.flow.min_send_rate(self.conn)?;
        self.floor.deadline_ns(floor).map(Instant::from_nanos)
    }
}
