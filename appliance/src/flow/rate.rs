//! Rates and the buckets that hold to them, exact in integers.
//!
//! A bucket does not count tokens and refills nothing. It remembers one moment: when what was taken so far will have been
//! paid for at its rate (the *theoretical arrival time* of the generic cell rate algorithm, ITU-T I.371). Bytes may be
//! taken whenever that moment is not in the future; taking `n` of them moves it by `n / rate`. The division's remainder
//! is carried along, in units of `1 / rate` ns, so nothing is ever rounded away: after any number of bytes the moment
//! is where one division of their sum would have put it.
//!
//! | quantity | bound | why no overflow |
//! |---|---|---|
//! | rate | 1 KiB/s to 2^40 B/s (8.8 Tbit/s) | never zero, so every division is defined |
//! | bytes × 10^9 + remainder | 2^32 × 10^9 + 2^40 < 2^63 | `u64` |
//! | the moment | 584 years in ns | a year at any rate is 3.2 × 10^16; additions saturate |

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Payload of a full segment on Ethernet without options.
pub(crate) const MSS: u32 = 1460;
/// Most bytes granted at once: what a send buffer and a TSO frame hold.
pub(crate) const TURN_MAX: u32 = 64 << 10;
/// Fewest bytes granted at once: below that a segment would be mostly headers.
const TURN_MIN: u64 = 128;
/// A bucket that is not told how much may gather in it holds what passes in this time.
const DEFAULT_BURST_NS: u64 = 50_000_000;

/// A rate in bytes per second, from [`BytesPerSec::MIN`] to [`BytesPerSec::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSec(u64);

impl BytesPerSec {
    /// HTTP.sys's floor, `HTTP_MIN_ALLOWED_BANDWIDTH_THROTTLING_RATE`.
    pub const MIN: u64 = 1024;
    /// 8.8 Tbit/s.
    pub const MAX: u64 = 1 << 40;

    /// A rate, if it lies within the bounds.
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

    /// Bytes granted to one connection at once under this rate, from 128 to `TURN_MAX`.
    ///
    /// About 2 ms of the rate, so that TSO frames shrink with it, but at least a full segment. Only where a full segment
    /// is more than 1/128 of a second's bytes (below 187 KB/s) is a turn 1/128 s: segments of 1,460 bytes at 16 KiB/s
    /// would be eleven in one second and twelve in the next, which is 9 % apart. What small segments cost in headers is
    /// little at such rates.
    pub const fn turn(self) -> u32 {
        let smooth = self.0 / 500;
        let segment = if self.0 / 128 < MSS as u64 { self.0 / 128 } else { MSS as u64 };
        let turn = if smooth > segment { smooth } else { segment };
        let turn = if turn > TURN_MIN { turn } else { TURN_MIN };
        if turn < TURN_MAX as u64 { turn as u32 } else { TURN_MAX }
    }

    /// How long `bytes` take, in ns, rounded down.
    pub const fn time_ns(self, bytes: u64) -> u64 {
        let ns = bytes as u128 * SECOND_NS as u128 / self.0 as u128;
        if ns > u64::MAX as u128 { u64::MAX } else { ns as u64 }
    }

    /// How many bytes pass in so long, rounded down.
    pub const fn bytes_in(self, ns: u64) -> u64 {
        let bytes = ns as u128 * self.0 as u128 / SECOND_NS as u128;
        if bytes > u64::MAX as u128 { u64::MAX } else { bytes as u64 }
    }
}

/// Holds to a rate. See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: BytesPerSec,
    burst_ns: u64,
    /// When all that was taken is paid for.
    paid_ns: u64,
    /// And so much more, in 1/rate ns; less than the rate.
    remainder: u64,
}

impl Bucket {
    /// A full bucket. `burst`: bytes that may gather while nothing is taken; 50 ms of the rate if not said.
    pub fn new(rate: BytesPerSec, burst: Option<u64>) -> Self {
        let burst_ns = burst.map_or(DEFAULT_BURST_NS, |bytes| rate.time_ns(bytes));
        Self { rate, burst_ns, paid_ns: 0, remainder: 0 }
    }

    /// Its rate.
    pub const fn rate(&self) -> BytesPerSec {
        self.rate
    }

    /// From when on bytes may be taken.
    #[inline]
    pub const fn ready_ns(&self) -> u64 {
        self.paid_ns
    }

    /// Whether bytes may be taken now.
    #[inline]
    pub const fn is_ready(&self, now_ns: u64) -> bool {
        self.paid_ns <= now_ns
    }

    /// Takes bytes, whether or not they may be taken now: what is too much is paid for before the next.
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

    /// Bytes that could be taken now and be paid for; negative while more was taken than is paid for.
    pub fn tokens(&self, now_ns: u64) -> i64 {
        let gathered = now_ns.saturating_sub(self.paid_ns).min(self.burst_ns);
        let owed = self.paid_ns.saturating_sub(now_ns);
        let signed = |ns| i64::try_from(self.rate.bytes_in(ns)).unwrap_or(i64::MAX);
        if owed > 0 { -signed(owed) } else { signed(gathered) }
    }

    /// Changes rate and burst. What was taken at the old rate is paid for at the faster of the two, so that neither a
    /// rise nor a fall has to wait longer for it than either rate would have asked.
    pub fn retune(&mut self, rate: BytesPerSec, burst: Option<u64>, now_ns: u64) {
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

    /// No operation overflows or divides by zero, and the moment never moves back.
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

    /// Two takings at once are one taking of the sum: nothing is rounded away.
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

    /// Every rate has a turn within the bounds.
    #[kani::proof]
    fn turns_are_bounded() {
        let turn = any_rate().turn();
        assert!(turn >= 128 && turn <= TURN_MAX);
    }
}
