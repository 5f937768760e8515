//! virtio-vsock (virtio 1.2 §5.10) as a [`StreamTransport`].
//!
//! Streams have credit in both directions and a receive buffer of 64 KiB each. Received packets are copied from the device's
//! buffers to their streams' at once, so that a slow stream delays no other. Sent bytes are copied to transmit buffers: 32 KiB
//! for bulk data, 2 KiB for small messages and control packets, some of which are reserved for control packets. Device-shared
//! memory is 448 KiB in all.
//!
//! Whatever a peer sends, memory use is bounded: streams have slots, events and pending packets are flags of a slot, and replies
//! to packets that belong to no stream wait in a short list that drops what does not fit.

mod credit;
mod driver;
mod packet;
mod queues;
mod receive;
mod ring;
mod table;
mod transmit;

use crate::{
    platform::Platform,
    queue::QueueError,
    stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr},
    transport::{Faults, Transport},
};
use alloc::vec::Vec;
use packet::{Header, SHUTDOWN_BOTH};
use queues::Queues;
use table::{Phase, Table, pending};
use transmit::Sender;
use virtio_spec::vsock::Op;

/// The device type (§5.10.1).
pub const DEVICE_TYPE: u16 = 19;
/// Maximum number of streams, including those that are still closing.
pub const MAX_STREAMS: usize = 256;
/// Receive buffer of a stream in bytes: how much a peer may send before we consume.
pub const RECEIVE_BUFFER: u32 = 64 * 1024;
/// Time limit for a reply to a connection request, in nanoseconds.
pub const CONNECT_TIMEOUT_NS: u64 = 2_000_000_000;
/// Time limit for the peer to reply to our shutdown, in nanoseconds; then the stream is reset.
pub const CLOSE_TIMEOUT_NS: u64 = 2_000_000_000;
/// Maximum number of ports listened on.
pub const MAX_LISTENERS: usize = 32;

/// First port of our own choice.
const FIRST_EPHEMERAL_PORT: u32 = 0x4000_0000;
/// Maximum number of resets because of protocol violations; then the device is given up.
const MAX_RESETS: u32 = 16;

/// Errors since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VsockErrors {
    /// Used rings corrupted by the device; each caused a reset.
    pub ring: u64,
    /// The last such error.
    pub last: Option<QueueError>,
    /// Packets dropped: too short, longer than their buffer, or with impossible addresses.
    pub malformed: u64,
    /// Packets dropped because they were for another context identifier.
    pub misdirected: u64,
    /// Packets for no stream, answered by RST.
    pub unknown_stream: u64,
    /// Replies dropped because too many were waiting.
    pub answers_dropped: u64,
    /// Streams ended because their peer violated the protocol.
    pub protocol: u64,
    /// Connections refused because the stream table was full, or memory was short.
    pub refused: u64,
    /// Resets because of ring errors, or at the device's request.
    pub resets: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The device violated the protocol or requested a reset; the next poll resets it.
    NeedsReset,
    /// Given up: no stream can be opened.
    Dead,
}

/// The driver.
#[derive(Debug)]
pub struct VirtioVsock<P: Platform> {
    transport: Transport<P>,
    features: u64,
    cid: u32,
    queues: Queues,
    sender: Sender,
    table: Table,
    listeners: Vec<u32>,
    next_port: u32,
    now_ns: u64,
    config_seen: u32,
    state: State,
    errors: VsockErrors,
}

impl<P: Platform> VirtioVsock<P> {
    /// Our own context identifier.
    pub fn cid(&self) -> u32 {
        self.cid
    }

    /// Whether the device raises interrupts; if not, it has to be polled.
    pub fn has_interrupts(&self) -> bool {
        self.transport.has_interrupts()
    }

    /// Errors since the start.
    pub fn errors(&self) -> VsockErrors {
        self.errors
    }

    /// Whether the device has been given up.
    pub fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    fn address(&self, port: u32) -> VsockAddr {
        VsockAddr { cid: self.cid, port }
    }

    /// A local port that no stream to this peer and no listener uses.
    fn choose_port(&mut self, peer: VsockAddr) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.listeners.contains(&port) && self.table.find(port, peer).is_none() {
                return port;
            }
        }
    }

    /// Ends a stream because its peer violated the protocol.
    fn violated(&mut self, index: u16) {
        self.errors.protocol += 1;
        self.answer_reset(index);
        if self.table.slot(index).phase == Phase::Closing {
            self.table.free(index);
        } else {
            self.table.end(index, CloseReason::Protocol);
        }
    }

    /// Queues an RST for a stream.
    fn answer_reset(&mut self, index: u16) {
        let slot = self.table.slot(index);
        let header = Header::new(Op::Rst, self.address(slot.local_port), slot.peer);
        self.answer(header);
    }

    /// Queues a reply that belongs to no stream, or to one that is about to be released.
    fn answer(&mut self, header: Header) {
        if !self.sender.add_answer(header) {
            self.errors.answers_dropped += 1;
        }
    }

    /// Ends streams whose time limits have passed.
    fn expire(&mut self) {
        if self.table.earliest().is_none_or(|at| at > self.now_ns) {
            return;
        }
        for index in self.table.indices() {
            let slot = self.table.slot(index);
            if slot.deadline > self.now_ns {
                continue;
            }
            match slot.phase {
                Phase::Connecting => {
                    self.answer_reset(index);
                    self.table.end(index, CloseReason::TimedOut);
                }
                Phase::Closing => {
                    self.answer_reset(index);
                    self.table.free(index);
                }
                Phase::Free | Phase::Open | Phase::Ended => {}
            }
        }
        self.table.renew_earliest();
    }

    /// Drops all streams, about which the peers no longer know anything.
    fn drop_all_streams(&mut self) {
        for index in self.table.indices() {
            match self.table.slot(index).phase {
                Phase::Connecting | Phase::Open => self.table.end(index, CloseReason::TransportReset),
                Phase::Closing => self.table.free(index),
                Phase::Free | Phase::Ended => {}
            }
        }
        self.sender.forget_answers();
        self.table.renew_earliest();
    }
}

impl<P: Platform> StreamTransport for VirtioVsock<P> {
    fn poll(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.state == State::NeedsReset {
            self.recover();
        }
        if self.state == State::Running {
            self.take_events();
            self.take_packets();
            self.take_sent();
        }
        // Also without a device: time limits of streams whose peers can no longer be told.
        self.expire();
        if self.state == State::Running {
            self.send_pending();
        }
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.table.next_event()
    }

    fn next_deadline(&self) -> Option<u64> {
        self.table.earliest()
    }

    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError> {
        self.now_ns = self.now_ns.max(now_ns);
        if self.state != State::Running {
            return Err(ConnectError::NoTransport);
        }
        let port = self.choose_port(peer);
        let index = self.table.open(Phase::Connecting, port, peer).ok_or(ConnectError::TooManyStreams)?;
        self.table.set_deadline(index, self.now_ns.saturating_add(CONNECT_TIMEOUT_NS));
        self.table.add_pending(index, pending::REQUEST);
        self.send_pending();
        Ok(self.table.id(index))
    }

    fn listen(&mut self, port: u32) {
        if !self.listeners.contains(&port) && self.listeners.len() < MAX_LISTENERS {
            self.listeners.push(port);
        }
    }

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.table.index(stream).map_or(&[], |index| self.table.slot(index).received.front())
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        let Some(index) = self.table.index(stream) else {
            assert_eq!(n, 0, "consumed from a stream that is gone");
            return;
        };
        let slot = self.table.slot_mut(index);
        assert!(n <= slot.received.front().len(), "consumed more than is readable");
        slot.received.consume(n);
        if slot.credit.consumed(n as u32) && slot.phase == Phase::Open {
            self.table.add_pending(index, pending::CREDIT_UPDATE);
        }
    }

    fn send_room(&self, stream: StreamId) -> usize {
        match self.table.index(stream) {
            Some(index) if self.may_send(index) => {
                self.sender.room(&self.queues.tx).min(self.table.slot(index).credit.sendable() as usize)
            }
            _ => 0,
        }
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        let Some(index) = self.table.index(stream) else { return 0 };
        if !self.may_send(index) {
            return 0;
        }
        self.send_data(index, data)
    }

    fn ask(&mut self, stream: StreamId) {
        if let Some(index) = self.table.index(stream) {
            let slot = self.table.slot_mut(index);
            (slot.asked, slot.early) = (Some(slot.credit.sent_count()), false);
        }
    }

    fn spoke_early(&self, stream: StreamId) -> bool {
        self.table.index(stream).is_some_and(|index| self.table.slot(index).early)
    }

    fn has_unread(&self, stream: StreamId) -> bool {
        self.table.index(stream).is_some_and(|index| self.table.slot(index).credit.is_unread())
    }

    fn release(&mut self, stream: StreamId) {
        let Some(index) = self.table.index(stream) else { return };
        let slot = self.table.slot(index);
        match slot.phase {
            Phase::Open if slot.received.is_empty() && self.state == State::Running => {
                self.table.close(index, self.now_ns.saturating_add(CLOSE_TIMEOUT_NS));
                self.table.add_pending(index, pending::SHUTDOWN);
                self.send_pending();
            }
            Phase::Open | Phase::Connecting => {
                self.answer_reset(index);
                self.table.free(index);
            }
            Phase::Ended | Phase::Free | Phase::Closing => self.table.free(index),
        }
    }

    fn flush(&mut self) {
        if self.state == State::Running {
            self.send_pending();
            self.queues.publish(self.transport.platform());
        }
    }

    fn arm(&mut self) -> bool {
        self.look_at_config();
        match self.state {
            State::Dead => return !self.table.has_events(),
            State::NeedsReset => return false,
            State::Running => {}
        }
        let mut idle = self.queues.rx.queue.arm() & self.queues.events.queue.arm();
        // Sent buffers are awaited only if something needs one.
        if self.sender.is_starved() || self.table.next_pending().is_some() || self.sender.has_answers() {
            idle &= self.queues.tx.queue.arm();
        } else {
            self.queues.tx.queue.disarm();
        }
        idle && !self.table.has_events()
    }

    fn faults(&self) -> Faults {
        let VsockErrors { ring, last, malformed, misdirected, resets, .. } = self.errors;
        let given_up = self.state == State::Dead;
        Faults { resets, ring_errors: ring, last, given_up, dropped: malformed + misdirected }
    }
}
