//! The stream table: slots, lookup by address, pending events and pending packets, all bounded by the number of slots.

use super::{
    MAX_STREAMS,
    credit::Credit,
    ring::{BufferPool, ReceiveRing},
};
use crate::stream::{CloseReason, StreamEvent, StreamId, VsockAddr};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use hashbrown::HashTable;

/// Phase of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    /// Request sent, no reply yet.
    Connecting,
    Open,
    /// Ended, but not released: received data can still be read.
    Ended,
    /// Released while open: shutdown sent, waiting for the peer's RST.
    Closing,
}

/// A set of one-bit flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Clears a flag; true if it was set.
    pub(super) fn take(&mut self, flag: u8) -> bool {
        let had = self.contains(flag);
        self.0 &= !flag;
        had
    }

    fn add(&mut self, flag: u8) {
        self.0 |= flag;
    }
}

/// Unreported events of a stream.
pub(super) mod event {
    pub(in super::super) const CONNECTED: u8 = 1;
    pub(in super::super) const ACCEPTED: u8 = 2;
    pub(in super::super) const READABLE: u8 = 4;
    pub(in super::super) const WRITABLE: u8 = 8;
    pub(in super::super) const CLOSED: u8 = 16;
}

/// Packets of a stream that wait for room in the transmit queue.
pub(super) mod pending {
    pub(in super::super) const REQUEST: u8 = 1;
    pub(in super::super) const RESPONSE: u8 = 2;
    pub(in super::super) const CREDIT_UPDATE: u8 = 4;
    pub(in super::super) const CREDIT_REQUEST: u8 = 8;
    pub(in super::super) const SHUTDOWN: u8 = 16;
}

/// One stream.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    pub(super) local_port: u32,
    pub(super) peer: VsockAddr,
    pub(super) credit: Credit,
    pub(super) received: ReceiveRing,
    /// When connecting or closing must be finished.
    pub(super) deadline: u64,
    pub(super) reason: CloseReason,
    /// Shutdown flags sent by the peer.
    pub(super) peer_shutdown: u32,
    /// Whether `send` accepted less than it was given.
    pub(super) wants_room: bool,
    /// Count of sent bytes at the start of a request of which the peer has not consumed anything.
    pub(super) asked: Option<u32>,
    /// Whether anything arrived since then.
    pub(super) early: bool,
    pub(super) pending: Flags,
    pending_queued: bool,
    events: Flags,
    event_queued: bool,
}

impl Slot {
    fn hash(&self) -> u64 {
        hash(self.local_port, self.peer)
    }
}

/// All streams.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
    /// Indices of the streams that are found by their address.
    by_address: HashTable<u16>,
    free: Vec<u16>,
    /// Slots with events, and with pending packets, each at most once, so never longer than the table.
    event_queue: VecDeque<u16>,
    pending_queue: VecDeque<u16>,
    buffers: BufferPool,
    earliest: Option<u64>,
}

impl Table {
    pub(super) fn new() -> Self {
        let slot = |_| Slot {
            phase: Phase::Free,
            generation: 0,
            local_port: 0,
            peer: VsockAddr { cid: 0, port: 0 },
            credit: Credit::default(),
            received: ReceiveRing::default(),
            deadline: 0,
            reason: CloseReason::Reset,
            peer_shutdown: 0,
            wants_room: false,
            asked: None,
            early: false,
            pending: Flags::default(),
            pending_queued: false,
            events: Flags::default(),
            event_queued: false,
        };
        Self {
            slots: (0..MAX_STREAMS).map(slot).collect(),
            // Twice the streams, so that it never grows, whatever comes and goes.
            by_address: HashTable::with_capacity(2 * MAX_STREAMS),
            free: (0..MAX_STREAMS as u16).rev().collect(),
            event_queue: VecDeque::with_capacity(MAX_STREAMS),
            pending_queue: VecDeque::with_capacity(MAX_STREAMS),
            buffers: BufferPool::new(),
            earliest: None,
        }
    }

    /// The slot of a stream, unless it has been released.
    #[inline]
    pub(super) fn index(&self, stream: StreamId) -> Option<u16> {
        let slot = self.slots.get(usize::from(stream.slot))?;
        let alive =
            slot.generation == stream.generation && !matches!(slot.phase, Phase::Free | Phase::Closing);
        alive.then_some(stream.slot)
    }

    /// A slot, by an index this table gave out.
    #[inline]
    pub(super) fn slot(&self, index: u16) -> &Slot {
        &self.slots[usize::from(index)]
    }

    /// Like [`Table::slot`].
    #[inline]
    pub(super) fn slot_mut(&mut self, index: u16) -> &mut Slot {
        &mut self.slots[usize::from(index)]
    }

    pub(super) fn id(&self, index: u16) -> StreamId {
        StreamId { slot: index, generation: self.slot(index).generation }
    }

    /// The stream between a local port and a peer.
    #[inline]
    pub(super) fn find(&self, local_port: u32, peer: VsockAddr) -> Option<u16> {
        let is_it = |&at: &u16| {
            let slot = self.slot(at);
            slot.local_port == local_port && slot.peer == peer
        };
        self.by_address.find(hash(local_port, peer), is_it).copied()
    }

    /// Takes a free slot for a new stream, with a receive buffer. `None` if there is no slot or no memory.
    pub(super) fn open(&mut self, phase: Phase, local_port: u32, peer: VsockAddr) -> Option<u16> {
        let buffer = self.free.last().and_then(|_| self.buffers.take())?;
        let index = self.free.pop()?;
        let slot = self.slot_mut(index);
        slot.phase = phase;
        (slot.local_port, slot.peer) = (local_port, peer);
        slot.credit = Credit::default();
        slot.received = ReceiveRing::with_buffer(buffer);
        (slot.peer_shutdown, slot.wants_room) = (0, false);
        (slot.asked, slot.early) = (None, false);
        let slots = &self.slots;
        self.by_address.insert_unique(hash(local_port, peer), index, |&at| slots[usize::from(at)].hash());
        Some(index)
    }

    /// Ends a stream: it can no longer be found by its address, but received data can still be read.
    pub(super) fn end(&mut self, index: u16, reason: CloseReason) {
        if !matches!(self.slot(index).phase, Phase::Connecting | Phase::Open) {
            return;
        }
        self.unlink(index);
        let slot = self.slot_mut(index);
        slot.phase = Phase::Ended;
        slot.reason = reason;
        slot.wants_room = false;
        slot.pending = Flags::default();
        self.add_event(index, event::CLOSED);
    }

    /// Releases a stream that has not ended: drops buffer and events, and waits until `deadline`.
    pub(super) fn close(&mut self, index: u16, deadline: u64) {
        self.drop_contents(index);
        self.slot_mut(index).phase = Phase::Closing;
        self.set_deadline(index, deadline);
    }

    /// Frees a slot. Its generation advances, so that late uses of the old id find nothing.
    pub(super) fn free(&mut self, index: u16) {
        if self.slot(index).phase != Phase::Ended {
            self.unlink(index);
        }
        self.drop_contents(index);
        let slot = self.slot_mut(index);
        slot.pending = Flags::default();
        slot.phase = Phase::Free;
        // A slot that has used up its generations is never used again, because ids must be unique.
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            self.free.push(index);
        }
    }

    fn drop_contents(&mut self, index: u16) {
        let slot = self.slot_mut(index);
        slot.events = Flags::default();
        slot.wants_room = false;
        if let Some(buffer) = core::mem::take(&mut slot.received).into_buffer() {
            self.buffers.put(buffer);
        }
    }

    fn unlink(&mut self, index: u16) {
        let hash = self.slot(index).hash();
        if let Ok(found) = self.by_address.find_entry(hash, |&at| at == index) {
            found.remove();
        }
    }

    /// Slots in use, including released streams that are still closing.
    pub(super) fn indices(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.slots.len() as u16
    }

    pub(super) fn set_deadline(&mut self, index: u16, deadline: u64) {
        self.slot_mut(index).deadline = deadline;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// When the next time limit may pass.
    pub(super) fn earliest(&self) -> Option<u64> {
        self.earliest
    }

    /// Recomputes the earliest deadline.
    pub(super) fn renew_earliest(&mut self) {
        let waiting = |slot: &&Slot| matches!(slot.phase, Phase::Connecting | Phase::Closing);
        self.earliest = self.slots.iter().filter(waiting).map(|slot| slot.deadline).min();
    }

    #[inline]
    pub(super) fn add_event(&mut self, index: u16, event: u8) {
        let slot = self.slot_mut(index);
        slot.events.add(event);
        if !core::mem::replace(&mut slot.event_queued, true) {
            self.event_queue.push_back(index);
        }
    }

    #[inline]
    pub(super) fn add_pending(&mut self, index: u16, packet: u8) {
        let slot = self.slot_mut(index);
        slot.pending.add(packet);
        if !core::mem::replace(&mut slot.pending_queued, true) {
            self.pending_queue.push_back(index);
        }
    }

    /// The slot whose pending packets are sent next.
    pub(super) fn next_pending(&self) -> Option<u16> {
        self.pending_queue.front().copied()
    }

    /// Records that the packets of [`Table::next_pending`] have all been sent.
    pub(super) fn pending_done(&mut self) {
        if let Some(index) = self.pending_queue.pop_front() {
            self.slot_mut(index).pending_queued = false;
        }
    }

    pub(super) fn has_events(&self) -> bool {
        !self.event_queue.is_empty()
    }

    /// The next event, of the stream that has waited longest, in a meaningful order.
    pub(super) fn next_event(&mut self) -> Option<StreamEvent> {
        while let Some(&index) = self.event_queue.front() {
            let stream = self.id(index);
            let slot = self.slot_mut(index);
            if slot.events.take(event::CONNECTED) {
                return Some(StreamEvent::Connected(stream));
            }
            if slot.events.take(event::ACCEPTED) {
                return Some(StreamEvent::Accepted { stream, port: slot.local_port, peer: slot.peer });
            }
            if slot.events.take(event::READABLE) {
                return Some(StreamEvent::Readable(stream));
            }
            if slot.events.take(event::WRITABLE) {
                return Some(StreamEvent::Writable(stream));
            }
            if slot.events.take(event::CLOSED) {
                return Some(StreamEvent::Closed(stream, slot.reason));
            }
            slot.event_queued = false;
            self.event_queue.pop_front();
        }
        None
    }
}

/// Not keyed: a peer that chooses ports which collide makes a look-up compare all of its streams, of which there are few.
fn hash(local_port: u32, peer: VsockAddr) -> u64 {
    let ports = u64::from(local_port) << 32 | u64::from(peer.port);
    let mixed = (ports ^ u64::from(peer.cid).rotate_left(16)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}
