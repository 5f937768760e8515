//! Rates, and the buckets that enforce them, in exact integer arithmetic.
//!
//! A bucket does not count tokens and is never refilled. It remembers one time: when all bytes taken so far
//! will have been paid for at its rate (the *theoretical arrival time* of the generic cell rate algorithm,
//! ITU-T I.371). Bytes may be taken whenever that time is not in the future; taking `n` moves it by
//! `n / rate`. The remainder of the division is carried, in units of `1 / rate` ns, so nothing is ever lost
//! to rounding: after any number of bytes, the time is the same as if their sum had been taken at once.
//!
//! | quantity | bound | why it cannot overflow |
//! |---|---|---|
//! | rate | 1 KiB/s to 2^40 B/s (8.8 Tbit/s) | never zero, so every division is defined |
//! | bytes × 10^9 + remainder | 2^32 × 10^9 + 2^40 < 2^63 | `u64` |
//! | the time | 584 years in ns | a year at any rate is 3.2 × 10^16; additions saturate |

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Payload of a full segment on Ethernet, without TCP options.
pub(crate) const MSS: u32 = 1460;
/// Largest grant in bytes: the size of a send buffer and of a TSO frame.
pub(crate) const QUANTUM_MAX: u32 = 64 << 10;
/// Smallest grant in bytes: smaller segments would be mostly headers.
const QUANTUM_MIN: u64 = 128;
/// Default burst of a bucket: the bytes that pass in this time.
const DEFAULT_BURST_NS: u64 = 50_000_000;

/// A rate in bytes per second, from [`BytesPerSec::MIN`] to [`BytesPerSec::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSec(u64);

impl BytesPerSec {
    /// HTTP.sys's floor, `HTTP_MIN_ALLOWED_BANDWIDTH_THROTTLING_RATE`.
    pub const MIN: u64 = 1024;
    /// 8.8 Tbit/s.
    pub const MAX: u64 = 1 << 40;

    /// A rate, if within the bounds.
    pub const fn new(bytes_per_sec: u64) -> Option<Self> {
        if bytes_per_sec >= Self::MIN && bytes_per_sec <= Self::MAX {
            Some(Self(bytes_per_sec))
        } else {
            None
        }
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Bytes granted to one connection at once under this rate (quantum), from 128 to `QUANTUM_MAX`.
    ///
    /// About 2 ms of the rate, so that TSO frames shrink with it, but at least a full segment. Below 187
    /// KB/s, where a full segment is more than 1/128 of a second's bytes, the quantum is 1/128 s: at 16
    /// KiB/s, segments of 1,460 bytes would be eleven in one second and twelve in the next, a variation of 9
    /// %. The additional headers cost little at such rates.
    pub const fn quantum(self) -> u32 {
        let smooth = self.0 / 500;
        let segment = if self.0 / 128 < MSS as u64 { self.0 / 128 } else { MSS as u64 };
        let quantum = if smooth > segment { smooth } else { segment };
        let quantum = if quantum > QUANTUM_MIN { quantum } else { QUANTUM_MIN };
        if quantum < QUANTUM_MAX as u64 { quantum as u32 } else { QUANTUM_MAX }
    }

    /// How long `bytes` take, in ns, rounded down.
    pub const fn time_ns(self, bytes: u64) -> u64 {
        let ns = bytes as u128 * SECOND_NS as u128 / self.0 as u128;
        if ns > u64::MAX as u128 { u64::MAX } else { ns as u64 }
    }

    /// How many bytes pass in `ns`, rounded down.
    pub const fn bytes_in(self, ns: u64) -> u64 {
        let bytes = ns as u128 * self.0 as u128 / SECOND_NS as u128;
        if bytes > u64::MAX as u128 { u64::MAX } else { bytes as u64 }
    }
}

/// Enforces a rate. See the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: BytesPerSec,
    burst_ns: u64,
    /// When all bytes taken so far are paid for.
    paid_ns: u64,
    /// Added to `paid_ns`, in 1/rate ns; less than the rate.
    remainder: u64,
}

impl Bucket {
    /// A full bucket. `burst`: bytes that accumulate while nothing is taken; by default 50 ms of the rate.
    pub fn new(rate: BytesPerSec, burst: Option<u64>) -> Self {
        let burst_ns = burst.map_or(DEFAULT_BURST_NS, |bytes| rate.time_ns(bytes));
        Self { rate, burst_ns, paid_ns: 0, remainder: 0 }
    }

    /// Its rate.
    pub const fn rate(&self) -> BytesPerSec {
        self.rate
    }

    /// From when bytes may be taken.
    #[inline]
    pub const fn ready_ns(&self) -> u64 {
        self.paid_ns
    }

    /// Whether bytes may be taken now.
    #[inline]
    pub const fn is_ready(&self, now_ns: u64) -> bool {
        self.paid_ns <= now_ns
    }

    /// Takes bytes even if none may be taken now: the debt delays the next.
    #[inline]
    pub fn take(&mut self, bytes: u32, now_ns: u64) {
        let floor = now_ns.saturating_sub(self.burst_ns);
        if self.paid_ns < floor {
            (self.paid_ns, self.remainder) = (floor, 0);
        }
        let cost = bytes as u64 * SECOND_NS + self.remainder;
        self.paid_ns = self.paid_ns.saturating_add(cost / self.rate.0);
        self.remainder = cost % self.rate.0;
    }

    /// Bytes that are available now; negative while in debt.
    pub fn tokens(&self, now_ns: u64) -> i64 {
        let gathered = now_ns.saturating_sub(self.paid_ns).min(self.burst_ns);
        let owed = self.paid_ns.saturating_sub(now_ns);
        let signed = |ns| i64::try_from(self.rate.bytes_in(ns)).unwrap_or(i64::MAX);
        if owed > 0 { -signed(owed) } else { signed(gathered) }
    }

    /// Changes rate and burst. Debt is paid at the faster of both rates, so that a change never makes it last
    /// longer than either rate alone.
    pub fn set_rate(&mut self, rate: BytesPerSec, burst: Option<u64>, now_ns: u64) {
        let owed_ns = self.paid_ns.saturating_sub(now_ns);
        let old = self.rate;
        let gathered = self.tokens(now_ns).max(0).unsigned_abs();
        *self = Self::new(rate, burst);
        self.paid_ns = if owed_ns > 0 {
            now_ns.saturating_add(owed_ns.min(rate.time_ns(old.bytes_in(owed_ns))))
        } else {
            now_ns.saturating_sub(rate.time_ns(gathered).min(self.burst_ns))
        };
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;

#[cfg(kani)]
mod proofs {
    use super::*;

    fn any_rate() -> BytesPerSec {
        let rate = BytesPerSec::new(kani::any());
        kani::assume(rate.is_some());
        rate.unwrap_or(BytesPerSec(BytesPerSec::MIN))
    }

    /// No operation overflows or divides by zero, and the time never moves back.
    #[kani::proof]
    fn taking_never_overflows_and_never_goes_back() {
        let mut bucket = Bucket::new(any_rate(), kani::any());
        bucket.paid_ns = kani::any();
        bucket.remainder = kani::any();
        kani::assume(bucket.remainder < bucket.rate.0);
        let before = bucket;
        bucket.take(kani::any(), kani::any());
        assert!(bucket.paid_ns >= before.paid_ns && bucket.remainder < bucket.rate.0);
    }

    /// Taking twice equals taking the sum once: no rounding loss.
    #[kani::proof]
    fn taking_is_additive() {
        let rate = any_rate();
        let (a, b): (u16, u16) = (kani::any(), kani::any());
        let mut twice = Bucket::new(rate, None);
        let mut once = twice;
        twice.take(u32::from(a), 0);
        twice.take(u32::from(b), 0);
        once.take(u32::from(a) + u32::from(b), 0);
        assert!(twice == once);
    }

    /// Every rate has a quantum within the bounds.
    #[kani::proof]
    fn turns_are_bounded() {
        let quantum = any_rate().quantum();
        assert!(quantum >= 128 && quantum <= QUANTUM_MAX);
    }
}
