//! The program's heap: talc over nearly all memory the kernel has.
//!
//! An allocator of our own costs no switch to the kernel's stack and no interrupt lock per call, rounds nothing up
//! to cache lines, and does not depend on which of its several allocation calls a kernel has.

use super::abi;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use talc::{TalcLock, source::Manual};

/// What is left to the kernel, which allocates little once the program runs.
const KERNEL_SHARE: usize = 256 * 1024;
/// Regions smaller than this are not worth taking.
const SMALLEST_REGION: usize = 256 * 1024;
const LARGEST_REGION: usize = 1 << 40;
/// How closely the largest region is looked for.
const GRANULE: usize = 16 * 1024;
/// How many regions are taken at most; the kernel's free memory is in one or two.
const MAX_REGIONS: usize = 8;
const PAGE: usize = 4096;

#[global_allocator]
static HEAP: TalcLock<SingleCore, Manual> = TalcLock::new(Manual);

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// How full the heap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapUse {
    /// Bytes the heap has in all.
    pub total: usize,
    /// Bytes of it that are allocated.
    pub allocated: usize,
}

/// How full the heap is now.
#[must_use]
pub fn heap_use() -> HeapUse {
    HeapUse { total: TOTAL.load(Ordering::Relaxed), allocated: HEAP.lock().counters().allocated_bytes }
}

/// Takes over the kernel's free memory. Once, before anything is allocated.
pub(super) fn init() {
    let reserve = abi::malloc(KERNEL_SHARE, PAGE);
    for _ in 0..MAX_REGIONS {
        let size = largest_free();
        let Some(region) = (size >= SMALLEST_REGION).then(|| abi::malloc(size, PAGE)).flatten() else {
            break;
        };
        // SAFETY: the region is ours alone, valid for `size` bytes, and never given back.
        if unsafe { HEAP.lock().claim(region.as_ptr(), size) }.is_some() {
            TOTAL.fetch_add(size, Ordering::Relaxed);
        }
    }
    if let Some(reserve) = reserve {
        // SAFETY: it came from the same call and nobody used it.
        unsafe { abi::free(reserve, KERNEL_SHARE, PAGE) };
    }
}

/// The largest region the kernel would give now, by bisection: in one piece, so that large allocations find room.
fn largest_free() -> usize {
    let (mut fits, mut fails) = (0, LARGEST_REGION);
    while fails - fits > GRANULE {
        let size = fits + (fails - fits) / 2;
        match abi::malloc(size, PAGE) {
            Some(region) => {
                // SAFETY: it came from the same call and nobody used it.
                unsafe { abi::free(region, size, PAGE) };
                fits = size;
            }
            None => fails = size,
        }
    }
    fits & !(PAGE - 1)
}

/// The lock of an allocator that only one processor, and no interrupt gate, uses.
pub(super) struct SingleCore(AtomicBool);

// SAFETY: `try_lock` hands the lock to one holder at a time, by an atomic exchange.
unsafe impl talc::lock_api::RawMutex for SingleCore {
    #[expect(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = talc::lock_api::GuardSend;

    #[inline]
    fn lock(&self) {
        // Never contended: there is one core, and the interrupt gates do not allocate.
        while !self.try_lock() {
            core::hint::spin_loop();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // A load and a store instead of a locked exchange, which is slow under emulation, would do on one core;
        // the exchange keeps the promise made to the trait.
        !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
