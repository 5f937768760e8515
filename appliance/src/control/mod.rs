//! The control connection: how the host's supervisor and administrators reach a running appliance, over vsock.
//!
//! The appliance listens on [`CONTROL_PORT`] and takes connections from the host only. So a supervisor that dies and comes back
//! simply connects again, an appliance without supervisor misses nothing, and several programs may ask at a time.
//!
//! ```text
//! host:      PREAMBLE  Ask{1, Supervise}                  Ask{2, WorkerUp{..}}
//! appliance: PREAMBLE  Reply{1, Done}   Demand{pool: 0}   Reply{2, Done}
//! ```
//!
//! [`message`](model::control::message) is what travels, [`frame`](model::control::frame) how, for both ends; [`Control`] keeps the appliance's connections. It knows nothing of
//! what is asked: the shard answers.

mod session;

use alloc::vec::Vec;
use model::control::CONTROL_PORT;
use model::control::message::{Ask, Message};
use netdrv::stream::{HOST_CID, StreamEvent, StreamId, StreamTransport};
use session::Session;

/// Connections at a time; further ones are closed at once.
pub const SESSIONS_MAX: usize = 8;

model::counters! {
    /// What happened, since the start.
    pub struct ControlCounters {
        /// Connections taken.
        accepted = "control_accepted",
        /// Connections closed at once: too many, or not from the host.
        turned_away = "control_turned_away",
        /// Connections closed because the peer spoke something else, or took no replies.
        broken = "control_broken",
        /// Messages that could not be read.
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
    /// Begins to listen.
    pub fn new(streams: &mut impl StreamTransport) -> Self {
        streams.listen(CONTROL_PORT);
        Self::default()
    }

    /// What happened, since the start.
    pub fn counters(&self) -> ControlCounters {
        self.counters
    }

    /// Takes an event of the transport; false if it is about none of ours.
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

    /// The next thing that is asked, and by whom.
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

    /// Queues a reply to whoever asked, if it is still there.
    pub fn reply(&mut self, to: StreamId, message: &Message) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.stream() == to) {
            session.queue(message);
        }
    }

    /// Whoever sent this looks after workers from now on. Whoever did so before is cut off: it may have died without a word,
    /// and its place would never be free again.
    pub fn supervises(&mut self, who: StreamId, streams: &mut impl StreamTransport) {
        while let Some(index) = self.sessions.iter().position(|s| s.supervises && s.stream() != who) {
            self.drop_session(index, streams);
        }
        if let Some(session) = self.sessions.iter_mut().find(|s| s.stream() == who) {
            session.supervises = true;
        }
    }

    /// Whether anybody looks after workers.
    pub fn is_supervised(&self) -> bool {
        self.sessions.iter().any(|s| s.supervises)
    }

    /// Queues a message to everybody who looks after workers.
    pub fn push(&mut self, message: &Message) {
        self.sessions.iter_mut().filter(|s| s.supervises).for_each(|s| s.queue(message));
    }

    /// Sends what is queued as far as there is room.
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
