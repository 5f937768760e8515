use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn ms(n: u64) -> Instant {
    Instant::from_nanos(n * 1_000_000)
}

#[test]
fn fires_once_and_not_early() {
    let mut wheel = Wheel::new(ms(5));
    wheel.set(3, ms(10));
    assert_eq!(wheel.pop_due(ms(9)), None);
    assert_eq!(wheel.pop_due(ms(11)), Some(3));
    assert_eq!(wheel.pop_due(ms(1_000)), None);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_timer_in_the_past_is_due_at_once() {
    let mut wheel = Wheel::new(ms(5));
    wheel.set(0, ms(1));
    assert_eq!(wheel.pop_due(ms(5)), Some(0));
}

#[test]
fn setting_again_moves_and_cancelling_removes() {
    let mut wheel = Wheel::new(ms(0));
    wheel.set(1, ms(10));
    wheel.set(1, ms(500));
    wheel.set(2, ms(20));
    wheel.cancel(2);
    assert_eq!(wheel.pop_due(ms(400)), None);
    assert_eq!(wheel.pop_due(ms(501)), Some(1));
}

#[test]
fn beyond_the_horizon_fires_at_the_horizon() {
    for start in [0, 1, 12_345_678_901] {
        let mut wheel = Wheel::new(ms(start));
        wheel.set(1, Instant::from_nanos(u64::MAX));
        assert_eq!(wheel.pop_due(ms(start + 30 * 24 * 3_600_000)), None);
        assert_eq!(wheel.pop_due(ms(start + 60 * 24 * 3_600_000)), Some(1));
    }
}

proptest! {
    /// Compared with a sorted map: the same keys, never early, at most one tick late, and `next_deadline` is
    /// a lower bound.
    #[test]
    fn behaves_like_a_sorted_map(
        start in 0u64..1 << 40,
        ops in prop::collection::vec((0u32..40, prop_oneof![0u64..1 << 20, 0u64..1 << 30, 0u64..1 << 42], 0u64..1 << 28, any::<bool>()), 1..200),
    ) {
        let mut now = start;
        let mut wheel = Wheel::new(Instant::from_nanos(now));
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for (key, ahead, step, cancel) in ops {
            if cancel {
                wheel.cancel(key);
                model.remove(&key);
            } else {
                wheel.set(key, Instant::from_nanos(now + ahead));
                model.insert(key, now + ahead);
            }
            if let Some(first) = model.values().min() {
                let bound = wheel.next_deadline().unwrap().as_nanos();
                prop_assert!(bound < first + (1 << TICK_SHIFT));
            }
            now += step;
            while let Some(key) = wheel.pop_due(Instant::from_nanos(now)) {
                let due = model.remove(&key);
                prop_assert!(due.is_some_and(|due| due <= now), "{key} fired early or twice");
            }
            for due in model.values() {
                prop_assert!(due + (1 << TICK_SHIFT) > now, "fired late");
            }
        }
    }
}
