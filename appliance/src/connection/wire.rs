//! What a session reads from and writes to: a TCP connection, or TLS over it. The same calls for both.

use super::security::Security;
use crate::tcp::{Socket, State};
use crate::tls::{Ended, MAX_RECORD_OVERHEAD, ServerTls};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Content of a full record and what it is on the wire.
const RECORD: usize = 16 << 10;
const RECORD_ON_WIRE: usize = RECORD + MAX_RECORD_OVERHEAD;

/// Between two TCP keep-alive probes (RFC 9293 §3.8.4).
const PROBE_INTERVAL: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(15);
/// From the last segment of a client that is probed to its end.
const PROBE_LIMIT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(90);

/// One client's byte stream.
pub(crate) struct Wire<'a, 's> {
    pub(crate) socket: &'a mut Socket<'s>,
    pub(crate) tls: Option<Box<ServerTls>>,
    /// For records that do not lie in one piece in the send buffer.
    pub(crate) scratch: Vec<u8>,
}

impl<'a, 's> Wire<'a, 's> {
    /// Joins a socket with the TLS of its connection, until [`Wire::part`].
    pub(crate) fn join(
        socket: &'a mut Socket<'s>,
        tls: &mut Option<Box<ServerTls>>,
        security: &mut Security,
    ) -> Self {
        let scratch = if tls.is_some() { core::mem::take(&mut security.scratch) } else { Vec::new() };
        Self { socket, tls: tls.take(), scratch }
    }

    /// Gives back what [`Wire::join`] took.
    pub(crate) fn part(self, tls: &mut Option<Box<ServerTls>>, security: &mut Security) {
        // TLS may have come to nothing meanwhile.
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

    /// Nothing of the client's waits to be read, encrypted or not.
    pub(crate) fn is_read(&self) -> bool {
        self.socket.recv_queue() == 0 && self.tls.as_ref().is_none_or(|tls| !tls.holds_input())
    }

    /// The client sends nothing beyond what can be read now.
    pub(crate) fn is_all(&self) -> bool {
        let ended = matches!(
            self.socket.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed
        );
        ended || self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }

    /// What [`Wire::recv_queue`] may grow to without anything being read.
    pub(crate) fn recv_capacity(&self) -> usize {
        match &self.tls {
            None => self.socket.recv_capacity(),
            Some(tls) => tls.plaintext().len(),
        }
    }

    /// Shows what was received to `f`, which says how much of it is done with.
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

    /// Throws away what was received, unread.
    pub(crate) fn discard(&mut self) -> usize {
        self.socket.recv(|input| (input.len(), input.len())).unwrap_or(0)
    }

    /// Bytes that wait to be sent or acknowledged, as they are on the wire.
    pub(crate) fn send_queue(&self) -> usize {
        self.socket.send_queue() + self.tls.as_ref().map_or(0, |tls| tls.output().len())
    }

    /// Free bytes of the send buffer.
    pub(crate) fn send_room(&self) -> usize {
        self.socket.send_capacity() - self.socket.send_queue()
    }

    /// How many bytes of content go into so many on the wire, at least.
    pub(crate) fn fit(&self, on_wire: usize) -> usize {
        match &self.tls {
            None => on_wire,
            Some(_) => {
                let rest = (on_wire % RECORD_ON_WIRE).saturating_sub(MAX_RECORD_OVERHEAD);
                on_wire / RECORD_ON_WIRE * RECORD + rest
            }
        }
    }

    /// What so many bytes of content are on the wire, at most.
    pub(crate) fn on_wire(&self, content: usize) -> usize {
        match &self.tls {
            None => content,
            Some(_) => content + content.div_ceil(RECORD) * MAX_RECORD_OVERHEAD,
        }
    }

    /// Sends as much as there is room for. Returns how many bytes, and how many they are on the wire.
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
            // In one piece if it fits at the end of the ring, else by way of a scratch buffer.
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
                    // There is room for it: `encrypt` was given no more.
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

    /// Sends what TLS has to say for itself. True once nothing of it is left.
    pub(crate) fn flush(&mut self) -> bool {
        self.tls.as_mut().is_none_or(|tls| flush(self.socket, tls))
    }

    /// Sends FIN after everything that was written, and before it, over TLS, that this is the end.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            // What finds no room is lost with its connection: an end without close_notify, which readers of content with a
            // length do not mind and others take for what it may be.
            flush(self.socket, tls);
        }
        self.socket.close();
    }

    /// From now on, or no longer, asks the client every [`PROBE_INTERVAL`] whether it is there: one that has not answered for
    /// [`PROBE_LIMIT`] is gone.
    pub(crate) fn probe(&mut self, on: bool) {
        self.socket.set_keep_alive(on.then_some(PROBE_INTERVAL));
        self.socket.set_timeout(on.then_some(PROBE_LIMIT));
    }

    pub(crate) fn abort(&mut self) {
        self.socket.abort();
    }
}

/// Decrypts until there is plaintext or nothing more can be done. True if the client will send nothing more.
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
