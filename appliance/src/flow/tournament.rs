//! The smallest key among the sites, as a tournament tree that stores the winner of each
//! match. A change replays the matches between its site and the root, O(log n), and unlike in a heap, no
//! other member moves.

use alloc::vec;
use alloc::vec::Vec;
use model::id::SiteId;

/// The key of an unused site.
const ABSENT: u64 = u64::MAX;

/// Keys and sites; the smallest key wins.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    /// The final at 1; match `n` is fed by matches `2 n` and `2 n + 1`; sites are in the second half.
    matches: Vec<(u64, SiteId)>,
}

impl Tournament {
    pub(super) fn new(sites: usize) -> Self {
        Self { matches: vec![(ABSENT, SiteId(0)); 2 * sites.next_power_of_two()] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// The smallest key, and its site.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, SiteId)> {
        self.matches.get(1).copied().filter(|&(key, _)| key != ABSENT)
    }

    /// Sets the key of a site. The largest possible key is replaced by the next smaller one.
    #[inline]
    pub(super) fn set(&mut self, site: SiteId, key: u64) {
        self.play(site, key.min(ABSENT - 1));
    }

    /// Removes a site, if it is in use.
    #[inline]
    pub(super) fn remove(&mut self, site: SiteId) {
        // Usually it is not.
        let at = self.matches.len() / 2 + site.index();
        if self.matches.get(at).is_some_and(|&(key, _)| key != ABSENT) {
            self.play(site, ABSENT);
        }
    }

    /// Subtracts `by` from every key; none may be smaller.
    pub(super) fn lower(&mut self, by: u64) {
        let there = self.matches.iter_mut().filter(|(key, _)| *key != ABSENT);
        there.for_each(|(key, _)| *key -= by);
    }

    fn play(&mut self, site: SiteId, key: u64) {
        let matches = &mut self.matches[..];
        let mut at = matches.len() / 2 + site.index();
        let mut winner = (key, site);
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
            sites in 1..40_u16,
            steps in proptest::collection::vec((0..40_u16, proptest::option::of(0..100_u64)), 1..400),
        ) {
            let (mut tournament, mut model) = (Tournament::new(usize::from(sites)), BTreeMap::new());
            for (site, key) in steps {
                let site = SiteId(site % sites);
                match key {
                    Some(key) => {
                        tournament.set(site, key);
                        model.insert(site, key);
                    }
                    None => {
                        tournament.remove(site);
                        model.remove(&site);
                    }
                }
                let least = model.values().min().copied();
                prop_assert_eq!(tournament.first().map(|(key, _)| key), least);
                prop_assert_eq!(tournament.is_empty(), model.is_empty());
                if let Some((key, site)) = tournament.first() {
                    prop_assert_eq!(model.get(&site), Some(&key));
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
        tournament.set(SiteId(3), 1);
        tournament.remove(SiteId(3));
        assert_eq!(tournament.first(), None);
        let mut tournament = Tournament::new(1);
        tournament.set(SiteId(0), u64::MAX);
        assert_eq!(tournament.first(), Some((u64::MAX - 1, SiteId(0))));
        tournament.remove(SiteId(0));
        assert!(tournament.is_empty());
    }
}
