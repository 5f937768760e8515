//! Handling of packets from peers (virtio 1.2 §5.10.6).

use super::{
    State, VirtioVsock,
    packet::{HEADER_LEN, Header, SHUTDOWN_BOTH},
    table::{Phase, event, pending},
};
use crate::{
    dma::{DmaBuffer as _, InBuffer},
    platform::Platform,
    stream::CloseReason,
};
use virtio_spec::vsock::Op;

impl<P: Platform> VirtioVsock<P> {
    /// Handles all received packets. Bounded by the queue: returned buffers are given to the device at `flush`.
    pub(super) fn take_packets(&mut self) {
        self.queues.rx.queue.disarm();
        while self.state == State::Running {
            match self.queues.rx.queue.pop() {
                Ok(Some((mut buffer, written))) => {
                    self.packet(&buffer, written as usize);
                    // A buffer that the device returns unwritten must not look like its last packet.
                    buffer.clear(HEADER_LEN);
                    let len = buffer.capacity();
                    let _ = self.queues.rx.queue.push(buffer, len);
                }
                Ok(None) => return,
                Err(error) => self.broken(error),
            }
        }
    }

    fn packet(&mut self, buffer: &InBuffer, written: usize) {
        if written == 0 {
            return;
        }
        // The header is read only here; the payload is read when it is copied to its stream's ring.
        let bytes = if written < HEADER_LEN { None } else { buffer.read::<HEADER_LEN>(0) };
        // vhost-device-vsock returns a buffer unwritten if the connection for which it had data has gone, and version 0.3 reports
        // that a header was written.
        if written == HEADER_LEN && bytes == Some([0; HEADER_LEN]) {
            return;
        }
        // The queue guarantees that `written` does not exceed the buffer's capacity.
        let Some(header) = bytes.as_ref().and_then(Header::read).filter(|header| fits(header, written))
        else {
            self.errors.malformed += 1;
            return;
        };
        if header.destination.cid != self.cid {
            self.errors.misdirected += 1;
            return;
        }
        if !header.stream_type {
            return self.unknown(&header);
        }
        match self.table.find(header.destination.port, header.source) {
            Some(index) => self.stream_packet(index, &header, buffer),
            None if header.op == Some(Op::Request) => self.request(&header),
            None => self.unknown(&header),
        }
    }

    /// Replies with RST to a packet that belongs to no stream, unless it is an RST (§5.10.6.4.1).
    fn unknown(&mut self, header: &Header) {
        if header.op != Some(Op::Rst) {
            self.errors.unknown_stream += 1;
            let mut answer = Header::new(Op::Rst, header.destination, header.source);
            answer.stream_type = header.stream_type;
            self.answer(answer);
        }
    }

    /// Handles a connection request.
    fn request(&mut self, header: &Header) {
        let port = header.destination.port;
        if !self.listeners.contains(&port) {
            return self.unknown(header);
        }
        let Some(index) = self.table.open(Phase::Open, port, header.source) else {
            self.errors.refused += 1;
            return self.answer(Header::new(Op::Rst, header.destination, header.source));
        };
        // Nothing has been sent on a new stream, so any other count is wrong.
        if !self.table.slot_mut(index).credit.update(header.buf_alloc, header.fwd_cnt) {
            self.errors.protocol += 1;
            self.answer_reset(index);
            return self.table.free(index);
        }
        self.table.add_pending(index, pending::RESPONSE);
        self.table.add_event(index, event::ACCEPTED);
    }

    fn stream_packet(&mut self, index: u16, header: &Header, buffer: &InBuffer) {
        let phase = self.table.slot(index).phase;
        if header.op == Some(Op::Rst) {
            return match phase {
                Phase::Closing => self.table.free(index),
                _ => self.table.end(index, CloseReason::Reset),
            };
        }
        let slot = self.table.slot_mut(index);
        if !slot.credit.update(header.buf_alloc, header.fwd_cnt) {
            return self.violated(index);
        }
        // With every packet, because the counts wrap.
        slot.asked = slot.asked.filter(|since| !slot.credit.has_consumed_since(*since));
        match (header.op, phase) {
            (Some(Op::Response), Phase::Connecting) => {
                self.table.slot_mut(index).phase = Phase::Open;
                self.table.add_event(index, event::CONNECTED);
            }
            (Some(Op::Rw), Phase::Open) => {
                let slot = self.table.slot_mut(index);
                let copy = |at: usize, piece: &mut [u8]| buffer.copy_out(HEADER_LEN + at, piece);
                if !slot.credit.received(header.len) || !slot.received.append(header.len as usize, copy) {
                    return self.violated(index);
                }
                if header.len > 0 {
                    slot.early |= slot.asked.is_some();
                    self.table.add_event(index, event::READABLE);
                }
            }
            // vhost-device-vsock 0.3 sends a header without an operation when it finds nothing to read, or in reply to a credit
            // request while data is still pending; its credit is valid. Linux ignores the rest too.
            (Some(Op::CreditUpdate | Op::Invalid), Phase::Open | Phase::Closing) => {}
            (Some(Op::CreditRequest), Phase::Open) => self.table.add_pending(index, pending::CREDIT_UPDATE),
            (Some(Op::Shutdown), Phase::Open) => return self.peer_shutdown(index, header.flags),
            // Both sides closed at once: each shutdown is the reply to the other.
            (Some(Op::Shutdown), Phase::Closing) if header.flags & SHUTDOWN_BOTH == SHUTDOWN_BOTH => {
                self.answer_reset(index);
                return self.table.free(index);
            }
            // In transit when we closed; nobody is left to read it.
            (Some(Op::Rw | Op::CreditRequest | Op::Shutdown), Phase::Closing) => {}
            _ => return self.violated(index),
        }
        let slot = self.table.slot_mut(index);
        if slot.wants_room && slot.credit.sendable() > 0 {
            slot.wants_room = false;
            self.table.add_event(index, event::WRITABLE);
        }
    }

    /// Handles a shutdown: the peer will send no more, receive no more, or (which ends the stream) both. One direction alone is
    /// only recorded, because the layers above know no half-closes.
    fn peer_shutdown(&mut self, index: u16, flags: u32) {
        let slot = self.table.slot_mut(index);
        slot.peer_shutdown |= flags & SHUTDOWN_BOTH;
        if slot.peer_shutdown == SHUTDOWN_BOTH {
            self.answer_reset(index);
            self.table.end(index, CloseReason::Shutdown);
        }
    }
}

/// Whether the packet is as long as its header says, and only a data packet has a payload.
fn fits(header: &Header, written: usize) -> bool {
    let whole = HEADER_LEN.checked_add(header.len as usize);
    whole.is_some_and(|whole| whole <= written) && (header.len == 0 || header.op == Some(Op::Rw))
}
