//! The event loop: accepts, serves and releases streams.

use crate::connection::{Connection, Wait};
use alloc::vec::Vec;
use netdrv::stream::{StreamEvent, StreamId, StreamTransport};

/// Maximum number of concurrent streams; further ones are rejected.
pub const MAX_STREAMS: usize = 256;
const SCRATCH: usize = 16 * 1024;

/// All streams of the worker.
#[derive(Debug)]
pub struct Server {
    streams: Vec<Stream>,
    scratch: Vec<u8>,
    /// The earliest time that any stream waits for.
    wake_at: Option<u64>,
    /// Streams rejected because there were [`MAX_STREAMS`].
    pub refused: u64,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    connection: Connection,
    wait: Wait,
}

impl Server {
    /// A server that accepts streams on `port`.
    pub fn new<T: StreamTransport>(io: &mut T, port: u32) -> Self {
        io.listen(port);
        Self {
            streams: Vec::with_capacity(MAX_STREAMS),
            scratch: alloc::vec![0; SCRATCH],
            wake_at: None,
            refused: 0,
        }
    }

    /// Does everything that can be done now. Call it after each `poll` of the transport and at [`Server::wake_at`]; `flush` must
    /// follow.
    pub fn turn<T: StreamTransport>(&mut self, io: &mut T, now_ns: u64) {
        while let Some(event) = io.next_event() {
            match event {
                StreamEvent::Accepted { stream, .. } if self.streams.len() < MAX_STREAMS => {
                    let connection = Connection::default();
                    self.streams.push(Stream { id: stream, connection, wait: Wait::Event });
                    self.drive(stream, io, now_ns);
                }
                StreamEvent::Accepted { stream, .. } => {
                    self.refused += 1;
                    io.release(stream);
                }
                StreamEvent::Readable(id) | StreamEvent::Writable(id) => self.drive(id, io, now_ns),
                StreamEvent::Closed(id, _) => {
                    // Half-closes are unreliable, so the peer cannot be waiting for the rest of a response.
                    io.release(id);
                    self.streams.retain(|s| s.id != id);
                }
                StreamEvent::Connected(_) => {}
            }
        }
        if self.wake_at.is_some_and(|at| at <= now_ns) {
            let due = |s: &Stream| matches!(s.wait, Wait::Until(at) if at <= now_ns);
            while let Some(id) = self.streams.iter().find(|s| due(s)).map(|s| s.id) {
                self.drive(id, io, now_ns);
            }
            self.wake_at = self.streams.iter().filter_map(Stream::wakes_at).min();
        }
    }

    /// When [`Server::turn`] must run next even without an event (nanoseconds, monotonic).
    pub fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    fn drive<T: StreamTransport>(&mut self, id: StreamId, io: &mut T, now_ns: u64) {
        let Some(index) = self.streams.iter().position(|s| s.id == id) else { return };
        let stream = &mut self.streams[index];
        stream.wait = stream.connection.drive(io, id, now_ns, &mut self.scratch);
        match stream.wait {
            Wait::Event => {}
            Wait::Until(at) => self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at))),
            Wait::Over => {
                io.release(id);
                self.streams.swap_remove(index);
            }
        }
    }
}

impl Stream {
    fn wakes_at(&self) -> Option<u64> {
        match self.wait {
            Wait::Until(at) => Some(at),
            Wait::Event | Wait::Over => None,
        }
    }
}
