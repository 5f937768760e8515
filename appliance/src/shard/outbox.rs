//! Output that found no room in the socket's send buffer yet: heads only, content waits where it is.

use super::env::Env;
use crate::tcp::Socket;
use alloc::vec::Vec;

/// Bytes to send before anything else.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends now what fits and keeps the rest.
    pub(super) fn send<S>(&mut self, socket: &mut Socket<'_>, bytes: &[u8], env: &mut Env<'_, S>) {
        let sent = if self.is_empty() { write(socket, bytes) } else { 0 };
        let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) else { return };
        if self.bytes.capacity() == 0 {
            self.bytes = env.buffer();
        }
        self.bytes.extend_from_slice(rest);
    }

    /// As [`Outbox::send`], for the first `len` bytes of the render buffer.
    pub(super) fn send_rendered<S>(&mut self, socket: &mut Socket<'_>, len: usize, env: &mut Env<'_, S>) {
        let render = core::mem::take(&mut env.render);
        self.send(socket, &render[..len], env);
        env.render = render;
    }

    /// Tries again. True once nothing is left.
    pub(super) fn flush<S>(&mut self, socket: &mut Socket<'_>, env: &mut Env<'_, S>) -> bool {
        if !self.is_empty() {
            self.sent += write(socket, &self.bytes[self.sent..]);
        }
        if self.is_empty() && self.sent > 0 {
            self.sent = 0;
            env.recycle(core::mem::take(&mut self.bytes));
        }
        self.is_empty()
    }
}

/// Bytes taken by the socket: none if it is closed, which its owner notices by itself.
fn write(socket: &mut Socket<'_>, bytes: &[u8]) -> usize {
    socket.send_slice(bytes).unwrap_or(0)
}
