//! Requests that kill workers: remembered by target, and refused for a while after they have ended two.
//!
//! The death of a worker says little about any one request it had: another may have caused it. Only a request
//! that was then given to a second worker, which died as well, is refused. A target that is answered is
//! cleared at once: popular targets are often in progress when a worker dies, and succeed elsewhere.

use super::Pools;
use super::fingerprint::{Fingerprint, LostRequest, Target};
use super::link::LinkId;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;
use netdrv::stream::StreamTransport;

/// Limit on remembered targets; the oldest loss gives way.
const MOST: usize = 128;
/// How long a death is held against a target.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a target is refused at first; doubles each time up to [`LONGEST`].
const REFUSED: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(600);
/// Workers that a target may end before it is refused.
const WORKERS: u8 = 2;

struct Entry {
    lost: LostRequest,
    deaths: u8,
    /// Number of the last death counted.
    last: u64,
    refused_until: Option<Instant>,
    /// For how long to refuse it next time.
    pause: Duration,
}

/// Targets under suspicion.
#[derive(Default)]
pub(super) struct Fatal {
    entries: Vec<Entry>,
}

impl Fatal {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether requests for this target are refused now.
    pub(super) fn refuses(&self, target: &Target, now: Instant) -> bool {
        self.entries.iter().any(|e| e.lost.target == *target && e.refused_until.is_some_and(|at| at > now))
    }

    /// Counts a death after which this request was lost; deaths are numbered. True if the target is refused
    /// from now on.
    pub(super) fn died(&mut self, lost: LostRequest, death: u64, now: Instant) -> bool {
        self.forget(now);
        let Some(entry) = self.entries.iter_mut().find(|e| e.lost.target == lost.target) else {
            if self.entries.len() >= MOST {
                let first = self.entries.iter().enumerate().min_by_key(|(_, e)| (e.refused_until, e.lost.at));
                if let Some((first, _)) = first {
                    self.entries.swap_remove(first);
                }
            }
            self.entries.push(Entry { lost, deaths: 1, last: death, refused_until: None, pause: REFUSED });
            return false;
        };
        // Two such requests at one worker, or at two workers that died together, count as one death.
        if death == entry.last || lost.assigned_at < entry.lost.at {
            return false;
        }
        (entry.lost, entry.last) = (lost, death);
        entry.deaths = entry.deaths.saturating_add(1);
        if entry.deaths < WORKERS {
            return false;
        }
        entry.refused_until = Some(now + entry.pause);
        entry.pause = (entry.pause * 2).min(LONGEST);
        true
    }

    /// Clears a target: a worker has answered such a request.
    pub(super) fn answered(&mut self, target: &Target) {
        self.entries.retain(|entry| entry.lost.target != *target);
    }

    fn forget(&mut self, now: Instant) {
        self.entries.retain(|entry| entry.refused_until.unwrap_or(entry.lost.at) + REMEMBERED > now);
    }
}

impl<S: StreamTransport> Pools<S> {
    /// Closes a link without a complete response: the worker was silent, died, or sent an invalid response.
    pub fn fail(&mut self, id: LinkId, fingerprint: &Fingerprint, now: Instant) {
        self.lost(id, fingerprint, now);
        self.abandon(id, now);
    }

    /// Records that the worker lost the request on this link.
    pub(super) fn lost(&mut self, id: LinkId, fingerprint: &Fingerprint, now: Instant) {
        let Some(link) = self.links.get(id) else { return };
        let worker = &mut self.pools[link.pool].workers[link.worker];
        worker.failed(fingerprint.source, now);
        let lost = LostRequest { target: fingerprint.target, assigned_at: link.assigned_at, at: now };
        if let Some(death) = worker.lost(lost) {
            self.died(lost, death, now);
        }
    }

    pub(super) fn died(&mut self, lost: LostRequest, death: u64, now: Instant) {
        self.counters.fatal_targets += u64::from(self.fatal.died(lost, death, now));
    }

    /// Whether any target is under suspicion; if none is, [`Pools::is_fatal`] need not be called.
    pub fn suspects_targets(&self) -> bool {
        !self.fatal.is_empty()
    }

    /// Whether such requests have ended workers and are refused for now.
    pub fn is_fatal(&self, fingerprint: &Fingerprint, now: Instant) -> bool {
        self.fatal.refuses(&fingerprint.target, now)
    }

    /// Records that such a request was answered: it does not end workers.
    pub fn answered(&mut self, fingerprint: &Fingerprint) {
        self.fatal.answered(&fingerprint.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::PoolId;
    use std::format;

    const SECOND: Duration = Duration::from_secs(1);

    fn target(path: &str) -> Target {
        Fingerprint::of(PoolId(0), format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).target
    }

    fn lost(path: &str, assigned_at: u64, at: u64) -> LostRequest {
        let time = |s: u64| Instant::ZERO + SECOND * s as u32;
        LostRequest { target: target(path), assigned_at: time(assigned_at), at: time(at) }
    }

    #[test]
    fn a_request_that_has_ended_two_workers_is_refused_for_a_while_and_then_longer() {
        let (mut fatal, time) = (Fatal::default(), |s: u32| Instant::ZERO + SECOND * s);
        assert!(!fatal.died(lost("/kill", 0, 1), 1, time(1)) && !fatal.refuses(&target("/kill"), time(1)));
        assert!(fatal.died(lost("/kill", 1, 2), 2, time(2)));
        assert!(fatal.refuses(&target("/kill"), time(61)) && !fatal.refuses(&target("/"), time(2)));
        assert!(!fatal.refuses(&target("/kill"), time(62)), "tried once more");
        assert!(fatal.died(lost("/kill", 70, 71), 3, time(71)), "one is enough now");
        assert!(fatal.refuses(&target("/kill"), time(190)) && !fatal.refuses(&target("/kill"), time(191)));
        assert!(!fatal.died(lost("/kill", 900, 901), 4, time(901)), "long ago");
    }

    #[test]
    fn answered_or_concurrent_requests_are_cleared() {
        let (mut fatal, time) = (Fatal::default(), |s: u32| Instant::ZERO + SECOND * s);
        fatal.died(lost("/", 0, 10), 5, time(10));
        assert!(!fatal.died(lost("/", 5, 11), 6, time(11)), "assigned_at before the first was lost");
        fatal.answered(&target("/"));
        assert!(fatal.is_empty() && !fatal.died(lost("/", 12, 13), 7, time(13)));
        assert!(fatal.died(lost("/", 14, 15), 8, time(15)));
        fatal.answered(&target("/"));
        assert!(!fatal.refuses(&target("/"), time(15)), "one that waited already was answered");
    }

    #[test]
    fn a_death_counts_once_regardless_of_lost_requests() {
        let (mut fatal, time) = (Fatal::default(), |s: u32| Instant::ZERO + SECOND * s);
        for second in 1..5 {
            assert!(!fatal.died(lost("/", second, second), 1, time(5)));
        }
        assert!(fatal.died(lost("/", 6, 7), 2, time(7)));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_refused_targets() {
        let mut fatal = Fatal::default();
        let now = Instant::ZERO + SECOND * 3;
        fatal.died(lost("/kill", 0, 1), 9, now);
        fatal.died(lost("/kill", 1, 2), 10, now);
        for n in 0..10 * MOST {
            fatal.died(lost(&format!("/{n}"), 0, 3), 100 + n as u64, now);
        }
        assert_eq!(fatal.entries.len(), MOST);
        assert!(fatal.refuses(&target("/kill"), now));
    }
}
