//! The socket of embedded-tls: queues in memory, filled and emptied by the session around it.
//!
//! Records are framed here too, so that embedded-tls only sees those allowed at each point (RFC 8446 §5): a
//! plaintext ServerHello, then encrypted records, with a ChangeCipherSpec for middleboxes among those of the
//! handshake.

use super::cipher::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER, mark_established};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// Limit on the content of an encrypted record (RFC 8446 §5.2).
pub(super) const MAX_RECORD: usize = (16 << 10) + 256;

/// Progress of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for the ServerHello.
    #[default]
    Hello,
    /// Waiting for the rest of the server's handshake.
    Flight,
    Established,
}

#[derive(Default)]
struct Queues {
    phase: Phase,
    /// Ciphertext received.
    incoming: VecDeque<u8>,
    /// Bytes missing from the current record.
    record_left: usize,
    /// Number of records received.
    records: u64,
    /// Ciphertext to be sent.
    outgoing: Vec<u8>,
    /// Plaintext received.
    received: Vec<u8>,
    /// Plaintext to be sent.
    to_send: Vec<u8>,
    closing: bool,
}

/// A worker sent a record that is not allowed at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnexpectedRecord;

impl core::fmt::Display for UnexpectedRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an unexpected record")
    }
}

impl core::error::Error for UnexpectedRecord {}

impl embedded_io_async::Error for UnexpectedRecord {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidData
    }
}

/// Shared access to the queues.
#[derive(Clone, Default)]
pub(super) struct Pipe(Rc<RefCell<Queues>>);

impl Pipe {
    /// Adds received ciphertext.
    pub(super) fn feed(&self, ciphertext: &[u8]) {
        self.0.borrow_mut().incoming.extend(ciphertext);
    }

    /// Adds plaintext to be sent.
    pub(super) fn submit(&self, plaintext: &[u8]) {
        self.0.borrow_mut().to_send.extend_from_slice(plaintext);
    }

    /// Notes that no more plaintext will be added.
    pub(super) fn close(&self) {
        self.0.borrow_mut().closing = true;
    }

    /// Moves the results to the ends of these buffers.
    pub(super) fn drain(&self, output: &mut Vec<u8>, plaintext: &mut Vec<u8>) {
        let mut queues = self.0.borrow_mut();
        append(output, &mut queues.outgoing);
        append(plaintext, &mut queues.received);
        // There are many idle links.
        queues.incoming.shrink_to_fit();
    }

    /// Number of records received.
    pub(super) fn records(&self) -> u64 {
        self.0.borrow().records
    }

    pub(super) fn phase(&self) -> Phase {
        self.0.borrow().phase
    }

    pub(super) fn establish(&self) {
        self.0.borrow_mut().phase = Phase::Established;
    }

    /// Adds decrypted bytes.
    pub(super) fn deliver(&self, plaintext: &[u8]) {
        self.0.borrow_mut().received.extend_from_slice(plaintext);
    }

    /// Waits for plaintext to be sent. `None`: there will be no more.
    pub(super) async fn next(&self) -> Option<Vec<u8>> {
        poll_fn(|_| {
            let mut queues = self.0.borrow_mut();
            match queues.to_send.is_empty() {
                false => Poll::Ready(Some(core::mem::take(&mut queues.to_send))),
                true if queues.closing => Poll::Ready(None),
                true => Poll::Pending,
            }
        })
        .await
    }
}

/// Appends, without a copy if `to` is empty.
fn append(to: &mut Vec<u8>, from: &mut Vec<u8>) {
    if to.is_empty() {
        *to = core::mem::take(from);
    } else {
        to.append(from);
    }
}

impl Queues {
    /// Whether a record of this type and length is allowed now. Advances the phase.
    fn admit(&mut self, kind: u8, len: usize) -> Result<(), UnexpectedRecord> {
        let fits = match (self.phase, kind) {
            (Phase::Flight | Phase::Established, APPLICATION_DATA) | (Phase::Hello, HANDSHAKE) => {
                len <= MAX_RECORD
            }
            (Phase::Hello | Phase::Flight, ALERT) => len == 2,
            (Phase::Flight, CHANGE_CIPHER_SPEC) => len == 1,
            _ => false,
        };
        if !fits {
            return Err(UnexpectedRecord);
        }
        if kind == HANDSHAKE {
            self.phase = Phase::Flight;
        }
        self.records += 1;
        Ok(())
    }

    fn take(&mut self, out: &mut [u8]) -> Result<usize, UnexpectedRecord> {
        if self.record_left == 0 {
            // embedded-tls reads whole headers.
            let mut header = [0; HEADER];
            if self.incoming.len() < HEADER || out.len() < HEADER {
                return Ok(0);
            }
            for byte in &mut header {
                *byte = self.incoming.pop_front().unwrap_or_default();
            }
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            self.admit(header[0], len)?;
            if self.phase == Phase::Established {
                mark_established(&mut header);
            }
            self.record_left = len;
            out[..HEADER].copy_from_slice(&header);
            return Ok(HEADER);
        }
        let n = self.record_left.min(out.len()).min(self.incoming.len());
        for (to, from) in out.iter_mut().zip(self.incoming.drain(..n)) {
            *to = from;
        }
        self.record_left -= n;
        Ok(n)
    }
}

impl ErrorType for Pipe {
    type Error = UnexpectedRecord;
}

impl Read for Pipe {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, UnexpectedRecord> {
        poll_fn(|_| match self.0.borrow_mut().take(out) {
            Ok(0) if !out.is_empty() => Poll::Pending,
            taken => Poll::Ready(taken),
        })
        .await
    }
}

impl Write for Pipe {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, UnexpectedRecord> {
        self.0.borrow_mut().outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), UnexpectedRecord> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(phase: Phase, kind: u8, len: u16) -> Result<[u8; HEADER], UnexpectedRecord> {
        let mut queues = Queues { phase, ..Queues::default() };
        let [high, low] = len.to_be_bytes();
        queues.incoming.extend([kind, 3, 3, high, low]);
        let mut out = [0; HEADER];
        assert_eq!(queues.take(&mut out)?, HEADER);
        Ok(out)
    }

    #[test]
    fn records_are_accepted_in_order_only() {
        use Phase::{Established, Flight, Hello};
        for (phase, kind, len, admitted) in [
            (Hello, HANDSHAKE, 100, true),
            (Hello, ALERT, 2, true),
            (Hello, ALERT, 3, false),
            (Hello, APPLICATION_DATA, 100, false),
            (Hello, CHANGE_CIPHER_SPEC, 1, false),
            (Hello, b'H', 100, false),
            (Flight, HANDSHAKE, 100, false),
            (Flight, APPLICATION_DATA, 16_640, true),
            (Flight, APPLICATION_DATA, 16_641, false),
            (Flight, CHANGE_CIPHER_SPEC, 1, true),
            (Flight, CHANGE_CIPHER_SPEC, 2, false),
            (Established, APPLICATION_DATA, 100, true),
            (Established, HANDSHAKE, 100, false),
            (Established, ALERT, 2, false),
            (Established, CHANGE_CIPHER_SPEC, 1, false),
        ] {
            assert_eq!(header(phase, kind, len).is_ok(), admitted, "{phase:?} {kind} {len}");
        }
        assert_eq!(header(Flight, APPLICATION_DATA, 5), Ok([APPLICATION_DATA, 3, 3, 0, 5]));
        assert_ne!(header(Established, APPLICATION_DATA, 5), Ok([APPLICATION_DATA, 3, 3, 0, 5]));
    }

    #[test]
    fn records_come_out_in_pieces_but_headers_whole() {
        let mut queues = Queues { phase: Phase::Flight, ..Queues::default() };
        queues.incoming.extend([APPLICATION_DATA, 3, 3, 0]);
        let mut out = [0; HEADER];
        assert_eq!(queues.take(&mut out), Ok(0));
        queues.incoming.extend([3, b'a', b'b', b'c', APPLICATION_DATA]);
        assert_eq!(queues.take(&mut out), Ok(HEADER));
        assert_eq!(queues.take(&mut out[..2]), Ok(2));
        assert_eq!(queues.take(&mut out), Ok(1), "not beyond the record's end");
        assert_eq!(out[0], b'c');
        assert_eq!(queues.take(&mut out), Ok(0));
    }
}
