//! Gives an exchange access to its HTTP/1 connection.

use super::gate::{Gate, Traffic};
use super::wire::Wire;
use crate::exchange::client::{Client, ContentEnd};
use crate::http::h1::Body;

/// A client behind the gate, with request content in HTTP/1 framing.
pub(super) struct Http1Client<'o, 'w, 's> {
    pub(super) wire: &'o mut Wire<'w, 's>,
    pub(super) gate: &'o mut Gate,
    pub(super) traffic: &'o mut Traffic,
    pub(super) content: &'o mut Body,
}

impl Client for Http1Client<'_, '_, '_> {
    fn send(&mut self, bytes: &[u8], follows: usize) {
        if !bytes.is_empty() {
            self.gate.send(self.wire, bytes, follows, self.traffic);
        }
    }

    fn is_blocked(&self) -> bool {
        !self.gate.is_empty()
    }

    fn room(&mut self, wanted: usize) -> usize {
        self.gate.room(wanted, self.wire, self.traffic)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.gate.write(self.wire, bytes);
    }

    fn prefers_merged_writes(&self) -> bool {
        self.wire.is_secure()
    }

    fn content(
        &mut self,
        most: usize,
        take: &mut dyn FnMut(&[u8], bool) -> usize,
    ) -> Result<usize, ContentEnd> {
        let Self { wire, gate, traffic, content } = self;
        let step = wire.recv(|input| {
            let admitted = gate.admit(content.wanted(input.len()), traffic);
            let input = input.get(..admitted.min(most)).unwrap_or(input);
            if input.is_empty() {
                return (0, Ok(0));
            }
            let step = content.take(input, take);
            let done = step.unwrap_or(0);
            gate.consumed(done);
            (done, step)
        });
        match step {
            Ok(step) => step.map_err(ContentEnd::Invalid),
            Err(_) => Err(ContentEnd::Closed),
        }
    }

    fn content_ended(&self) -> bool {
        self.content.is_finished()
    }

    fn switch_protocol(&mut self) {
        *self.content = Body::UntilClose;
    }
}
