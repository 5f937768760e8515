//! What a pool knows of one worker, and how it judges its health.
//!
//! One error says little: a link may break, a single request may be more than a worker can do. Errors in a row say that
//! it is sick. A sick worker rests for a while, doubled with every further error, and is then tried with one request; the
//! first whole response makes it healthy again.

use crate::time::Instant;
use core::time::Duration;
use netdrv::stream::VsockAddr;

/// Pause before the first new attempt to reach a worker; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Failed requests in a row that make a worker sick.
const SICK: u32 = 3;
/// Attempts at a time to reach a worker that may not be there: each takes up a link that others could use.
const ATTEMPTS: usize = 4;

/// Whether a worker takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    /// It finishes what it has (overlapped recycling) and gets nothing new.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) address: VsockAddr,
    pub(super) standing: Standing,
    /// All links, whatever their state.
    pub(super) links: usize,
    pub(super) connecting: usize,
    pub(super) in_use: usize,
    /// The supervisor told of it; it is not one of the settings'.
    pub(super) announced: bool,
    /// The last attempt to reach it succeeded, or the supervisor says that it is up.
    pub(super) in_sight: bool,
    /// Requests it has answered.
    pub(super) served: u64,
    /// When it was last given a request or ended with one.
    pub(super) used_at: Instant,
    failures: u32,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Worker {
    pub(super) fn new(address: VsockAddr, now: Instant) -> Self {
        Self {
            address,
            standing: Standing::Active,
            links: 0,
            connecting: 0,
            in_use: 0,
            announced: false,
            in_sight: false,
            served: 0,
            used_at: now,
            failures: 0,
            retry_at: None,
            pause: RETRY_MIN,
        }
    }

    /// One that the supervisor says is up.
    pub(super) fn announced(address: VsockAddr, now: Instant) -> Self {
        Self { announced: true, in_sight: true, ..Self::new(address, now) }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.standing == Standing::Active)
    }

    /// Forgets a rest that is over, so that it is no deadline any more.
    pub(super) fn wake(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// It answered the last request, or has not been asked too often in vain.
    pub(super) fn is_healthy(&self) -> bool {
        self.standing == Standing::Active && self.failures < SICK
    }

    /// A request may be given to it.
    pub(super) fn is_fit(&self, now: Instant) -> bool {
        self.standing == Standing::Active
            && self.retry_at.is_none_or(|at| at <= now)
            && (self.failures < SICK || self.in_use + self.connecting == 0)
            && (self.in_sight || self.connecting < ATTEMPTS)
    }

    /// As [`Worker::is_fit`], for a sick worker that is just connecting to be tried: the link under way is for that.
    pub(super) fn may_use_link(&self, now: Instant) -> bool {
        self.standing == Standing::Active
            && self.retry_at.is_none_or(|at| at <= now)
            && (self.failures < SICK || self.in_use == 0)
    }

    /// A link is being opened.
    pub(super) fn connecting(&mut self) {
        self.links += 1;
        self.connecting += 1;
        self.retry_at = None;
    }

    /// A link came up. Whether the worker answers as well remains to be seen.
    pub(super) fn connected(&mut self) {
        self.connecting -= 1;
        self.in_sight = true;
        if self.failures < SICK {
            self.pause = RETRY_MIN;
        }
    }

    /// The worker did not answer: leave it alone for a while.
    pub(super) fn connect_failed(&mut self, now: Instant) {
        self.in_sight = false;
        self.rest(now);
    }

    /// We had no stream for it: not the worker's fault, but trying at once again is of no use.
    pub(super) fn connect_failed_locally(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_MIN);
    }

    /// It is there again after all: what it did before counts for nothing.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.pause = RETRY_MIN;
    }

    /// It answered a request.
    pub(super) fn succeeded(&mut self) {
        self.served += 1;
        self.forgive();
    }

    /// It lost a request, was silent for too long or answered nonsense.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= SICK {
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Instant) {
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }
}

/// The worker to open a link to: the one with the fewest requests, among those that are fit, below the limit, and not the
/// one to be avoided.
pub(super) fn pick(workers: &[Worker], limit: usize, avoid: Option<usize>, now: Instant) -> Option<usize> {
    workers
        .iter()
        .enumerate()
        .filter(|(index, w)| w.links < limit && w.is_fit(now) && Some(*index) != avoid)
        .min_by_key(|(_, w)| (w.in_use + w.connecting, w.links))
        .map(|(index, _)| index)
}
