//! State and health of one worker.
//!
//! Two kinds of evidence are kept apart:
//!
//! - **About the worker itself**: it cannot be connected to, or its supervisor reports it down or gone. Such
//!   a worker gets no requests.
//! - **About requests**: a missing, malformed or truncated response may be the fault of the request. A worker
//!   is *suspect* only when [`SOURCES`] different requests (by client and request line) have failed, and
//!   [`IN_A_ROW`] in succession or [`FAILED`] of the last 32. Others are then preferred, but a suspect is
//!   used when no other has room, so that bad requests alone never take the last worker away. After a pause
//!   that doubles with every further failure, it gets one request as usual, whatever else it is processing;
//!   the first complete response ends the suspicion.

use super::fingerprint::LostRequest;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use netdrv::stream::VsockAddr;

/// Pause before the first attempt to reconnect; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Different requests that must have failed before a worker is suspect,
const SOURCES: usize = 3;
/// and failures in succession,
const IN_A_ROW: u32 = 5;
/// or failures among the last 32.
const FAILED: u32 = 16;
/// Lost requests remembered until it is known whether the worker died.
const LOSSES: usize = 64;
/// How long after a lost request the worker's death may still be reported.
const DEATH_IS_TOLD: Duration = Duration::from_secs(5);
/// Concurrent attempts to reach a worker that may be gone: each takes a link that others could use.
const ATTEMPTS: usize = 4;

/// Whether a worker accepts requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    /// Finishes its requests (overlapped recycling) and gets no new ones.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) address: VsockAddr,
    pub(super) standing: Standing,
    /// Links in any state.
    pub(super) links: usize,
    pub(super) connecting: usize,
    pub(super) in_use: usize,
    /// Announced by the supervisor, not named in the settings.
    pub(super) announced: bool,
    /// The last attempt to connect succeeded, or the supervisor reports that it is up.
    pub(super) reachable: bool,
    /// Requests answered.
    pub(super) served: u64,
    /// When it last received or ended a request.
    pub(super) used_at: Instant,
    /// The supervisor reports that it cannot serve.
    pub(super) down: bool,
    /// The supervisor's note, for people.
    pub(super) note: String,
    /// Its streams begin with their names, see [`super::verdict`].
    pub(super) named: bool,
    /// Outcomes of the last 32 requests, the latest in the lowest bit; 1: failed.
    outcomes: u32,
    in_a_row: u32,
    /// The first different requests that failed, by source.
    sources: heapless::Vec<u64, SOURCES>,
    suspect: bool,
    /// Links being opened to probe a suspect while requests go elsewhere.
    probes: usize,
    /// Until when others are preferred to a suspect.
    rests_until: Instant,
    rest: Duration,
    /// Time of the next attempt to connect.
    retry_at: Option<Instant>,
    pause: Duration,
    losses: Vec<LostRequest>,
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
            reachable: false,
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

    /// A worker that the supervisor announced.
    pub(super) fn announced(address: VsockAddr, named: bool, now: Instant) -> Self {
        Self { announced: true, reachable: true, named, ..Self::new(address, now) }
    }

    /// Whether it accepts requests.
    fn accepts_requests(&self) -> bool {
        self.standing == Standing::Active && !self.down
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.standing == Standing::Active)
    }

    /// Clears a pause that is over, so that it is no longer a deadline.
    pub(super) fn wake(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// Whether it accepts requests and is not suspect.
    pub(super) fn is_healthy(&self) -> bool {
        self.accepts_requests() && !self.suspect
    }

    /// Whether different requests have failed too often.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether a link to it may be opened.
    pub(super) fn is_fit(&self, now: Instant) -> bool {
        self.may_use_link(now) && (self.reachable || self.connecting < ATTEMPTS)
    }

    /// Whether it may get a request over an existing link.
    pub(super) fn may_use_link(&self, now: Instant) -> bool {
        self.accepts_requests() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Order of preference, lowest first: a suspect that has rested, to probe it; healthy workers; a suspect
    /// that rests.
    pub(super) fn rank(&self, now: Instant) -> u8 {
        match self.suspect {
            false => 1,
            true if self.rests_until <= now => 0,
            true => 2,
        }
    }

    /// Notes that it received a request. A suspect gets no other until this one has an outcome or the pause
    /// is over again.
    pub(super) fn on_assigned(&mut self, now: Instant) {
        self.in_use += 1;
        self.used_at = now;
        self.rests_until = now + self.rest;
    }

    /// Notes that a link is being opened. `probe`: to a suspect, while another worker could take the request.
    /// One probe is enough: until it is connected, requests go elsewhere.
    pub(super) fn connecting(&mut self, probe: bool, now: Instant) {
        self.links += 1;
        self.connecting += 1;
        self.probes += usize::from(probe);
        self.retry_at = None;
        self.rests_until = now + self.rest;
    }

    /// Links being opened for waiting requests.
    pub(super) fn opening(&self) -> usize {
        self.connecting - self.probes.min(self.connecting)
    }

    /// Notes that a link is no longer being opened.
    pub(super) fn opened(&mut self) {
        self.connecting -= 1;
        self.probes = self.probes.min(self.connecting);
    }

    /// Notes that a link is connected. Whether the worker answers remains to be seen.
    pub(super) fn connected(&mut self) {
        self.opened();
        self.reachable = true;
        self.pause = RETRY_MIN;
    }

    /// Pauses connection attempts: the worker did not answer.
    pub(super) fn connect_failed(&mut self, now: Instant) {
        self.reachable = false;
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// Pauses connection attempts: no stream was available, which is not the worker's fault.
    pub(super) fn connect_failed_locally(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_MIN);
    }

    /// Clears its record, since it works again.
    pub(super) fn reset_health(&mut self) {
        (self.outcomes, self.in_a_row, self.suspect) = (0, 0, false);
        self.sources.clear();
        (self.retry_at, self.pause, self.rest) = (None, RETRY_MIN, RETRY_MIN);
    }

    /// Notes that it has come up, perhaps again.
    pub(super) fn on_announced(&mut self) {
        self.standing = Standing::Active;
        (self.reachable, self.down, self.died) = (true, false, None);
        self.note.clear();
        self.losses.clear();
        self.reset_health();
    }

    /// Notes that it answered a request.
    pub(super) fn succeeded(&mut self) {
        self.served += 1;
        if self.suspect {
            return self.reset_health();
        }
        self.outcomes <<= 1;
        (self.in_a_row, self.retry_at) = (0, None);
        if self.outcomes == 0 {
            self.sources.clear();
        }
    }

    /// Notes that it lost a request, was silent for too long, or sent an invalid response.
    pub(super) fn failed(&mut self, source: u64, now: Instant) {
        self.outcomes = self.outcomes << 1 | 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !self.sources.contains(&source) {
            // If full, there are as many as needed.
            let _ = self.sources.push(source);
        }
        let often = self.in_a_row >= IN_A_ROW || self.outcomes.count_ones() >= FAILED;
        self.suspect |= self.sources.is_full() && often;
        if self.suspect {
            self.rests_until = now + self.rest;
            self.rest = (self.rest * 2).min(RETRY_MAX);
        }
    }

    /// Remembers a lost request. Returns the number of its death if it is known to have died, of this request
    /// or another; otherwise the death may still be reported.
    pub(super) fn lost(&mut self, lost: LostRequest) -> Option<u64> {
        if let Some((_, death)) = self.died.filter(|(at, _)| lost.at.since(*at) < DEATH_IS_TOLD) {
            return Some(death);
        }
        if self.losses.len() >= LOSSES {
            self.losses.remove(0);
        }
        self.losses.push(lost);
        None
    }

    /// Notes that it has died. Returns the requests it had just lost.
    pub(super) fn on_died(&mut self, death: u64, now: Instant) -> Vec<LostRequest> {
        self.died = Some((now, death));
        let mut lost = core::mem::take(&mut self.losses);
        lost.retain(|lost| now.since(lost.at) < DEATH_IS_TOLD);
        lost
    }
}

/// The worker to open a link to: by [`Worker::rank`], then the fewest requests, among fit workers below the
/// limit other than `avoid`.
pub(super) fn pick(workers: &[Worker], limit: usize, avoid: Option<usize>, now: Instant) -> Option<usize> {
    workers
        .iter()
        .enumerate()
        .filter(|(index, w)| w.links < limit && w.is_fit(now) && Some(*index) != avoid)
        .min_by_key(|(_, w)| (w.rank(now), w.in_use + w.connecting, w.links))
        .map(|(index, _)| index)
}

/// Whether a link to the picked worker would only be a probe, because a healthy worker has room for the same
/// request.
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
