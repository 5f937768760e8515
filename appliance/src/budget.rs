//! Limits on memory that is allocated as needed and held for long, and a pool of buffers.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

/// A limit on leased memory.
pub(crate) struct Budget {
    left: Rc<Cell<usize>>,
    total: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: Rc::new(Cell::new(bytes)), total: bytes }
    }

    /// Leases `bytes` until the lease is dropped, if that many are left.
    pub(crate) fn lease(&self, bytes: usize) -> Option<Lease> {
        self.left.set(self.left.get().checked_sub(bytes)?);
        Some(Lease { budget: self.left.clone(), bytes })
    }

    /// Whether this many bytes could be leased.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        self.left.get() >= bytes
    }

    /// Number of bytes leased.
    pub(crate) fn leased(&self) -> usize {
        self.total - self.left.get()
    }
}

/// A part of a [`Budget`], returned when dropped.
pub(crate) struct Lease {
    budget: Rc<Cell<usize>>,
    bytes: usize,
}

impl Lease {
    /// Changes the size of the lease. False, without any change, if not enough bytes are left.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let Some(left) = (self.budget.get() + self.bytes).checked_sub(bytes) else { return false };
        self.budget.set(left);
        self.bytes = bytes;
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.set(self.budget.get() + self.bytes);
    }
}

/// Limit on buffers kept.
const SPARE_BUFFERS: usize = 32;
/// Limit on the capacity of buffers kept, in bytes.
const SPARE_BYTES: usize = 64 << 10;

/// Used buffers, kept for reuse to save allocations.
pub(crate) struct BufferPool(Vec<Vec<u8>>);

impl BufferPool {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(SPARE_BUFFERS))
    }

    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Returns a buffer.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BYTES).contains(&buffer.capacity()) && self.0.len() < SPARE_BUFFERS {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_leases_return_their_bytes() {
        let budget = Budget::new(100);
        let first = budget.lease(60);
        assert!(first.is_some() && budget.lease(41).is_none());
        assert!(budget.has(40) && !budget.has(41));
        let second = budget.lease(40);
        assert!(second.is_some() && budget.lease(1).is_none());
        drop(first);
        assert!(budget.lease(60).is_some());
        let mut second = second.unwrap();
        assert!(second.resize(100) && budget.leased() == 100 && !second.resize(101));
        assert!(second.resize(10) && budget.leased() == 10);
        drop(second);
        assert_eq!(budget.leased(), 0);
    }
}
