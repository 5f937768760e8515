//! One control connection as the appliance keeps it.

use alloc::vec::Vec;
use model::control::frame::{Decoder, FrameError, encode};
use model::control::message::{Ask, FRAME_MAX, Message, PREAMBLE, Refusal};
use netdrv::stream::{StreamId, StreamTransport};

/// Bytes waiting for a peer that takes none, beyond which it is given up.
const BACKLOG_MAX: usize = 4 * FRAME_MAX;

#[derive(Debug)]
pub(super) struct Session {
    stream: StreamId,
    input: Decoder,
    output: Vec<u8>,
    /// It wants to know when a pool needs a worker.
    pub(super) supervises: bool,
}

impl Session {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, input: Decoder::default(), output: PREAMBLE.to_vec(), supervises: false }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// The next message as [`Decoder::next_message`] has it. Nothing more is taken in while replies to the last ones wait.
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
            // What is held is less than a frame, or it would have been returned.
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
        // Pages keep every message far below the limit.
        let fits = encode(message, &mut self.output);
        debug_assert!(fits, "a message of more than {FRAME_MAX} bytes");
    }

    /// False if the peer has to be given up because it takes nothing.
    pub(super) fn flush(&mut self, streams: &mut impl StreamTransport) -> bool {
        if !self.output.is_empty() {
            let n = streams.send(self.stream, &self.output);
            self.output.drain(..n);
        }
        self.output.len() <= BACKLOG_MAX
    }
}
