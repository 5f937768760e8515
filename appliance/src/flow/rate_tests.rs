use super::*;
use proptest::prelude::*;

const YEAR_NS: u64 = 366 * 86_400 * SECOND_NS;
const LINE_400G: u64 = 50_000_000_000;

fn rate(bytes_per_sec: u64) -> BytesPerSec {
    BytesPerSec::new(bytes_per_sec).unwrap()
}

/// The time as computed by one exact division.
fn exact(rate: u64, start_ns: u64, bytes: u128) -> (u64, u64) {
    let cost = bytes * u128::from(SECOND_NS);
    (start_ns + (cost / u128::from(rate)) as u64, (cost % u128::from(rate)) as u64)
}

proptest! {
    #[test]
    fn pieces_equal_their_sum(
        bytes_per_sec in BytesPerSec::MIN..=BytesPerSec::MAX,
        pieces in proptest::collection::vec(any::<u32>(), 1..200),
        start in 0..10 * YEAR_NS,
    ) {
        let mut bucket = Bucket::new(rate(bytes_per_sec), None);
        bucket.paid_ns = start;
        pieces.iter().for_each(|&n| bucket.take(n, start));
        let sum = pieces.iter().map(|&n| u128::from(n)).sum();
        prop_assert_eq!((bucket.paid_ns, bucket.remainder), exact(bytes_per_sec, start, sum));
    }

    #[test]
    fn never_more_than_rate_and_burst_and_one_turn(
        bytes_per_sec in BytesPerSec::MIN..=LINE_400G,
        burst in 1..10_000_000_u64,
        pauses in proptest::collection::vec(0..50_000_000_u64, 1..300),
    ) {
        let rate = rate(bytes_per_sec);
        let mut bucket = Bucket::new(rate, Some(burst));
        let (mut now, mut taken) = (SECOND_NS, 0_u64);
        for pause in pauses {
            now += pause;
            while bucket.is_ready(now) && taken < u64::from(u32::MAX) {
                bucket.take(rate.quantum(), now);
                taken += u64::from(rate.quantum());
            }
            let most = burst + rate.bytes_in(now - SECOND_NS) + u64::from(rate.quantum()) + 1;
            prop_assert!(taken <= most, "{taken} > {most}");
        }
    }

    #[test]
    fn a_rate_change_never_prolongs_a_debt(
        old in BytesPerSec::MIN..=LINE_400G,
        new in BytesPerSec::MIN..=LINE_400G,
        bytes in 0..100_000_u32,
    ) {
        let mut bucket = Bucket::new(rate(old), Some(1));
        let now = YEAR_NS;
        bucket.take(bytes, now);
        let owed = bucket.paid_ns.saturating_sub(now);
        bucket.set_rate(rate(new), None, now);
        prop_assert!(bucket.paid_ns.saturating_sub(now) <= owed);
        prop_assert!(bucket.paid_ns.saturating_sub(now) <= rate(new).time_ns(u64::from(bytes)));
        prop_assert!(bucket.tokens(now) <= rate(new).bytes_in(DEFAULT_BURST_NS) as i64);
    }

    #[test]
    fn tokens_never_overflow(r in BytesPerSec::MIN..=BytesPerSec::MAX, paid: u64, now: u64, burst: u64) {
        let mut bucket = Bucket::new(rate(r), Some(burst));
        bucket.paid_ns = paid;
        bucket.take(u32::MAX, now);
        bucket.tokens(now);
        bucket.set_rate(rate(BytesPerSec::MIN), Some(u64::MAX), now);
        bucket.tokens(0);
    }
}

/// A year at several rates, taking whenever the bucket allows it: no nanosecond of drift.
#[test]
fn a_year_without_drift() {
    for bytes_per_sec in [1024, 1025, 16 << 10, 1_000_003, 8 << 20, 999_999_937, LINE_400G, BytesPerSec::MAX]
    {
        let mut bucket = Bucket::new(rate(bytes_per_sec), None);
        let (mut sum, mut turns) = (0_u128, 0);
        // The largest pieces that `take` accepts, so that a year takes few steps; then pieces of one byte.
        let piece = (u64::from(u32::MAX)).min(bytes_per_sec * 40_000) as u32;
        while bucket.paid_ns < YEAR_NS && turns < 300_000 {
            let n = piece - turns % 1000;
            bucket.take(n, bucket.paid_ns);
            (sum, turns) = (sum + u128::from(n), turns + 1);
        }
        for _ in 0..1000 {
            bucket.take(1, bucket.paid_ns);
            sum += 1;
        }
        assert_eq!((bucket.paid_ns, bucket.remainder), exact(bytes_per_sec, 0, sum));
        let drift =
            sum.abs_diff(u128::from(bucket.paid_ns) * u128::from(bytes_per_sec) / u128::from(SECOND_NS));
        assert!(drift <= u128::from(bytes_per_sec / SECOND_NS) + 1, "{bytes_per_sec}: {drift} bytes");
    }
}

#[test]
fn turns_are_small_against_a_second_and_bounded() {
    for shift in 10..=40 {
        for bytes_per_sec in [1 << shift, (1 << shift) + 1, 3 << (shift - 1)] {
            let Some(rate) = BytesPerSec::new(bytes_per_sec) else { continue };
            let quantum = u64::from(rate.quantum());
            assert!((128..=u64::from(QUANTUM_MAX)).contains(&quantum));
            assert!(quantum == 128 || quantum * 100 <= bytes_per_sec, "{bytes_per_sec}: {quantum}");
        }
    }
    assert_eq!([16 << 10, 512 << 10, 1 << 20, 8 << 20].map(|r| rate(r).quantum()), [128, 1460, 2097, 16_777]);
}

#[test]
fn bounds_of_rates() {
    assert!(BytesPerSec::new(1023).is_none() && BytesPerSec::new(0).is_none());
    assert!(BytesPerSec::new(BytesPerSec::MAX + 1).is_none());
}
