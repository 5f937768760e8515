//! Accepting: a thread per stream, and no more streams than allowed.

use crate::join::{Side, join};
use crate::target::Target;
use crate::tls::Tls;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, sleep};
use std::time::Duration;

/// Longest wait for the application to accept a stream.
pub const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Longest TLS handshake.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Stack of a thread that serves a stream; its buffers are elsewhere.
pub(crate) const STACK: usize = 128 * 1024;

/// Pause after a failed accept: out of file descriptors most likely, and streams that end give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What has been accepted so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams in hand.
    pub streams: AtomicU64,
    /// Streams closed at once because there were too many in hand.
    pub refused: AtomicU64,
    /// Streams closed because the application did not accept them.
    pub unreachable: AtomicU64,
    /// Streams closed because the TLS handshake failed: whoever was there is not the appliance.
    pub turned_away: AtomicU64,
    /// The host's ports of the last streams that the application broke off.
    cut: Mutex<VecDeque<u32>>,
}

/// Streams that are remembered because the application broke them off: more than there are at a time.
const CUT_MAX: usize = 4096;

impl Counters {
    /// A stream from this port has ended; `cut`: the application broke it off.
    pub(crate) fn ended(&self, port: u32, cut: bool) {
        if cut && let Ok(mut ports) = self.cut.lock() {
            if ports.len() >= CUT_MAX {
                ports.pop_front();
            }
            ports.push_back(port);
        }
    }

    /// A stream from this port begins.
    pub(crate) fn begun(&self, port: u32) {
        if let Ok(mut ports) = self.cut.lock() {
            ports.retain(|other| *other != port);
        }
    }

    /// Whether the application broke off the last stream from this port. Not known means yes.
    pub(crate) fn was_cut(&self, port: u32) -> bool {
        self.cut.lock().map_or(true, |ports| ports.contains(&port))
    }
}

/// A bell that rings once, for everybody who polls it.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings it.
    pub fn ring(&self) {
        // Only a counter at its end would refuse, and that rings as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// A place in a number of streams, given back when dropped.
struct Place(Arc<Counters>);

impl Place {
    fn take(counters: &Arc<Counters>, most: u64) -> Option<Self> {
        let more = |n: u64| (n < most).then_some(n + 1);
        match counters.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Some(Self(counters.clone())),
            Err(_) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until the bell rings, then ends the listener. `serve` gets each stream in a thread of its own.
pub fn accept(
    listener: OwnedFd,
    most: u64,
    counters: &Arc<Counters>,
    stop: &Bell,
    serve: impl Fn(OwnedFd) + Clone + Send + 'static,
) {
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN), PollFd::new(&stop.0, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[1].revents().is_empty() => return,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => sleep(ACCEPT_PAUSE),
        }
        let Ok(stream) = accept_with(&listener, SocketFlags::CLOEXEC) else {
            sleep(ACCEPT_PAUSE);
            continue;
        };
        // One too many ends here.
        let Some(place) = Place::take(counters, most) else { continue };
        let serve = serve.clone();
        let spawned = Builder::new().stack_size(STACK).spawn(move || {
            serve(stream);
            drop(place);
        });
        if let Err(error) = spawned {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            eprintln!("weir-agent: a thread for a stream: {error}");
        }
    }
}

/// Joins a stream of the host to the application.
///
/// `port` is the host's. Returns before the stream is closed, so that whoever sees its end can ask how it came.
pub fn relay(host: &OwnedFd, port: u32, tls: Option<&Tls>, target: &Target, counters: &Counters) {
    counters.begun(port);
    if rustix::io::ioctl_fionbio(host, true).is_err() {
        return;
    }
    let Some(tls) = tls else { return lead(&mut host.as_fd(), port, target, counters) };
    // Before the application is bothered: whoever is there has to be the appliance.
    let Ok(mut host) = tls.accept(host.as_fd(), HANDSHAKE_LIMIT) else {
        counters.turned_away.fetch_add(1, Ordering::Relaxed);
        return;
    };
    lead(&mut host, port, target, counters);
    host.finish();
}

fn lead(host: &mut impl Side, port: u32, target: &Target, counters: &Counters) {
    let Ok(application) = target.open(OPEN_LIMIT) else {
        counters.unreachable.fetch_add(1, Ordering::Relaxed);
        return counters.ended(port, true);
    };
    let outcome = join(host, &application);
    counters.ended(port, outcome.cut);
    if outcome.aborted {
        reset_at_close(&application);
    }
}

/// A TCP application sees a reset instead of an end. Unix sockets know no other end than theirs.
fn reset_at_close(application: impl AsFd) {
    let _ = sockopt::set_socket_linger(application, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
