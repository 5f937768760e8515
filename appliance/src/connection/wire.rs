//! A client's byte stream: TCP or TLS over TCP, with one interface for both.

use super::security::Security;
use crate::tcp::{Socket, State};
use crate::tls::{Ended, MAX_RECORD_OVERHEAD, ServerTls};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Content of a full record in bytes, and its size on the wire.
const RECORD: usize = 16 << 10;
const RECORD_ON_WIRE: usize = RECORD + MAX_RECORD_OVERHEAD;

/// Interval of TCP keep-alive probes (RFC 9293 §3.8.4).
const PROBE_INTERVAL: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(15);
/// How long a probed client may be silent before it counts as gone.
const PROBE_LIMIT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(90);

/// The byte stream of one client.
pub(crate) struct Wire<'a, 's> {
    pub(crate) socket: &'a mut Socket<'s>,
    pub(crate) tls: Option<Box<ServerTls>>,
    /// For records that do not fit the send buffer in one piece.
    pub(crate) scratch: Vec<u8>,
}

impl<'a, 's> Wire<'a, 's> {
    /// Combines a socket with the TLS state of its connection, until [`Wire::detach`].
    pub(crate) fn attach(
        socket: &'a mut Socket<'s>,
        tls: &mut Option<Box<ServerTls>>,
        security: &mut Security,
    ) -> Self {
        let scratch = if tls.is_some() { core::mem::take(&mut security.scratch) } else { Vec::new() };
        Self { socket, tls: tls.take(), scratch }
    }

    /// Returns what [`Wire::attach`] took.
    pub(crate) fn detach(self, tls: &mut Option<Box<ServerTls>>, security: &mut Security) {
        // The TLS state may have been dropped meanwhile.
        if !self.scratch.is_empty() {
            security.scratch = self.scratch;
        }
        *tls = self.tls;
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn state(&self) -> State {
        self.socket.state()
    }

    /// Bytes that can be read at once.
    pub(crate) fn recv_queue(&self) -> usize {
        match &self.tls {
            None => self.socket.recv_queue(),
            Some(tls) => tls.plaintext().len(),
        }
    }

    /// Whether no input waits to be read, encrypted or not.
    pub(crate) fn input_is_drained(&self) -> bool {
        self.socket.recv_queue() == 0 && self.tls.as_ref().is_none_or(|tls| !tls.holds_input())
    }

    /// Whether the client will send nothing beyond what can be read now.
    pub(crate) fn client_has_ended(&self) -> bool {
        let ended = matches!(
            self.socket.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed
        );
        ended || self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }

    /// What [`Wire::recv_queue`] can grow to while nothing is read.
    pub(crate) fn recv_capacity(&self) -> usize {
        match &self.tls {
            None => self.socket.recv_capacity(),
            Some(tls) => tls.plaintext().len(),
        }
    }

    /// Shows received bytes to `f`, which returns how many it consumed.
    pub(crate) fn recv<R>(&mut self, f: impl FnOnce(&[u8]) -> (usize, R)) -> Result<R, Ended> {
        let Some(tls) = &mut self.tls else {
            return self.socket.recv(|input| f(input)).map_err(|_| Ended);
        };
        let ended = pull(self.socket, tls, None);
        if tls.plaintext().is_empty() && (ended || tls.has_ended()) {
            return Err(Ended);
        }
        let (taken, result) = f(tls.plaintext());
        tls.consume(taken);
        Ok(result)
    }

    /// Discards received bytes unread. Returns how many.
    pub(crate) fn discard(&mut self) -> usize {
        self.socket.recv(|input| (input.len(), input.len())).unwrap_or(0)
    }

    /// Bytes on the wire not yet sent or acknowledged.
    pub(crate) fn send_queue(&self) -> usize {
        self.socket.send_queue() + self.tls.as_ref().map_or(0, |tls| tls.output().len())
    }

    /// Free bytes of the send buffer.
    pub(crate) fn send_room(&self) -> usize {
        self.socket.send_capacity() - self.socket.send_queue()
    }

    /// How many bytes of content fit into `on_wire` bytes on the wire, at least.
    pub(crate) fn content_that_fits(&self, on_wire: usize) -> usize {
        match &self.tls {
            None => on_wire,
            Some(_) => {
                let rest = (on_wire % RECORD_ON_WIRE).saturating_sub(MAX_RECORD_OVERHEAD);
                on_wire / RECORD_ON_WIRE * RECORD + rest
            }
        }
    }

    /// Size on the wire of `content` bytes, at most.
    pub(crate) fn on_wire(&self, content: usize) -> usize {
        match &self.tls {
            None => content,
            Some(_) => content + content.div_ceil(RECORD) * MAX_RECORD_OVERHEAD,
        }
    }

    /// Sends as much as fits. Returns the number of bytes, and their size on the wire.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> (usize, usize) {
        let Some(tls) = &mut self.tls else {
            let sent = self.socket.send_slice(bytes).unwrap_or(0);
            return (sent, sent);
        };
        let (mut sent, mut on_wire) = (0, 0);
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            if !flush(self.socket, tls) {
                break;
            }
            let room = self.socket.send_capacity() - self.socket.send_queue();
            let record = rest.len().min(RECORD) + MAX_RECORD_OVERHEAD;
            // In place if the record fits at the end of the ring, else through a scratch buffer.
            let direct = self.socket.send(|out| {
                if out.len() < record.min(room) {
                    return (0, None);
                }
                let (content, on_wire) = tls.encrypt(rest, out);
                (on_wire, Some((content, on_wire)))
            });
            let (content, len) = match direct {
                Ok(Some(done)) => done,
                Ok(None) => {
                    let scratch = &mut self.scratch;
                    let end = room.min(scratch.len());
                    let (content, len) = tls.encrypt(rest, scratch.get_mut(..end).unwrap_or_default());
                    // Cannot fail: `encrypt` was given no more room than there is.
                    let _ = self.socket.send_slice(scratch.get(..len).unwrap_or_default());
                    (content, len)
                }
                Err(_) => break,
            };
            if content == 0 {
                break;
            }
            sent += content;
            on_wire += if len == 0 { content } else { len };
        }
        (sent, on_wire)
    }

    /// Sends pending TLS output. True once nothing is left.
    pub(crate) fn flush(&mut self) -> bool {
        self.tls.as_mut().is_none_or(|tls| flush(self.socket, tls))
    }

    /// Sends FIN after all pending output, preceded by close_notify over TLS.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            // If close_notify finds no room, it is lost: content with a length is complete without it, and
            // other content counts as possibly truncated.
            flush(self.socket, tls);
        }
        self.socket.close();
    }

    /// Starts or stops keep-alive probes every [`PROBE_INTERVAL`]. A client that has not answered for
    /// [`PROBE_LIMIT`] is gone.
    pub(crate) fn probe(&mut self, on: bool) {
        self.socket.set_keep_alive(on.then_some(PROBE_INTERVAL));
        self.socket.set_timeout(on.then_some(PROBE_LIMIT));
    }

    pub(crate) fn abort(&mut self) {
        self.socket.abort();
    }
}

/// Decrypts until there is plaintext or no progress. True if the client will send nothing more.
pub(crate) fn pull(socket: &mut Socket<'_>, tls: &mut ServerTls, store: Option<&crate::tls::Store>) -> bool {
    loop {
        if !tls.plaintext().is_empty() || tls.fault().is_some() {
            return false;
        }
        if tls.receive_gathered(store) {
            continue;
        }
        let (queued, capacity) = (socket.recv_queue(), socket.recv_capacity());
        let step = socket.recv(|input| {
            if input.is_empty() {
                return (0, 0);
            }
            let full = ServerTls::is_full(input.len(), queued, capacity);
            let taken = tls.receive(input, full, store);
            (taken, taken)
        });
        match step {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

fn flush(socket: &mut Socket<'_>, tls: &mut ServerTls) -> bool {
    if tls.output().is_empty() {
        return true;
    }
    let sent = socket.send_slice(tls.output()).unwrap_or(0);
    tls.sent(sent);
    tls.output().is_empty()
}
