//! The program's heap: talc over nearly all memory of the kernel.
//!
//! A separate allocator avoids switching to the kernel's stack and its interrupt lock for each call, does not round up to cache
//! lines, and does not depend on which allocation calls a kernel has.

use super::abi;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use talc::{TalcLock, source::Manual};

/// Memory left to the kernel, which allocates little once the program runs.
const KERNEL_SHARE: usize = 256 * 1024;
/// Smaller regions are not used.
const SMALLEST_REGION: usize = 256 * 1024;
const LARGEST_REGION: usize = 1 << 40;
/// Precision of the search for the largest region.
const GRANULE: usize = 16 * 1024;
/// Maximum number of regions; the kernel's free memory is in one or two.
const MAX_REGIONS: usize = 8;
const PAGE: usize = 4096;

#[global_allocator]
static HEAP: TalcLock<SingleCore, Manual> = TalcLock::new(Manual);

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// Heap usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapUse {
    /// Size of the heap in bytes.
    pub total: usize,
    /// Allocated bytes.
    pub allocated: usize,
}

/// Current heap usage.
#[must_use]
pub fn heap_use() -> HeapUse {
    HeapUse { total: TOTAL.load(Ordering::Relaxed), allocated: HEAP.lock().counters().allocated_bytes }
}

/// Takes over the kernel's free memory. Call once, before the first allocation.
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

/// Size of the largest region the kernel would allocate now, by bisection; large regions leave room for large allocations.
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

/// Lock of an allocator used by a single processor and by no interrupt handler.
pub(super) struct SingleCore(AtomicBool);

// SAFETY: `try_lock` hands the lock to one holder at a time, by an atomic exchange.
unsafe impl talc::lock_api::RawMutex for SingleCore {
    #[expect(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = talc::lock_api::GuardSend;

    #[inline]
    fn lock(&self) {
        // Never contended: there is one core, and interrupt handlers do not allocate.
        while !self.try_lock() {
            core::hint::spin_loop();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // On one core a load and a store would suffice, and be faster under emulation; the exchange fulfils the trait's contract.
        !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
