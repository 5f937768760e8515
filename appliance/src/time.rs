//! Monotonic time, which the data plane is passed, and never reads from a clock.

use core::time::Duration;

/// Nanoseconds since the appliance started (or since the simulation began).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// As nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The earliest of these times.
    pub fn earliest<const N: usize>(times: [Option<Self>; N]) -> Option<Self> {
        // Runs in every turn of every connection, and the optimizer makes a branch of each `Option` in an
        // iterator chain.
        let mut first = u64::MAX;
        let mut any = false;
        for time in times {
            any |= time.is_some();
            first = first.min(time.map_or(u64::MAX, |time| time.0));
        }
        any.then_some(Self(first))
    }

    /// Converts to smoltcp's time (microseconds, rounded down so that no timer of smoltcp's fires early).
    pub(crate) fn to_smoltcp(self) -> smoltcp::time::Instant {
        // 2^63 µs are 292,000 years.
        smoltcp::time::Instant::from_micros((self.0 / 1_000) as i64)
    }

    /// The first instant at which smoltcp's clock shows `t`.
    pub(crate) fn from_smoltcp(t: smoltcp::time::Instant) -> Self {
        Self(u64::try_from(t.total_micros()).unwrap_or(0).saturating_mul(1_000))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates (at 584 years).
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}
