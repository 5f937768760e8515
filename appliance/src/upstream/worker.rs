//! What a pool knows of one worker, and how it judges its health.
//!
//! Two things are kept apart:
//!
//! - **What is said of the worker itself**: it cannot be connected to, or whoever looks after it says that it is down or gone.
//!   Such a worker is given nothing.
//! - **What became of requests**: an answer that is missing, malformed, or cut off may be the request's fault. Only when
//!   [`SOURCES`] different requests (by client and request line) have failed, [`IN_A_ROW`] of them one after the other or
//!   [`FAILED`] of the last 32, is the worker *suspect*: others are preferred, and where none has room it is asked all
//!   the same, so that bad requests alone never take the last worker away. After a pause that doubles with every
//!   further failure it is given one request as if nothing had been, whatever else it has in hand; the first whole response
//!   ends the suspicion.

use super::evidence::Lost;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use netdrv::stream::VsockAddr;

/// Pause before the first new attempt to reach a worker; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Different requests that must have failed before a worker is suspect ...
const SOURCES: usize = 3;
/// ... and that many in a row,
const IN_A_ROW: u32 = 5;
/// or that many of the last 32.
const FAILED: u32 = 16;
/// Lost requests that are remembered until it is known whether their worker has died.
const LOSSES: usize = 64;
/// That long after it lost a request, a worker's death may still be told.
const DEATH_IS_TOLD: Duration = Duration::from_secs(5);
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
    /// Whoever looks after it says that it cannot serve.
    pub(super) down: bool,
    /// What is said of it there, for people.
    pub(super) note: String,
    /// Its streams begin with their names, see [`super::verdict`].
    pub(super) named: bool,
    /// What became of the last requests, the last in the lowest bit; 1: failed.
    outcomes: u32,
    in_a_row: u32,
    /// The first different requests that failed.
    sources: heapless::Vec<u64, SOURCES>,
    suspect: bool,
    /// Links that are being opened to see how it is, while requests go elsewhere.
    probes: usize,
    /// Until when others are preferred to a suspect.
    rests_until: Instant,
    rest: Duration,
    /// No attempt to connect before this.
    retry_at: Option<Instant>,
    pause: Duration,
    losses: Vec<Lost>,
    /// When it died, and the number of that death.
    died: Option<(Instant, u64)>,
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
            down: false,
            note: String::new(),
            named: false,
            outcomes: 0,
            in_a_row: 0,
            sources: heapless::Vec::new(),
            suspect: false,
            probes: 0,
            rests_until: now,
            rest: RETRY_MIN,
            retry_at: None,
            pause: RETRY_MIN,
            losses: Vec::new(),
            died: None,
        }
    }

    /// One that the supervisor says is up.
    pub(super) fn announced(address: VsockAddr, named: bool, now: Instant) -> Self {
        Self { announced: true, in_sight: true, named, ..Self::new(address, now) }
    }

    /// It may be given something.
    fn takes_part(&self) -> bool {
        self.standing == Standing::Active && !self.down
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.standing == Standing::Active)
    }

    /// Forgets a rest that is over, so that it is no deadline any more.
    pub(super) fn wake(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// Nothing is held against it.
    pub(super) fn is_healthy(&self) -> bool {
        self.takes_part() && !self.suspect
    }

    /// Different requests have failed too often.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// A link to it may be opened.
    pub(super) fn is_fit(&self, now: Instant) -> bool {
        self.may_use_link(now) && (self.in_sight || self.connecting < ATTEMPTS)
    }

    /// A request may be given to it over a link that is there.
    pub(super) fn may_use_link(&self, now: Instant) -> bool {
        self.takes_part() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The lower, the sooner it is to be given a request: a suspect that has rested, so that it is known how it is; those
    /// that nothing is held against; a suspect that rests.
    pub(super) fn choice(&self, now: Instant) -> u8 {
        match self.suspect {
            false => 1,
            true if self.rests_until <= now => 0,
            true => 2,
        }
    }

    /// It was given a request. Of a suspect the next is given to others, until this one has an outcome or the rest is over
    /// again.
    pub(super) fn given(&mut self, now: Instant) {
        self.in_use += 1;
        self.used_at = now;
        self.rests_until = now + self.rest;
    }

    /// A link is being opened; `probe`: to a suspect, while another worker could have the request. One is enough: until it is
    /// there, requests go elsewhere.
    pub(super) fn connecting(&mut self, probe: bool, now: Instant) {
        self.links += 1;
        self.connecting += 1;
        self.probes += usize::from(probe);
        self.retry_at = None;
        self.rests_until = now + self.rest;
    }

    /// Links under way for requests that wait.
    pub(super) fn opening(&self) -> usize {
        self.connecting - self.probes.min(self.connecting)
    }

    /// A link is no longer being opened.
    pub(super) fn opened(&mut self) {
        self.connecting -= 1;
        self.probes = self.probes.min(self.connecting);
    }

    /// A link came up. Whether the worker answers as well remains to be seen.
    pub(super) fn connected(&mut self) {
        self.opened();
        self.in_sight = true;
        self.pause = RETRY_MIN;
    }

    /// The worker did not answer: leave it alone for a while.
    pub(super) fn connect_failed(&mut self, now: Instant) {
        self.in_sight = false;
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// We had no stream for it: not the worker's fault, but trying at once again is of no use.
    pub(super) fn connect_failed_locally(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_MIN);
    }

    /// It is there again after all: what it did before counts for nothing.
    pub(super) fn forgive(&mut self) {
        (self.outcomes, self.in_a_row, self.suspect) = (0, 0, false);
        self.sources.clear();
        (self.retry_at, self.pause, self.rest) = (None, RETRY_MIN, RETRY_MIN);
    }

    /// It has come up, perhaps again.
    pub(super) fn came(&mut self) {
        self.standing = Standing::Active;
        (self.in_sight, self.down, self.died) = (true, false, None);
        self.note.clear();
        self.losses.clear();
        self.forgive();
    }

    /// It answered a request.
    pub(super) fn succeeded(&mut self) {
        self.served += 1;
        if self.suspect {
            return self.forgive();
        }
        self.outcomes <<= 1;
        (self.in_a_row, self.retry_at) = (0, None);
        if self.outcomes == 0 {
            self.sources.clear();
        }
    }

    /// It lost this request, was silent for too long or answered nonsense.
    pub(super) fn failed(&mut self, source: u64, now: Instant) {
        self.outcomes = self.outcomes << 1 | 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !self.sources.contains(&source) {
            // Full: there are as many as it takes.
            let _ = self.sources.push(source);
        }
        let often = self.in_a_row >= IN_A_ROW || self.outcomes.count_ones() >= FAILED;
        self.suspect |= self.sources.is_full() && often;
        if self.suspect {
            self.rests_until = now + self.rest;
            self.rest = (self.rest * 2).min(RETRY_MAX);
        }
    }

    /// It lost this request. The number of its death, if it is known to have died of this one or of one beside it; else that may
    /// still be told.
    pub(super) fn lost(&mut self, lost: Lost) -> Option<u64> {
        if let Some((_, death)) = self.died.filter(|(at, _)| lost.at.since(*at) < DEATH_IS_TOLD) {
            return Some(death);
        }
        if self.losses.len() >= LOSSES {
            self.losses.remove(0);
        }
        self.losses.push(lost);
        None
    }

    /// It has died; what it had lost just before.
    pub(super) fn has_died(&mut self, death: u64, now: Instant) -> Vec<Lost> {
        self.died = Some((now, death));
        let mut lost = core::mem::take(&mut self.losses);
        lost.retain(|lost| now.since(lost.at) < DEATH_IS_TOLD);
        lost
    }
}

/// The worker to open a link to: by [`Worker::choice`], then the one with the fewest requests, among those that are fit,
/// below the limit, and not the one to be avoided.
pub(super) fn pick(workers: &[Worker], limit: usize, avoid: Option<usize>, now: Instant) -> Option<usize> {
    workers
        .iter()
        .enumerate()
        .filter(|(index, w)| w.links < limit && w.is_fit(now) && Some(*index) != avoid)
        .min_by_key(|(_, w)| (w.choice(now), w.in_use + w.connecting, w.links))
        .map(|(index, _)| index)
}

/// Whether a link to this worker, which was picked, would only show how it is, because a worker that nothing is held against
/// has room for the same request.
pub(super) fn is_probe(
    workers: &[Worker],
    picked: usize,
    limit: usize,
    avoid: Option<usize>,
    now: Instant,
) -> bool {
    let other =
        |(index, w): (usize, &Worker)| !w.suspect && w.links < limit && w.is_fit(now) && Some(index) != avoid;
    workers.get(picked).is_some_and(Worker::is_suspect) && workers.iter().enumerate().any(other)
}
