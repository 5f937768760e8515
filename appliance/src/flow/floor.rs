//! MinSendRate: a client that drains a response more slowly than the floor loses its connection.
//!
//! As in IIS, the average counts, not the momentary rate: a client is too slow if the bytes took longer than
//! they would have at the floor. Time counts only while the send buffer holds bytes. Time in which our own
//! ceilings hold data back does not count, so no client is disconnected because of a site's limit.

/// Time allowed for any response, however short: one lost segment may cost a second or more.
const GRACE_NS: u64 = 10_000_000_000;

/// Account of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFloor {
    bytes: u64,
    held_ns: u64,
    /// Since when the client has had bytes to drain.
    since_ns: Option<u64>,
}

impl SendFloor {
    /// Starts a new response.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Notes that bytes were put into the send buffer.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Notes whether the send buffer holds bytes now.
    #[inline]
    pub fn update(&mut self, holds: bool, now_ns: u64) {
        match (self.since_ns, holds) {
            (None, true) => self.since_ns = Some(now_ns),
            (Some(since), false) => {
                self.held_ns = self.held_ns.saturating_add(now_ns.saturating_sub(since));
                self.since_ns = None;
            }
            _ => {}
        }
    }

    /// When the client will have been too slow for this floor (bytes per second, not 0) if nothing changes;
    /// `None` while it has nothing to drain.
    pub fn deadline_ns(&self, floor: u64) -> Option<u64> {
        let allowed = u128::from(self.bytes) * 1_000_000_000 / u128::from(floor.max(1));
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX).max(GRACE_NS);
        Some(self.since_ns?.saturating_add(allowed.saturating_sub(self.held_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_average_rate_counts() {
        let mut floor = SendFloor::default();
        floor.add(15_000);
        floor.update(true, 0);
        // 100 s at 150 B/s, however the bytes are distributed.
        assert_eq!(floor.deadline_ns(150), Some(100 * SECOND));
        floor.update(false, 60 * SECOND);
        assert_eq!(floor.deadline_ns(150), None);
        // Time in which data was held back does not count.
        floor.add(1500);
        floor.update(true, 1000 * SECOND);
        assert_eq!(floor.deadline_ns(150), Some(1050 * SECOND));
    }

    #[test]
    fn a_short_response_has_time() {
        let mut floor = SendFloor::default();
        floor.add(1);
        floor.update(true, 5);
        assert_eq!(floor.deadline_ns(u64::MAX), Some(5 + GRACE_NS));
    }
}
