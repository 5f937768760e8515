//! A client that does one thing after the other on one connection, whatever comes back, and remembers what it heard.

use smoltcp::socket::tcp;
use std::collections::VecDeque;

/// What a client does. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub enum Step {
    Say(Vec<u8>),
    /// Until something new is heard, the connection has ended, or so long.
    Hear(u64),
    Wait(u64),
    /// Ends its half of the connection.
    HalfClose,
    /// Leaves with RST.
    Abort,
}

#[derive(Default)]
pub struct Rough {
    steps: VecDeque<Step>,
    /// When the step under way has taken long enough.
    due: Option<u64>,
    /// When something was last said, and how much had been heard by then.
    said: (u64, usize),
    /// Everything that was heard.
    pub heard: Vec<u8>,
    /// How long the first bytes after something said took to come.
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

    /// Does what can be done now. The socket is open.
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
                // To nobody any more.
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
