//! An in-memory vsock transport. Each machine has an end; the world carries packets between ends, late or never.

use netdrv::stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr};
use std::collections::{BTreeMap, VecDeque};

const CREDIT: usize = 64 << 10;
const MAX_PAYLOAD: usize = 16 << 10;
const CONNECT_TIMEOUT_NS: u64 = 2_000_000_000;
const MAX_STREAMS: usize = 256;

/// A packet between two ends of a stream.
#[derive(Clone, Debug)]
pub enum Packet {
    Request(VsockAddr),
    Response,
    Data(Vec<u8>),
    /// Bytes read so far.
    Credit(u64),
    Shutdown,
    Reset,
}

#[derive(Debug)]
struct End {
    stream: u64,
    connected: bool,
    closed: bool,
    received: Vec<u8>,
    read: u64,
    sent: u64,
    peer_read: u64,
    blocked: bool,
    /// Bytes sent at the start of a request of which the peer has read nothing.
    asked: Option<u64>,
    early: bool,
    give_up_at: Option<u64>,
}

/// One machine's streams.
#[derive(Default, Debug)]
pub struct SimStreams {
    ends: BTreeMap<StreamId, End>,
    events: VecDeque<StreamEvent>,
    /// Packets for the other machine, with the number of the stream.
    pub outgoing: Vec<(u64, Packet)>,
    listening: Option<u32>,
    opened: u32,
    /// Numbers of streams opened here start with this.
    first: u64,
}

impl SimStreams {
    /// An end whose own streams are numbered from `first`, so that they differ from the other end's.
    pub fn numbered_from(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Numbers of all streams of this end.
    pub fn numbers(&self) -> Vec<u64> {
        self.ends.values().map(|end| end.stream).collect()
    }

    /// Ends a stream by a reset.
    pub fn reset(&mut self, id: StreamId) {
        if let Some(end) = self.ends.get(&id) {
            self.outgoing.push((end.stream, Packet::Reset));
        }
        self.forget(id);
    }

    /// Resets the device: all streams are gone, and the other machine is not notified.
    pub fn reset_transport(&mut self) {
        let all: Vec<StreamId> = self.ends.keys().copied().collect();
        all.into_iter().for_each(|id| self.close(id, CloseReason::TransportReset));
        self.outgoing.clear();
    }

    fn forget(&mut self, id: StreamId) -> Option<End> {
        let end = self.ends.remove(&id)?;
        self.events.retain(|event| {
            !matches!(event, StreamEvent::Connected(other) | StreamEvent::Readable(other)
                | StreamEvent::Writable(other) | StreamEvent::Closed(other, _) if *other == id)
        });
        Some(end)
    }

    fn tell(&mut self, event: StreamEvent) {
        if !self.events.contains(&event) {
            self.events.push_back(event);
        }
    }

    fn open(&mut self, stream: u64, connected: bool, give_up_at: Option<u64>) -> Option<StreamId> {
        if self.ends.len() >= MAX_STREAMS {
            return None;
        }
        let slot = (0..MAX_STREAMS as u16).find(|slot| self.ends.keys().all(|id| id.slot != *slot))?;
        self.opened += 1;
        let id = StreamId { slot, generation: self.opened };
        let end = End {
            stream,
            connected,
            closed: false,
            received: Vec::new(),
            read: 0,
            sent: 0,
            peer_read: 0,
            blocked: false,
            asked: None,
            early: false,
            give_up_at,
        };
        self.ends.insert(id, end);
        Some(id)
    }

    fn close(&mut self, id: StreamId, reason: CloseReason) {
        if let Some(end) = self.ends.get_mut(&id)
            && !std::mem::replace(&mut end.closed, true)
        {
            end.give_up_at = None;
            self.tell(StreamEvent::Closed(id, reason));
        }
    }

    /// A packet arrives from the other machine.
    pub fn deliver(&mut self, stream: u64, packet: Packet) {
        let found = self.ends.iter().find(|(_, end)| end.stream == stream).map(|(id, _)| *id);
        let Some(id) = found else {
            match packet {
                Packet::Request(to) if self.listening == Some(to.port) => {
                    let peer = VsockAddr { cid: 2, port: stream as u32 };
                    match self.open(stream, true, None) {
                        Some(id) => {
                            self.outgoing.push((stream, Packet::Response));
                            self.tell(StreamEvent::Accepted { stream: id, port: to.port, peer });
                        }
                        None => self.outgoing.push((stream, Packet::Reset)),
                    }
                }
                Packet::Reset => {}
                _ => self.outgoing.push((stream, Packet::Reset)),
            }
            return;
        };
        let end = self.ends.get_mut(&id).expect("it was found just now");
        if end.closed {
            return;
        }
        match packet {
            Packet::Request(_) => {}
            Packet::Response => {
                end.connected = true;
                end.give_up_at = None;
                self.tell(StreamEvent::Connected(id));
            }
            Packet::Data(bytes) => {
                assert!(end.received.len() + bytes.len() <= CREDIT, "credit overrun");
                end.received.extend(bytes);
                end.early |= end.asked.is_some();
                self.tell(StreamEvent::Readable(id));
            }
            Packet::Credit(read) => {
                end.peer_read = end.peer_read.max(read);
                end.asked = end.asked.filter(|since| end.peer_read <= *since);
                if std::mem::take(&mut end.blocked) {
                    self.tell(StreamEvent::Writable(id));
                }
            }
            Packet::Shutdown => self.close(id, CloseReason::Shutdown),
            Packet::Reset => self.close(id, CloseReason::Reset),
        }
    }
}

impl StreamTransport for SimStreams {
    fn poll(&mut self, now_ns: u64) {
        let late: Vec<StreamId> = self
            .ends
            .iter()
            .filter(|(_, end)| end.give_up_at.is_some_and(|at| at <= now_ns))
            .map(|(id, _)| *id)
            .collect();
        late.into_iter().for_each(|id| self.close(id, CloseReason::TimedOut));
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        self.ends.values().filter_map(|end| end.give_up_at).min()
    }

    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError> {
        let stream = self.first + u64::from(self.opened) + 1;
        let id = self
            .open(stream, false, Some(now_ns + CONNECT_TIMEOUT_NS))
            .ok_or(ConnectError::TooManyStreams)?;
        self.outgoing.push((stream, Packet::Request(peer)));
        Ok(id)
    }

    fn listen(&mut self, port: u32) {
        self.listening = Some(port);
    }

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.ends.get(&stream).map_or(&[], |end| &end.received)
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        let Some(end) = self.ends.get_mut(&stream) else { return };
        end.received.drain(..n);
        end.read += n as u64;
        if !end.closed && n > 0 {
            self.outgoing.push((end.stream, Packet::Credit(end.read)));
        }
    }

    fn send_room(&self, stream: StreamId) -> usize {
        self.ends.get(&stream).filter(|end| end.connected && !end.closed).map_or(0, |end| {
            CREDIT - usize::try_from(end.sent - end.peer_read).expect("less than the credit is under way")
        })
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        let n = self.send_room(stream).min(data.len());
        let Some(end) = self.ends.get_mut(&stream) else { return 0 };
        end.blocked |= n < data.len();
        end.sent += n as u64;
        let packets = data[..n].chunks(MAX_PAYLOAD).map(|piece| (end.stream, Packet::Data(piece.to_vec())));
        self.outgoing.extend(packets);
        n
    }

    fn ask(&mut self, stream: StreamId) {
        if let Some(end) = self.ends.get_mut(&stream) {
            (end.asked, end.early) = (Some(end.sent), false);
        }
    }

    fn spoke_early(&self, stream: StreamId) -> bool {
        self.ends.get(&stream).is_some_and(|end| end.early)
    }

    fn has_unread(&self, stream: StreamId) -> bool {
        self.ends.get(&stream).is_some_and(|end| end.sent != end.peer_read)
    }

    fn release(&mut self, stream: StreamId) {
        let Some(end) = self.forget(stream) else { return };
        if !end.closed {
            let orderly = end.connected && end.received.is_empty();
            self.outgoing.push((end.stream, if orderly { Packet::Shutdown } else { Packet::Reset }));
        }
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        self.events.is_empty()
    }
}
