//! Two streams joined: the host's and the application's.
//!
//! - **Back-pressure**: a direction reads only when everything it read before has been written.
//! - **Ends**: half-closes do not survive the way to the appliance, so the end of one side ends the other, after
//!   everything that the ended side sent has been delivered. A side that takes no more but still sends is heard out.
//! - **Resets**: an application is told by a TCP reset when the host's side ended before it took all of the response.
//!   The other way Linux has no reset for a vsock stream; the appliance sees an end, and whoever has to know whether it
//!   came too early asks for [`Outcome::cut`] on another stream.
//! - **A host that is gone** while the application takes nothing: given up after [`STALL_LIMIT`]. A host that takes
//!   nothing is waited for, however slow its client is; it ends the stream when it has had enough.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// One of the two streams: a file descriptor that does not block, and what is between it and the bytes.
pub trait Side {
    /// What is polled.
    fn fd(&self) -> BorrowedFd<'_>;

    /// As the system call: 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// As the system call.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// Writes on what [`Side::write`] took and holds. Whether it got further.
    fn flush(&mut self) -> Result<bool, Errno> {
        Ok(false)
    }

    /// Whether [`Side::flush`] waits for the descriptor.
    fn holds(&self) -> bool {
        false
    }
}

/// Bytes as they are.
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

/// Bytes held per direction.
pub const BUFFER: usize = 32 * 1024;

/// Longest wait for an application to take what a host sent that is gone.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How a joined pair ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes from the host to the application.
    pub to_application: u64,
    /// Bytes from the application to the host.
    pub to_host: u64,
    /// The host's side went before it had taken everything, or by a reset: the application is to be told by a reset.
    pub aborted: bool,
    /// The application's side broke off: what it sent may lack its end.
    pub cut: bool,
}

/// Moves bytes both ways until one side has ended and what it sent is delivered; what the host's side still holds then is
/// the caller's to flush. Neither stream may block.
pub fn join(host: &mut impl Side, application: impl AsFd) -> Outcome {
    join_within(host, application, STALL_LIMIT)
}

fn join_within(host: &mut impl Side, application: impl AsFd, stall_limit: Duration) -> Outcome {
    let mut application = application.as_fd();
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let mut host_hung_up = false;
    let mut stalled = false;
    // A loop's end is reached when a direction is through, or neither can be.
    loop {
        // Not `||`: both have to go on.
        while up.step(host, &mut application) | down.step(&mut application, host) | down.flush(host) {}
        if up.is_through() || down.is_through() || stalled || (up.sink_gone && down.sink_gone) {
            break;
        }
        let host_is_gone = host_hung_up || up.source_ended || down.sink_gone;
        let mut of_host = up.reads() | down.writes();
        if host.holds() {
            of_host |= PollFlags::OUT;
        }
        // Also when nothing of it can be read for now: its end has to be seen behind a stuck application.
        if !host_hung_up {
            of_host |= PollFlags::RDHUP;
        }
        let of_application = down.reads() | up.writes();
        // Without interest a stream stays out of the set: poll would return for its end again and again.
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
    /// It ended by an error.
    source_failed: bool,
    sink_gone: bool,
    /// It is gone by an error, and not because it had ended.
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

    /// Reads or writes once; whether it got further.
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

    /// Has its sink write on what that holds; whether it got further.
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
