//! The control connection, over which the host's supervisor and administrators reach a running appliance by
//! vsock.
//!
//! The appliance listens on [`CONTROL_PORT`] and accepts connections from the host only. A supervisor that
//! was restarted simply connects again, an appliance without one misses nothing, and several programs may
//! connect at a time.
//!
//! ```text
//! host:      PREAMBLE  Ask{1, Supervise}                  Ask{2, WorkerUp{..}}
//! appliance: PREAMBLE  Reply{1, Done}   Demand{pool: 0}   Reply{2, Done}
//! ```
//!
//! [`message`](model::control::message) defines the messages and [`frame`](model::control::frame) their
//! encoding, for both ends; [`Control`] keeps the appliance's connections. It does not interpret requests:
//! hub and shard answer them.

mod session;

use alloc::vec::Vec;
use model::control::CONTROL_PORT;
use model::control::message::{Ask, Message};
use netdrv::stream::{HOST_CID, StreamEvent, StreamId, StreamTransport};
use session::Session;

/// Limit on connections; further ones are closed at once.
pub const SESSIONS_MAX: usize = 8;

model::counters! {
    /// Event counts since the start.
    pub struct ControlCounters {
        /// Connections accepted.
        accepted = "control_accepted",
        /// Connections closed at once: too many, or not from the host.
        turned_away = "control_turned_away",
        /// Connections closed because the peer violated the protocol or did not read its replies.
        broken = "control_broken",
        /// Messages that could not be decoded.
        malformed = "control_malformed",
    }
}

/// The appliance's end of all control connections.
#[derive(Debug, Default)]
pub struct Control {
    sessions: Vec<Session>,
    counters: ControlCounters,
}

impl Control {
    /// Starts listening.
    pub fn new(streams: &mut impl StreamTransport) -> Self {
        streams.listen(CONTROL_PORT);
        Self::default()
    }

    /// Event counts since the start.
    pub fn counters(&self) -> ControlCounters {
        self.counters
    }

    /// Handles a transport event. False if it does not concern a control connection.
    pub fn on_event(&mut self, event: StreamEvent, streams: &mut impl StreamTransport) -> bool {
        match event {
            StreamEvent::Accepted { stream, port: CONTROL_PORT, peer } => {
                if peer.cid != HOST_CID || self.sessions.len() >= SESSIONS_MAX {
                    self.counters.turned_away += 1;
                    streams.release(stream);
                } else {
                    self.counters.accepted += 1;
                    self.sessions.push(Session::new(stream));
                }
                true
            }
            StreamEvent::Closed(stream, _) => {
                let Some(index) = self.sessions.iter().position(|s| s.stream() == stream) else {
                    return false;
                };
                self.sessions.swap_remove(index);
                streams.release(stream);
                true
            }
            StreamEvent::Readable(stream)
            | StreamEvent::Writable(stream)
            | StreamEvent::Connected(stream) => self.sessions.iter().any(|s| s.stream() == stream),
            StreamEvent::Accepted { .. } => false,
        }
    }

    /// The next request, and the connection it came from.
    pub fn next_ask(&mut self, streams: &mut impl StreamTransport) -> Option<(StreamId, Ask)> {
        let mut index = 0;
        while let Some(session) = self.sessions.get_mut(index) {
            match session.next_ask(streams) {
                Ok(Some(Some(ask))) => return Some((session.stream(), ask)),
                Ok(Some(None)) => {
                    self.counters.malformed += 1;
                    session.refuse_malformed();
                }
                Ok(None) => index += 1,
                Err(_) => {
                    self.counters.broken += 1;
                    self.drop_session(index, streams);
                }
            }
        }
        None
    }

    /// Queues a reply, if the connection still exists.
    pub fn reply(&mut self, to: StreamId, message: &Message) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.stream() == to) {
            session.queue(message);
        }
    }

    /// Makes this connection the supervisor's. Closes that of a previous supervisor, which may have died
    /// silently and would otherwise occupy its place for ever.
    pub fn set_supervisor(&mut self, peer: StreamId, streams: &mut impl StreamTransport) {
        while let Some(index) = self.sessions.iter().position(|s| s.supervises && s.stream() != peer) {
            self.drop_session(index, streams);
        }
        if let Some(session) = self.sessions.iter_mut().find(|s| s.stream() == peer) {
            session.supervises = true;
        }
    }

    /// Whether a supervisor is connected.
    pub fn is_supervised(&self) -> bool {
        self.sessions.iter().any(|s| s.supervises)
    }

    /// Queues a message to the supervisor.
    pub fn push(&mut self, message: &Message) {
        self.sessions.iter_mut().filter(|s| s.supervises).for_each(|s| s.queue(message));
    }

    /// Sends queued messages as far as there is room.
    pub fn flush(&mut self, streams: &mut impl StreamTransport) {
        let mut index = 0;
        while let Some(session) = self.sessions.get_mut(index) {
            match session.flush(streams) {
                true => index += 1,
                false => {
                    self.counters.broken += 1;
                    self.drop_session(index, streams);
                }
            }
        }
    }

    fn drop_session(&mut self, index: usize, streams: &mut impl StreamTransport) {
        let session = self.sessions.swap_remove(index);
        streams.release(session.stream());
    }
}
