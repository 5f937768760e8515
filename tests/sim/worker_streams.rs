//! A worker's end of its streams: plain, or with TLS by rustls as in `weir-agent`.

use crate::streams::SimStreams;
use netdrv::stream::{ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr};
use rustls::{ServerConfig, ServerConnection};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// Upper bound of the overhead of a record.
const OVERHEAD: usize = 64;

struct Session {
    connection: ServerConnection,
    /// Notified when the handshake is complete.
    accepted: Option<StreamEvent>,
    plaintext: Vec<u8>,
    /// Ciphertext for which there was no room.
    leaving: Vec<u8>,
}

/// One worker's streams.
#[derive(Default)]
pub struct WorkerStreams {
    pub end: SimStreams,
    pub tls: Option<Arc<ServerConfig>>,
    sessions: BTreeMap<StreamId, Session>,
    events: VecDeque<StreamEvent>,
}

impl WorkerStreams {
    pub fn secured_by(tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tls, ..Self::default() }
    }

    /// Ends a stream by a reset.
    pub fn reset(&mut self, stream: StreamId) {
        self.sessions.remove(&stream);
        self.end.reset(stream);
    }

    fn on_event(&mut self, event: StreamEvent) {
        match (event, &self.tls) {
            (StreamEvent::Accepted { stream, .. }, Some(tls)) => {
                let connection = ServerConnection::new(tls.clone()).expect("a configuration that works");
                let (plaintext, leaving) = (Vec::new(), Vec::new());
                self.sessions
                    .insert(stream, Session { connection, accepted: Some(event), plaintext, leaving });
            }
            (StreamEvent::Readable(stream) | StreamEvent::Writable(stream), Some(_)) => self.pump(stream),
            _ => self.events.push_back(event),
        }
    }

    fn pump(&mut self, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        let before = session.plaintext.len();
        let mut input = self.end.readable(stream).to_vec();
        self.end.consume(stream, input.len());
        while !input.is_empty() {
            let taken = session.connection.read_tls(&mut &input[..]).expect("reading from memory");
            input.drain(..taken);
            // The error is sent as an alert.
            let broken = session.connection.process_new_packets().is_err();
            let _ = session.connection.reader().read_to_end(&mut session.plaintext);
            if broken || taken == 0 {
                break;
            }
        }
        session.flush(stream, &mut self.end);
        if !session.connection.is_handshaking() {
            self.events.extend(session.accepted.take());
        }
        if session.plaintext.len() > before {
            self.events.push_back(StreamEvent::Readable(stream));
        }
    }
}

impl Session {
    fn flush(&mut self, stream: StreamId, end: &mut SimStreams) {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.leaving).expect("writing to memory");
        }
        let sent = end.send(stream, &self.leaving);
        self.leaving.drain(..sent);
    }
}

impl StreamTransport for WorkerStreams {
    fn poll(&mut self, now_ns: u64) {
        self.end.poll(now_ns);
        while let Some(event) = self.end.next_event() {
            self.on_event(event);
        }
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        self.end.next_deadline()
    }

    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError> {
        self.end.connect(peer, now_ns)
    }

    fn listen(&mut self, port: u32) {
        self.end.listen(port);
    }

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.sessions.get(&stream).map_or(self.end.readable(stream), |session| &session.plaintext)
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        match self.sessions.get_mut(&stream) {
            Some(session) => drop(session.plaintext.drain(..n)),
            None => self.end.consume(stream, n),
        }
    }

    fn send_room(&self, stream: StreamId) -> usize {
        let room = self.end.send_room(stream);
        match self.sessions.get(&stream) {
            Some(session) if session.leaving.is_empty() => room.saturating_sub(OVERHEAD),
            Some(_) => 0,
            None => room,
        }
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        // One record at a time.
        let room = self.send_room(stream).min(data.len()).min(16 << 10);
        let Some(session) = self.sessions.get_mut(&stream) else { return self.end.send(stream, data) };
        let n = session.connection.writer().write(&data[..room]).expect("writing to memory");
        session.flush(stream, &mut self.end);
        n
    }

    fn release(&mut self, stream: StreamId) {
        if let Some(mut session) = self.sessions.remove(&stream) {
            session.connection.send_close_notify();
            session.flush(stream, &mut self.end);
        }
        self.end.release(stream);
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        self.events.is_empty() && self.end.arm()
    }
}
