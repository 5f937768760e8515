//! The smallest key among a fixed number of places, as a tournament tree that stores the winner of each
//! match. A change replays the matches between its place and the root, O(log n), and unlike in a heap, no
//! other member moves.

use alloc::vec;
use alloc::vec::Vec;

/// The key of an unused place.
const ABSENT: u64 = u64::MAX;

/// Keys and places; the smallest key wins.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    /// The final at 1; match `n` is fed by matches `2 n` and `2 n + 1`; places are in the second half.
    matches: Vec<(u64, u32)>,
}

impl Tournament {
    pub(super) fn new(places: usize) -> Self {
        Self { matches: vec![(ABSENT, 0); 2 * places.next_power_of_two()] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// The smallest key, and its place.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, u32)> {
        self.matches.get(1).copied().filter(|&(key, _)| key != ABSENT)
    }

    /// Sets the key of a place. The largest possible key is replaced by the next smaller one.
    #[inline]
    pub(super) fn set(&mut self, place: u32, key: u64) {
        self.play(place, key.min(ABSENT - 1));
    }

    /// Removes a place, if it is in use.
    #[inline]
    pub(super) fn remove(&mut self, place: u32) {
        // Usually it is not.
        let at = self.matches.len() / 2 + place as usize;
        if self.matches.get(at).is_some_and(|&(key, _)| key != ABSENT) {
            self.play(place, ABSENT);
        }
    }

    /// Subtracts `by` from every key; none may be smaller.
    pub(super) fn lower(&mut self, by: u64) {
        let there = self.matches.iter_mut().filter(|(key, _)| *key != ABSENT);
        there.for_each(|(key, _)| *key -= by);
    }

    fn play(&mut self, place: u32, key: u64) {
        let matches = &mut self.matches[..];
        let mut at = matches.len() / 2 + place as usize;
        let mut winner = (key, place);
        while let Some(slot) = matches.get_mut(at) {
            *slot = winner;
            if at <= 1 {
                return;
            }
            let Some(rival) = matches.get(at ^ 1) else { return };
            if rival.0 < winner.0 {
                winner = *rival;
            }
            at /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn as_a_sorted_map(
            places in 1..40_u32,
            steps in proptest::collection::vec((0..40_u32, proptest::option::of(0..100_u64)), 1..400),
        ) {
            let (mut tournament, mut model) = (Tournament::new(places as usize), BTreeMap::new());
            for (place, key) in steps {
                let place = place % places;
                match key {
                    Some(key) => {
                        tournament.set(place, key);
                        model.insert(place, key);
                    }
                    None => {
                        tournament.remove(place);
                        model.remove(&place);
                    }
                }
                let least = model.values().min().copied();
                prop_assert_eq!(tournament.first().map(|(key, _)| key), least);
                prop_assert_eq!(tournament.is_empty(), model.is_empty());
                if let Some((key, place)) = tournament.first() {
                    prop_assert_eq!(model.get(&place), Some(&key));
                    tournament.lower(key);
                    model.values_mut().for_each(|other| *other -= key);
                    prop_assert_eq!(tournament.first().map(|(key, _)| key), Some(0));
                }
            }
        }
    }

    #[test]
    fn empty_places_and_extreme_keys() {
        let mut tournament = Tournament::new(0);
        assert_eq!(tournament.first(), None);
        tournament.set(3, 1);
        tournament.remove(3);
        assert_eq!(tournament.first(), None);
        let mut tournament = Tournament::new(1);
        tournament.set(0, u64::MAX);
        assert_eq!(tournament.first(), Some((u64::MAX - 1, 0)));
        tournament.remove(0);
        assert!(tournament.is_empty());
    }
}
