//! Connects two streams: the host's and the application's.
//!
//! - **Back-pressure**: a direction reads only when everything read before has been written.
//! - **Ends**: half-closes do not survive the way to the appliance, so the end of one side ends the other once everything the
//!   ended side sent has been delivered. If a side accepts no more data but still sends, its data is still forwarded.
//! - **Resets**: the application gets a TCP reset if the host's side ended before it accepted the whole response. In the other
//!   direction Linux has no reset for a vsock stream: the appliance sees an orderly end, and the supervisor can ask for
//!   [`Outcome::cut`] on another stream.
//! - **Dead host** while the application accepts nothing: given up after [`STALL_LIMIT`]. A host that accepts nothing is waited
//!   for, however slow its client is; it ends the stream when it has had enough.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// One of the two streams: a non-blocking file descriptor and a layer above it, such as TLS.
pub trait Side {
    /// The descriptor to poll.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Like the system call: 0 is the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Like the system call.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// Continues writing data that [`Side::write`] has accepted and buffered. True if there was progress.
    fn flush(&mut self) -> Result<bool, Errno> {
        Ok(false)
    }

    /// Whether data for [`Side::flush`] is buffered.
    fn holds(&self) -> bool {
        false
    }
}

/// A plain stream.
impl Side for BorrowedFd<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        *self
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        read(*self, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        write(*self, bytes)
    }
}

/// Buffer size per direction in bytes.
pub const BUFFER: usize = 32 * 1024;

/// Time limit for an application to accept data of a host that has gone.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How two connected streams ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes from the host to the application.
    pub to_application: u64,
    /// Bytes from the application to the host.
    pub to_host: u64,
    /// The host's side ended before it had accepted everything, or by a reset: the application must get a reset.
    pub aborted: bool,
    /// The application's side was reset: its data may be incomplete.
    pub cut: bool,
}

/// Moves bytes both ways until one side has ended and its data is delivered. Data still buffered by the host's side must be
/// flushed by the caller. Neither stream may block.
pub fn join(host: &mut impl Side, application: impl AsFd) -> Outcome {
    join_within(host, application, STALL_LIMIT)
}

fn join_within(host: &mut impl Side, application: impl AsFd, stall_limit: Duration) -> Outcome {
    let mut application = application.as_fd();
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let mut host_hung_up = false;
    let mut stalled = false;
    // The loop ends when a direction is finished, or neither can make progress.
    loop {
        // Not `||`: both must make progress.
        while up.step(host, &mut application) | down.step(&mut application, host) | down.flush(host) {}
        if up.is_through() || down.is_through() || stalled || (up.sink_gone && down.sink_gone) {
            break;
        }
        let host_is_gone = host_hung_up || up.source_ended || down.sink_gone;
        let mut of_host = up.reads() | down.writes();
        if host.holds() {
            of_host |= PollFlags::OUT;
        }
        // Even if nothing can be read now: its end must be noticed behind a stuck application.
        if !host_hung_up {
            of_host |= PollFlags::RDHUP;
        }
        let of_application = down.reads() | up.writes();
        // Omit streams without interest: poll would keep returning because of their end.
        let mut fds: Vec<PollFd<'_>> = [(host.fd(), of_host), (application, of_application)]
            .into_iter()
            .filter(|(_, flags)| !flags.is_empty())
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
        let limit = Timespec::try_from(stall_limit).ok().filter(|_| host_is_gone);
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => stalled = true,
            Ok(_) => {
                let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
                host_hung_up |= !of_host.is_empty() && fds[0].revents().intersects(gone);
            }
            Err(Errno::INTR) => {}
            Err(_) => stalled = true,
        }
    }
    Outcome {
        to_application: up.moved,
        to_host: down.moved,
        cut: down.source_failed || up.sink_failed,
        aborted: stalled
            || down.sink_gone
            || up.source_failed
            || !down.is_through() && (down.holds() > 0 || host.holds()),
    }
}

struct Direction {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    source_ended: bool,
    /// The source ended with an error.
    source_failed: bool,
    sink_gone: bool,
    /// The sink failed, as opposed to having ended.
    sink_failed: bool,
    moved: u64,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            source_ended: false,
            source_failed: false,
            sink_gone: false,
            sink_failed: false,
            moved: 0,
        }
    }

    /// Reads or writes once; true if there was progress.
    fn step(&mut self, from: &mut impl Side, to: &mut impl Side) -> bool {
        if self.sink_gone {
            return false;
        }
        if self.holds() > 0 {
            return match to.write(&self.buffer[self.start..self.end]) {
                Ok(n) => {
                    self.start += n;
                    self.moved += n as u64;
                    n > 0
                }
                Err(Errno::AGAIN) => false,
                Err(Errno::INTR) => true,
                Err(error) => {
                    (self.sink_gone, self.sink_failed) = (true, error != Errno::PIPE);
                    true
                }
            };
        }
        if self.source_ended {
            return false;
        }
        match from.read(&mut self.buffer) {
            Ok(n) => {
                (self.start, self.end) = (0, n);
                self.source_ended = n == 0;
                true
            }
            Err(Errno::AGAIN) => false,
            Err(Errno::INTR) => true,
            Err(_) => {
                (self.source_ended, self.source_failed) = (true, true);
                true
            }
        }
    }

    /// Flushes its sink; true if there was progress.
    fn flush(&mut self, to: &mut impl Side) -> bool {
        to.flush().unwrap_or_else(|_| !core::mem::replace(&mut self.sink_gone, true))
    }

    fn holds(&self) -> usize {
        self.end - self.start
    }

    /// Its source has ended and everything is delivered.
    fn is_through(&self) -> bool {
        self.source_ended && self.holds() == 0
    }

    fn reads(&self) -> PollFlags {
        let wants = !self.sink_gone && !self.source_ended && self.holds() == 0;
        if wants { PollFlags::IN } else { PollFlags::empty() }
    }

    fn writes(&self) -> PollFlags {
        let wants = !self.sink_gone && self.holds() > 0;
        if wants { PollFlags::OUT } else { PollFlags::empty() }
    }
}

#[cfg(test)]
mod tests;
