//! The appliance's side of one control connection.

use alloc::vec::Vec;
use model::control::frame::{Decoder, FrameError, encode};
use model::control::message::{Ask, FRAME_MAX, Message, PREAMBLE, Refusal};
use netdrv::stream::{StreamId, StreamTransport};

/// Limit on bytes queued for a peer that does not read, beyond which it is disconnected.
const BACKLOG_MAX: usize = 4 * FRAME_MAX;

#[derive(Debug)]
pub(super) struct Session {
    stream: StreamId,
    input: Decoder,
    output: Vec<u8>,
    /// The peer is a supervisor, and is told when a pool needs a worker.
    pub(super) supervises: bool,
}

impl Session {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, input: Decoder::default(), output: PREAMBLE.to_vec(), supervises: false }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// The next message, as from [`Decoder::next_message`]. Reads nothing while replies are pending.
    pub(super) fn next_ask(
        &mut self,
        streams: &mut impl StreamTransport,
    ) -> Result<Option<Option<Ask>>, FrameError> {
        loop {
            if self.output.len() >= FRAME_MAX {
                return Ok(None);
            }
            if let Some(message) = self.input.next_message()? {
                return Ok(Some(message));
            }
            let bytes = streams.readable(self.stream);
            // Less than a frame is held, or it would have been returned.
            let n = bytes.len().min(FRAME_MAX);
            if n == 0 {
                return Ok(None);
            }
            self.input.push(&bytes[..n]);
            streams.consume(self.stream, n);
        }
    }

    pub(super) fn refuse_malformed(&mut self) {
        self.queue(&Message::Reply { id: 0, result: Err(Refusal::Malformed) });
    }

    pub(super) fn queue(&mut self, message: &Message) {
        // Answers are paged, which keeps every message far below the limit.
        let fits = encode(message, &mut self.output);
        debug_assert!(fits, "a message of more than {FRAME_MAX} bytes");
    }

    /// Sends queued bytes. False if the peer must be disconnected because it does not read.
    pub(super) fn flush(&mut self, streams: &mut impl StreamTransport) -> bool {
        if !self.output.is_empty() {
            let n = streams.send(self.stream, &self.output);
            self.output.drain(..n);
        }
        self.output.len() <= BACKLOG_MAX
    }
}
