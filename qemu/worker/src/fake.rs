//! An in-memory transport whose peers are the tests.

use netdrv::stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr};
use std::collections::{BTreeMap, VecDeque};

/// Streams with small windows, so that tests reach every limit.
pub(crate) struct FakeTransport {
    pub(crate) window: usize,
    pub(crate) piece: usize,
    streams: BTreeMap<u16, Ends>,
    events: VecDeque<StreamEvent>,
    next_slot: u16,
}

#[derive(Default)]
struct Ends {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    unsent: VecDeque<u8>,
    blocked: bool,
    closed: bool,
}

fn id(slot: u16) -> StreamId {
    StreamId { slot, generation: 0 }
}

impl FakeTransport {
    /// The server may have `window` unread bytes in each direction; the client's bytes arrive in pieces of `piece` bytes.
    pub(crate) fn new(window: usize, piece: usize) -> Self {
        Self { window, piece, streams: BTreeMap::new(), events: VecDeque::new(), next_slot: 0 }
    }

    pub(crate) fn open(&mut self) -> u16 {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.streams.insert(slot, Ends::default());
        let peer = VsockAddr { cid: 2, port: 1000 };
        self.events.push_back(StreamEvent::Accepted { stream: id(slot), port: 80, peer });
        slot
    }

    pub(crate) fn write(&mut self, slot: u16, bytes: &[u8]) {
        if let Some(ends) = self.streams.get_mut(&slot) {
            ends.unsent.extend(bytes);
        }
    }

    /// Reads what the server sent, which makes room again.
    pub(crate) fn read(&mut self, slot: u16) -> Vec<u8> {
        let Some(ends) = self.streams.get_mut(&slot) else { return Vec::new() };
        if std::mem::take(&mut ends.blocked) {
            self.events.push_back(StreamEvent::Writable(id(slot)));
        }
        std::mem::take(&mut ends.to_client)
    }

    pub(crate) fn close(&mut self, slot: u16) {
        self.events.push_back(StreamEvent::Closed(id(slot), CloseReason::Shutdown));
    }

    /// Whether the server has released the stream.
    pub(crate) fn is_over(&self, slot: u16) -> bool {
        self.streams.get(&slot).is_none_or(|ends| ends.closed)
    }
}

impl StreamTransport for FakeTransport {
    fn poll(&mut self, _now_ns: u64) {
        for (&slot, ends) in &mut self.streams {
            let n = ends.unsent.len().min(self.piece).min(self.window - ends.to_server.len());
            ends.to_server.extend(ends.unsent.drain(..n));
            if n > 0 {
                self.events.push_back(StreamEvent::Readable(id(slot)));
            }
        }
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn connect(&mut self, _peer: VsockAddr, _now_ns: u64) -> Result<StreamId, ConnectError> {
        Err(ConnectError::NoTransport)
    }

    fn listen(&mut self, _port: u32) {}

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.streams.get(&stream.slot).map_or(&[], |ends| &ends.to_server)
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        if let Some(ends) = self.streams.get_mut(&stream.slot) {
            ends.to_server.drain(..n);
        }
    }

    fn send_room(&self, stream: StreamId) -> usize {
        self.streams.get(&stream.slot).map_or(0, |ends| self.window - ends.to_client.len())
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        let n = data.len().min(self.send_room(stream));
        if let Some(ends) = self.streams.get_mut(&stream.slot) {
            ends.to_client.extend_from_slice(&data[..n]);
            ends.blocked |= n < data.len();
        }
        n
    }

    fn release(&mut self, stream: StreamId) {
        if let Some(ends) = self.streams.get_mut(&stream.slot) {
            ends.closed = true;
        }
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        true
    }
}
