//! A heap of small numbers by key that tracks the position of each member, so that any member can be moved or
//! removed. O(log n), and no allocation once grown. Each node has four children: half as deep as a binary
//! heap, and a move, which writes in two places, costs more than a comparison.

use alloc::vec::Vec;

const CHILDREN: usize = 4;

/// Not a member.
const NOWHERE: u32 = u32::MAX;

/// Position of every number. Heaps with disjoint members may share one.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<u32>);

impl Places {
    /// Makes room for the numbers below `len`.
    pub(super) fn grow(&mut self, len: usize) {
        if self.0.len() < len {
            self.0.resize(len, NOWHERE);
        }
    }

    fn of(&self, id: u32) -> Option<usize> {
        self.0.get(id as usize).filter(|&&at| at != NOWHERE).map(|&at| at as usize)
    }

    fn set(&mut self, id: u32, at: u32) {
        if let Some(place) = self.0.get_mut(id as usize) {
            *place = at;
        }
    }
}

/// The heap; the smallest key comes first.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap<K> {
    items: Vec<(K, u32)>,
}

impl<K: Copy + Ord> Heap<K> {
    pub(super) const fn new() -> Self {
        Self { items: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Makes room for this many members, so that adding them does not allocate.
    pub(super) fn reserve(&mut self, len: usize) {
        self.items.reserve(len.saturating_sub(self.items.len()));
    }

    /// The smallest key, and its member.
    #[inline]
    pub(super) fn first(&self) -> Option<(K, u32)> {
        self.items.first().copied()
    }

    /// Adds a number, or changes its key.
    pub(super) fn set(&mut self, id: u32, key: K, places: &mut Places) {
        match places.of(id) {
            Some(at) => {
                let Some(item) = self.items.get_mut(at) else { return };
                let before = item.0;
                item.0 = key;
                if key < before { self.rise(at, places) } else { self.sink(at, places) }
            }
            None => {
                places.set(id, self.items.len() as u32);
                self.items.push((key, id));
                self.rise(self.items.len() - 1, places);
            }
        }
    }

    /// Removes a number, if it is a member.
    #[inline]
    pub(super) fn remove(&mut self, id: u32, places: &mut Places) {
        // Usually it is not.
        if let Some(at) = places.of(id).filter(|&at| self.items.get(at).is_some_and(|item| item.1 == id)) {
            self.take_out(id, at, places);
        }
    }

    fn take_out(&mut self, id: u32, at: usize, places: &mut Places) {
        places.set(id, NOWHERE);
        self.items.swap_remove(at);
        if let Some(&(_, moved)) = self.items.get(at) {
            places.set(moved, at as u32);
            self.rise(at, places);
            self.sink(at, places);
        }
    }

    /// Writes a member to a position.
    fn put(&mut self, at: usize, item: (K, u32), places: &mut Places) {
        if let Some(slot) = self.items.get_mut(at) {
            *slot = item;
            places.set(item.1, at as u32);
        }
    }

    /// Moves a member towards the root; those on its way move into the gap.
    fn rise(&mut self, mut at: usize, places: &mut Places) {
        let Some(&item) = self.items.get(at) else { return };
        let from = at;
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            match self.items.get(parent) {
                Some(&above) if above.0 > item.0 => self.put(at, above, places),
                _ => break,
            }
            at = parent;
        }
        if at != from {
            self.put(at, item, places);
        }
    }

    /// Like [`Heap::rise`], towards the leaves.
    fn sink(&mut self, mut at: usize, places: &mut Places) {
        let Some(&item) = self.items.get(at) else { return };
        let from = at;
        while let Some((child, least)) = self.least_child(at)
            && least.0 < item.0
        {
            self.put(at, least, places);
            at = child;
        }
        if at != from {
            self.put(at, item, places);
        }
    }

    /// Position and content of the smallest child.
    #[inline(always)]
    fn least_child(&self, at: usize) -> Option<(usize, (K, u32))> {
        let first = CHILDREN * at + 1;
        let children = self.items.get(first..)?;
        if let Some([a, b, c, d]) = children.first_chunk() {
            // A tournament, so that only half of the comparisons depend on the one before.
            let (left, l) = if b.0 < a.0 { (1, b) } else { (0, a) };
            let (right, r) = if d.0 < c.0 { (3, d) } else { (2, c) };
            let (won, least) = if r.0 < l.0 { (right, r) } else { (left, l) };
            return Some((first + won, *least));
        }
        children.iter().enumerate().min_by_key(|(_, item)| item.0).map(|(n, item)| (first + n, *item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn as_a_sorted_map(steps in proptest::collection::vec((0..40_u32, proptest::option::of(0..100_u64)), 1..400)) {
            let (mut heap, mut places, mut model) = (Heap::new(), Places::default(), BTreeMap::new());
            places.grow(40);
            for (id, key) in steps {
                match key {
                    Some(key) => {
                        heap.set(id, key, &mut places);
                        model.insert(id, key);
                    }
                    None => {
                        heap.remove(id, &mut places);
                        model.remove(&id);
                    }
                }
                let least = model.values().min().copied();
                prop_assert_eq!(heap.first().map(|(key, _)| key), least);
                if let Some((key, id)) = heap.first() {
                    prop_assert_eq!(model.get(&id), Some(&key));
                }
                prop_assert_eq!(heap.items.len(), model.len());
            }
        }
    }
}
