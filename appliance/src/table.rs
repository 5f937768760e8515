//! Hash functions and tables: keyed with a secret where clients choose the keys, not keyed where the operator does.

use alloc::vec::Vec;
use core::hash::BuildHasher;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// SipHash-1-3 with a secret key, so that clients cannot choose keys that collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedHash(pub(crate) u64, pub(crate) u64);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    #[inline]
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a for names from the operator. Not keyed: clients' keys are never stored, so at worst they find the
/// longest probe sequence formed by the operator's own names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHash(u64);

impl NameHash {
    #[inline]
    pub(crate) fn new(seed: u64) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325);
        hash.mix(seed);
        hash
    }

    #[inline]
    fn mix(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(PRIME);
    }

    /// Bytes as they are, eight at a time: split differently, they hash differently.
    #[inline]
    pub(crate) fn exact(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
            self.0 ^= self.0 >> 32;
        }
        for &b in tail {
            self.mix(u64::from(b));
        }
    }

    /// Bytes with ASCII letters in lower case, in any pieces.
    #[inline]
    pub(crate) fn lower(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.mix(u64::from(b.to_ascii_lowercase()));
        }
    }

    #[inline]
    pub(crate) fn finish(self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

/// Values by index and by hash. None is ever removed.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    values: Vec<T>,
    /// Hash and index of each value.
    indices: HashTable<(u64, u32)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), indices: HashTable::new() }
    }
}

impl<T> Table<T> {
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)
    }

    /// Adds a value that is not in the table, and returns its index.
    pub(crate) fn insert(&mut self, hash: u64, value: T) -> usize {
        let index = self.values.len();
        self.values.push(value);
        self.indices.insert_unique(hash, (hash, index as u32), |&(hash, _)| hash);
        index
    }

    /// The index of the value with this hash that satisfies `is_meant`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_meant: impl Fn(&T) -> bool) -> Option<usize> {
        let is_it = |&(its, index): &(u64, u32)| {
            #[cfg(test)]
            COMPARED.set(COMPARED.get() + 1);
            its == hash && self.values.get(index as usize).is_some_and(&is_meant)
        };
        self.indices.find(hash, is_it).map(|&(_, index)| index as usize)
    }
}

#[cfg(test)]
std::thread_local! {
    static COMPARED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// How many keys all look-ups of this thread have compared.
#[cfg(test)]
pub(crate) fn compared() -> usize {
    COMPARED.get()
}
