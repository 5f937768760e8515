//! A client that executes a list of actions on one connection, whatever it receives, and records it.

use smoltcp::socket::tcp;
use std::collections::VecDeque;

/// Actions of a client. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub enum Step {
    Say(Vec<u8>),
    /// Until something new is received, the connection has ended, or this time has passed.
    Hear(u64),
    Wait(u64),
    /// Closes its sending direction.
    HalfClose,
    /// Aborts with RST.
    Abort,
}

#[derive(Default)]
pub struct Rough {
    steps: VecDeque<Step>,
    /// When the current step times out.
    due: Option<u64>,
    /// When it last sent something, and how much it had received by then.
    said: (u64, usize),
    /// Everything received.
    pub heard: Vec<u8>,
    /// Time from sending something until the first bytes arrive.
    pub waits: Vec<u64>,
}

impl Rough {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    pub fn is_done(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn wake_at(&self) -> Option<u64> {
        self.due
    }

    /// Does what is possible now. The socket is open.
    pub fn talk(&mut self, socket: &mut tcp::Socket<'_>, now_ns: u64) {
        while socket.can_recv() {
            let heard = &mut self.heard;
            let _ = socket.recv(|bytes| {
                heard.extend_from_slice(bytes);
                (bytes.len(), ())
            });
        }
        let over = !socket.may_recv() && !matches!(socket.state(), tcp::State::SynSent | tcp::State::Closed);
        let over = over || socket.state() == tcp::State::Closed;
        while let Some(step) = self.steps.front_mut() {
            let late = self.due.is_some_and(|due| due <= now_ns);
            match step {
                // The peer has gone.
                Step::Say(_) if over => {}
                Step::Say(bytes) => {
                    let sent = if socket.can_send() { socket.send_slice(bytes).unwrap_or(0) } else { 0 };
                    bytes.drain(..sent);
                    if !bytes.is_empty() {
                        return;
                    }
                    self.said = (now_ns, self.heard.len());
                }
                Step::Hear(_) if self.heard.len() > self.said.1 => {
                    self.waits.push(now_ns - self.said.0);
                    self.said = (now_ns, self.heard.len());
                }
                Step::Hear(_) if over => {}
                Step::Hear(ns) | Step::Wait(ns) => {
                    let due = *self.due.get_or_insert(now_ns + *ns);
                    if !late && due > now_ns {
                        return;
                    }
                }
                Step::HalfClose => socket.close(),
                Step::Abort => socket.abort(),
            }
            self.due = None;
            self.steps.pop_front();
        }
        socket.abort();
    }
}
