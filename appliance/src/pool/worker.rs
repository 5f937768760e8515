//! What a pool knows of one worker.

use crate::time::Instant;
use core::time::Duration;
use netdrv::stream::VsockAddr;

/// Pause before the first new attempt to reach a worker; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    pub(super) address: VsockAddr,
    /// All links, whatever their state.
    pub(super) links: usize,
    pub(super) connecting: usize,
    pub(super) in_use: usize,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Worker {
    pub(super) fn new(address: VsockAddr) -> Self {
        Self { address, links: 0, connecting: 0, in_use: 0, retry_at: None, pause: RETRY_MIN }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A link is being opened.
    pub(super) fn connecting(&mut self) {
        self.links += 1;
        self.connecting += 1;
        self.retry_at = None;
    }

    /// A link came up.
    pub(super) fn connected(&mut self) {
        self.connecting -= 1;
        self.pause = RETRY_MIN;
    }

    /// The worker did not answer: leave it alone for a while.
    pub(super) fn connect_failed(&mut self, now: Instant) {
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// We had no stream for it: not the worker's fault, but trying at once again is of no use.
    pub(super) fn connect_failed_locally(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_MIN);
    }
}

/// The worker to open a link to: the one with the fewest, among those below the limit and not being left alone.
pub(super) fn pick(workers: &[Worker], limit: usize, now: Instant) -> Option<usize> {
    workers
        .iter()
        .enumerate()
        .filter(|(_, w)| w.links < limit && w.retry_at.is_none_or(|at| at <= now))
        .min_by_key(|(_, w)| (w.in_use + w.connecting, w.links))
        .map(|(index, _)| index)
}
