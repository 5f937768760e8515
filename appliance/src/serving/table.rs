//! A hash table for keys from the operator. Lookups do not allocate.

use alloc::vec;
use alloc::vec::Vec;

/// FNV-1a over ASCII-lower-cased bytes. Not keyed: clients' keys are never stored, so at worst they find the
/// longest probe sequence formed by the operator's own prefixes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl Hash {
    #[inline]
    pub(super) fn new(seed: u64) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325);
        hash.mix(seed);
        hash
    }

    #[inline]
    fn mix(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x0000_0100_0000_01b3);
    }

    #[inline]
    pub(super) fn lower(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.mix(u64::from(b.to_ascii_lowercase()));
        }
    }

    #[inline]
    pub(super) fn finish(self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

/// Open addressing with linear probing; at most half full; never shrinks.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    values: Vec<T>,
    /// The upper half of the hash, and the index into `values` plus one; 0 is free.
    slots: Vec<(u32, u32)>,
}

impl<T> Table<T> {
    /// A table for this many values; more are not found.
    pub(super) fn with_capacity(values: usize) -> Self {
        Self { values: Vec::new(), slots: vec![(0, 0); (values * 2 + 1).next_power_of_two()] }
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)
    }

    /// Adds a value and returns its index.
    pub(super) fn insert(&mut self, hash: u64, value: T) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        for _ in 0..self.slots.len() {
            match self.slots.get_mut(at) {
                Some(slot @ (_, 0)) => {
                    *slot = ((hash >> 32) as u32, self.values.len() as u32 + 1);
                    break;
                }
                _ => at = (at + 1) & mask,
            }
        }
        self.values.push(value);
        self.values.len() - 1
    }

    /// The index of the value with this hash that satisfies `is_meant`.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_meant: impl Fn(&T) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        // Terminates, since there is always a free slot.
        loop {
            let &(upper, index) = self.slots.get(at)?;
            let index = (index as usize).checked_sub(1)?;
            if upper == (hash >> 32) as u32 && self.values.get(index).is_some_and(&is_meant) {
                return Some(index);
            }
            at = (at + 1) & mask;
        }
    }
}
