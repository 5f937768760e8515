//! Sending: data, and control packets of streams.

use super::{
    RECEIVE_BUFFER, SHUTDOWN_BOTH, VirtioVsock,
    packet::{HEADER_LEN, Header},
    queues::Side,
    table::{Phase, event, pending},
};
use crate::{
    dma::{DmaBuffer as _, OutBuffer},
    platform::Platform,
    transport::DeviceError,
};
use alloc::{collections::VecDeque, vec::Vec};
use virtio_spec::vsock::Op;

const SMALL_BUFFERS: usize = 32;
const SMALL_CAPACITY: u32 = 2048;
/// Small buffers reserved for control packets.
const CONTROL_RESERVE: usize = 8;
const LARGE_BUFFERS: usize = 4;
const LARGE_CAPACITY: u32 = 32 * 1024;

/// Payload of a packet in either kind of buffer.
const SMALL_PAYLOAD: usize = SMALL_CAPACITY as usize - HEADER_LEN;
const LARGE_PAYLOAD: usize = LARGE_CAPACITY as usize - HEADER_LEN;

/// Maximum number of waiting replies to packets of no stream.
const MAX_ANSWERS: usize = 320;

/// Transmit buffers, and replies that wait for one.
#[derive(Debug)]
pub(super) struct Sender {
    small: Vec<OutBuffer>,
    large: Vec<OutBuffer>,
    answers: VecDeque<Header>,
    /// Whether a stream was refused room since buffers last came back.
    starved: bool,
}

impl Sender {
    pub(super) fn new<P: Platform>(platform: &P) -> Result<Self, DeviceError> {
        let buffers = |count: usize, size: u32| {
            let region = platform.dma_alloc(count * size as usize).ok_or(DeviceError::NoMemory)?;
            Ok::<Vec<_>, DeviceError>(region.split(size).take(count).collect())
        };
        Ok(Self {
            small: buffers(SMALL_BUFFERS, SMALL_CAPACITY)?,
            large: buffers(LARGE_BUFFERS, LARGE_CAPACITY)?,
            answers: VecDeque::with_capacity(MAX_ANSWERS),
            starved: false,
        })
    }

    /// Returns a buffer. Never grows a list, because every buffer came from it.
    pub(super) fn put(&mut self, buffer: OutBuffer) {
        if buffer.capacity() <= SMALL_CAPACITY { self.small.push(buffer) } else { self.large.push(buffer) }
    }

    /// A buffer for up to `remaining` bytes of data, and how many of them fit.
    fn take_for_data(&mut self, remaining: usize) -> Option<(OutBuffer, usize)> {
        let small_left = self.small.len() > CONTROL_RESERVE;
        if remaining <= SMALL_PAYLOAD && small_left {
            return self.small.pop().map(|buffer| (buffer, remaining));
        }
        if let Some(buffer) = self.large.pop() {
            return Some((buffer, remaining.min(LARGE_PAYLOAD)));
        }
        if small_left { self.small.pop().map(|buffer| (buffer, remaining.min(SMALL_PAYLOAD))) } else { None }
    }

    /// How much data fits into the buffers and the queue now.
    pub(super) fn room(&self, tx: &Side<OutBuffer>) -> usize {
        let places = tx.queue.room();
        let large = self.large.len().min(places);
        let small = self.small.len().saturating_sub(CONTROL_RESERVE).min(places - large);
        large * LARGE_PAYLOAD + small * SMALL_PAYLOAD
    }

    /// Queues a reply; false if too many are waiting.
    pub(super) fn add_answer(&mut self, header: Header) -> bool {
        let fits = self.answers.len() < MAX_ANSWERS;
        if fits {
            self.answers.push_back(header);
        }
        fits
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    pub(super) fn forget_answers(&mut self) {
        self.answers.clear();
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Sends a packet without payload; false if there is no buffer or no room in the queue.
    fn control(&mut self, tx: &mut Side<OutBuffer>, header: &Header) -> bool {
        if tx.queue.room() == 0 {
            return false;
        }
        let Some(mut buffer) = self.small.pop() else { return false };
        header.write(buffer.as_mut_slice());
        match tx.queue.push(buffer, HEADER_LEN as u32) {
            Ok(()) => true,
            Err(buffer) => {
                self.small.push(buffer);
                false
            }
        }
    }
}

impl<P: Platform> VirtioVsock<P> {
    /// Reclaims the buffers of sent packets and notifies the streams that waited for them.
    pub(super) fn take_sent(&mut self) {
        let mut freed = false;
        loop {
            match self.queues.tx.queue.pop() {
                Ok(Some((buffer, _))) => {
                    self.sender.put(buffer);
                    freed = true;
                }
                Ok(None) => break,
                Err(error) => return self.broken(error),
            }
        }
        if freed && core::mem::take(&mut self.sender.starved) {
            for index in self.table.indices() {
                let slot = self.table.slot_mut(index);
                if slot.wants_room && slot.credit.sendable() > 0 {
                    slot.wants_room = false;
                    self.table.add_event(index, event::WRITABLE);
                }
            }
        }
    }

    /// Sends waiting control packets, as far as there is room.
    pub(super) fn send_pending(&mut self) {
        while let Some(header) = self.sender.answers.front().copied() {
            if !self.sender.control(&mut self.queues.tx, &header) {
                return;
            }
            self.sender.answers.pop_front();
        }
        while let Some(index) = self.table.next_pending() {
            while let Some((flag, op)) = next_packet(self.table.slot(index).pending) {
                let mut header = self.stream_header(index, op);
                if op == Op::Shutdown {
                    header.flags = SHUTDOWN_BOTH;
                }
                if !self.sender.control(&mut self.queues.tx, &header) {
                    return;
                }
                let slot = self.table.slot_mut(index);
                slot.credit.tell();
                slot.pending.take(flag);
            }
            self.table.pending_done();
        }
    }

    /// Whether the stream accepts data: open, and its first packet has been sent.
    pub(super) fn may_send(&self, index: u16) -> bool {
        let slot = self.table.slot(index);
        slot.phase == Phase::Open && !slot.pending.contains(pending::RESPONSE)
    }

    /// Sends as much of `data` as credit, buffers and queue allow.
    pub(super) fn send_data(&mut self, index: u16, data: &[u8]) -> usize {
        let credit = self.table.slot(index).credit.sendable() as usize;
        let allowed = &data[..data.len().min(credit)];
        let mut rest = allowed;
        while !rest.is_empty() && self.queues.tx.queue.room() > 0 {
            let Some((mut buffer, len)) = self.sender.take_for_data(rest.len()) else { break };
            let (now, later) = rest.split_at(len);
            let header = Header { len: len as u32, ..self.stream_header(index, Op::Rw) };
            let bytes = buffer.as_mut_slice();
            header.write(bytes);
            bytes[HEADER_LEN..HEADER_LEN + len].copy_from_slice(now);
            if let Err(buffer) = self.queues.tx.queue.push(buffer, (HEADER_LEN + len) as u32) {
                self.sender.put(buffer);
                break;
            }
            let slot = self.table.slot_mut(index);
            slot.credit.tell();
            slot.credit.sent(len as u32);
            rest = later;
        }
        let sent = allowed.len() - rest.len();
        if sent < data.len() {
            self.table.slot_mut(index).wants_room = true;
            if rest.is_empty() {
                // Blocked by the peer: request credit, in case its update was lost or it only replies to requests.
                self.table.add_pending(index, pending::CREDIT_REQUEST);
            } else {
                self.sender.starved = true;
            }
        }
        sent
    }

    /// A header of a stream's packet, with our side of its credit (§5.10.6.3).
    fn stream_header(&self, index: u16, op: Op) -> Header {
        let slot = self.table.slot(index);
        let mut header = Header::new(op, self.address(slot.local_port), slot.peer);
        header.buf_alloc = RECEIVE_BUFFER;
        header.fwd_cnt = slot.credit.consumed_count();
        header
    }
}

/// The first of a stream's waiting packets, in the required order.
fn next_packet(waiting: super::table::Flags) -> Option<(u8, Op)> {
    const ORDER: [(u8, Op); 5] = [
        (pending::REQUEST, Op::Request),
        (pending::RESPONSE, Op::Response),
        (pending::CREDIT_UPDATE, Op::CreditUpdate),
        (pending::CREDIT_REQUEST, Op::CreditRequest),
        (pending::SHUTDOWN, Op::Shutdown),
    ];
    if waiting.is_empty() {
        return None;
    }
    ORDER.into_iter().find(|&(flag, _)| waiting.contains(flag))
}
