//! Accepts streams: a thread each, and no more than allowed.

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

/// Time limit for the application to accept a stream.
pub const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Time limit of a TLS handshake.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Stack size of a stream's thread; buffers are allocated elsewhere.
pub(crate) const STACK: usize = 128 * 1024;

/// Delay after a failed accept, which is probably due to a lack of file descriptors: ending streams free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Stream counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Open streams.
    pub streams: AtomicU64,
    /// Streams closed at once because there were too many.
    pub refused: AtomicU64,
    /// Streams closed because the application did not accept them.
    pub unreachable: AtomicU64,
    /// Streams closed because the TLS handshake failed: the client was not the appliance.
    pub turned_away: AtomicU64,
    /// The host's ports of streams recently reset by the application.
    cut: Mutex<VecDeque<u32>>,
}

/// Number of reset streams remembered, more than the maximum of concurrent streams.
const CUT_MAX: usize = 4096;

impl Counters {
    /// Records that a stream from this port has ended; `cut`: the application reset it.
    pub(crate) fn ended(&self, port: u32, cut: bool) {
        if cut && let Ok(mut ports) = self.cut.lock() {
            if ports.len() >= CUT_MAX {
                ports.pop_front();
            }
            ports.push_back(port);
        }
    }

    /// Records that a stream from this port begins.
    pub(crate) fn begun(&self, port: u32) {
        if let Ok(mut ports) = self.cut.lock() {
            ports.retain(|other| *other != port);
        }
    }

    /// Whether the application reset the last stream from this port; true if unknown.
    pub(crate) fn was_cut(&self, port: u32) -> bool {
        self.cut.lock().map_or(true, |ports| ports.contains(&port))
    }
}

/// A one-time signal that any number of threads can poll.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings it.
    pub fn ring(&self) {
        // Fails only if the counter overflows, in which case it is rung already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// A slot in the limited number of streams, released when dropped.
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

/// Accepts streams until the bell rings, then closes the listener. `serve` handles each stream in a thread of its own.
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
        // Above the limit, the stream is closed here.
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

/// Connects a stream of the host to the application.
///
/// `port` is the host's. Returns before the stream is closed, so that a peer that notices its end can ask how it ended.
pub fn relay(host: &OwnedFd, port: u32, tls: Option<&Tls>, target: &Target, counters: &Counters) {
    counters.begun(port);
    if rustix::io::ioctl_fionbio(host, true).is_err() {
        return;
    }
    let Some(tls) = tls else { return lead(&mut host.as_fd(), port, target, counters) };
    // Before connecting to the application, verify that the client is the appliance.
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

/// Makes a TCP application see a reset instead of an orderly end. Unix sockets have no such distinction.
fn reset_at_close(application: impl AsFd) {
    let _ = sockopt::set_socket_linger(application, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
