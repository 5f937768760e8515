//! Requests per second with a burst, in exact integer arithmetic like [`super::rate`].

use super::rate::SECOND_NS;
use model::settings::RequestRate;

/// Admits requests at a rate, with a burst. By default, the whole burst is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestBucket {
    /// When all requests admitted so far would have arrived at the rate.
    due_ns: u64,
    /// Added to `due_ns`, in ns / requests.
    remainder: u64,
}

impl RequestBucket {
    /// Nanoseconds until a request is admitted; 0 if now.
    pub(super) fn wait_ns(&self, rate: RequestRate, now_ns: u64) -> u64 {
        let requests = u128::from(rate.requests.max(1));
        let ahead = u128::from(rate.burst.max(1) - 1) * period_ns(rate) as u128 / requests;
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        self.due_ns.saturating_sub(now_ns.saturating_add(ahead))
    }

    /// Counts a request.
    pub(super) fn take(&mut self, rate: RequestRate, now_ns: u64) {
        if self.due_ns < now_ns {
            (self.due_ns, self.remainder) = (now_ns, 0);
        }
        let requests = u64::from(rate.requests.max(1));
        let cost = period_ns(rate) + self.remainder % requests;
        self.due_ns = self.due_ns.saturating_add(cost / requests);
        self.remainder = cost % requests;
    }
}

/// At most 2^32 s, which is 4.3 × 10^18 ns.
fn period_ns(rate: RequestRate) -> u64 {
    u64::from(rate.per_secs) * SECOND_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn burst_then_rate_and_no_more(requests in 1..10_000_u32, per_secs in 1..4000_u32, burst in 1..100_u32) {
            let rate = RequestRate { requests, per_secs, burst };
            let (mut bucket, mut now, mut admitted) = (RequestBucket::default(), SECOND_NS, 0_u64);
            let end = now + 20 * period_ns(rate) / u64::from(requests);
            while now < end {
                match bucket.wait_ns(rate, now) {
                    0 => {
                        bucket.take(rate, now);
                        admitted += 1;
                    }
                    wait => now += wait,
                }
            }
            // 20 at the rate plus the burst; one that is due at the very end may or may not count.
            prop_assert!((19..=21).contains(&(admitted - u64::from(burst - 1))), "{admitted}");
        }

        #[test]
        fn no_overflow(requests: u32, per_secs: u32, burst: u32, due: u64, now: u64) {
            let rate = RequestRate { requests, per_secs, burst };
            let mut bucket = RequestBucket { due_ns: due, remainder: now };
            bucket.wait_ns(rate, now);
            bucket.take(rate, now);
        }
    }
}
