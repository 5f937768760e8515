//! The stream to the host's log collector: opened when there is something to send, reopened after it ended.
//!
//! The collector acknowledges what it has written, as counts of bytes since the previous acknowledgement,
//! four bytes each, little-endian. Lines are kept until then and sent again on a new stream: if a collector
//! dies between writing and acknowledging, lines are duplicated, but never lost.

use super::Spool;
use crate::time::Instant;
use core::time::Duration;
use netdrv::stream::{HOST_CID, StreamEvent, StreamId, StreamTransport, VsockAddr};

/// Lines are sent once there are this many bytes,
const BATCH: usize = 8 << 10;
/// or the first one has waited this long.
const DELAY: Duration = Duration::from_millis(100);
/// Length of an acknowledgement in bytes.
const ACKNOWLEDGEMENT: usize = 4;
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Connecting(StreamId),
    Open(StreamId),
}

/// The stream to the collector.
#[derive(Debug)]
pub struct LogLink {
    port: u32,
    state: State,
    /// Earliest time of the next attempt after a failure.
    retry_at: Option<Instant>,
    pause: Duration,
    /// When waiting lines are sent even if there are few.
    send_at: Option<Instant>,
    /// How long to collect lines before sending.
    delay: Duration,
    /// The start of an acknowledgement.
    partial: heapless::Vec<u8, ACKNOWLEDGEMENT>,
}

impl LogLink {
    /// A connection to this port of the host.
    pub const fn new(port: u32) -> Self {
        Self {
            port,
            state: State::Closed,
            retry_at: None,
            pause: RETRY_MIN,
            send_at: None,
            delay: DELAY,
            partial: heapless::Vec::new(),
        }
    }

    /// Whether the event concerns this stream.
    pub fn owns(&self, event: &StreamEvent) -> bool {
        let (StreamEvent::Connected(stream)
        | StreamEvent::Accepted { stream, .. }
        | StreamEvent::Readable(stream)
        | StreamEvent::Writable(stream)
        | StreamEvent::Closed(stream, _)) = event;
        matches!(self.state, State::Connecting(ours) | State::Open(ours) if ours == *stream)
    }

    /// Handles an event of this stream.
    pub fn on_event<S: StreamTransport>(
        &mut self,
        event: StreamEvent,
        spool: &mut Spool,
        streams: &mut S,
        now: Instant,
    ) {
        match event {
            StreamEvent::Connected(stream) => {
                self.state = State::Open(stream);
                self.pause = RETRY_MIN;
                self.send_at = Some(now);
            }
            StreamEvent::Readable(stream) => self.take_acknowledgements(stream, spool, streams),
            StreamEvent::Closed(stream, _) => {
                self.take_acknowledgements(stream, spool, streams);
                self.partial.clear();
                streams.release(stream);
                spool.rewind();
                self.fail(now);
            }
            StreamEvent::Writable(_) => self.send_at = Some(now),
            StreamEvent::Accepted { .. } => {}
        }
    }

    fn take_acknowledgements<S: StreamTransport>(
        &mut self,
        stream: StreamId,
        spool: &mut Spool,
        streams: &mut S,
    ) {
        while !streams.readable(stream).is_empty() {
            let input = streams.readable(stream);
            let n = input.len();
            for &byte in input {
                // There is room: it is emptied whenever it is full.
                let _ = self.partial.push(byte);
                if let Ok(number) = <[u8; ACKNOWLEDGEMENT]>::try_from(&self.partial[..]) {
                    spool.acknowledged(u32::from_le_bytes(number) as usize);
                    self.partial.clear();
                }
            }
            streams.consume(stream, n);
        }
    }

    /// Sends lines without delay from now on.
    pub fn hurry(&mut self, now: Instant) {
        self.delay = Duration::ZERO;
        self.retry_at = None;
        self.send_at = Some(now);
    }

    fn fail(&mut self, now: Instant) {
        self.state = State::Closed;
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// Sends what is due. To be called once per turn, after all lines were written.
    pub fn pump<S: StreamTransport>(&mut self, spool: &mut Spool, streams: &mut S, now: Instant) {
        if spool.unsent().is_empty() {
            self.send_at = None;
            return;
        }
        let send_at = *self.send_at.get_or_insert(now + self.delay);
        match self.state {
            State::Closed if self.retry_at.is_none_or(|at| at <= now) => {
                match streams.connect(VsockAddr { cid: HOST_CID, port: self.port }, now.as_nanos()) {
                    Ok(stream) => {
                        self.state = State::Connecting(stream);
                        self.retry_at = None;
                    }
                    Err(_) => self.fail(now),
                }
            }
            State::Open(stream) if send_at <= now || spool.len() >= BATCH => {
                while !spool.unsent().is_empty() {
                    let n = streams.send(stream, spool.unsent());
                    if n == 0 {
                        // The transport reports when there is room.
                        break;
                    }
                    spool.sent(n);
                }
                self.send_at = None;
            }
            _ => {}
        }
    }

    /// When [`LogLink::pump`] must be called even if nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closed => self.send_at.and(self.retry_at),
            State::Connecting(_) => None,
            State::Open(_) => self.send_at,
        }
    }
}
