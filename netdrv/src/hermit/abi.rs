//! All calls to the kernel. An image exports exactly these (and `_start`) from the kernel.
//!
//! | symbol | for |
//! |---|---|
//! | `sys_malloc` | the memory this crate's own allocator works in: a few calls at start, none later |
//! | `sys_free` | gives such memory back, where a probe of the heap took too much |
//! | `sys_clock_gettime` | the wall clock, once at start |
//! | `sys_exit` | power off |
//!
//! All four have the same signature in libhermit-rs 0.6 and in every kernel supported by hermit-abi 0.5. In the other direction,
//! the image provides `runtime_entry` and its own `sys_read_entropy` (see [`super::random`]); the kernel's must not be exported.
//!
//! The kernel's system calls return with interrupts enabled, whatever their state before: they switch stacks, and end with `sti`.
//! An interrupt taken then would be missed at the next [`super::cpu::halt`], so every function here disables them again.

use super::cpu;
use core::ptr::NonNull;

/// Allocates memory from the kernel's heap; `None` if it fails.
pub(super) fn malloc(size: usize, align: usize) -> Option<NonNull<u8>> {
    // SAFETY: sys_malloc takes any size and alignment; it answers null for what it cannot or will not serve.
    let memory = unsafe { hermit_abi::malloc(size, align) };
    cpu::interrupts_off();
    NonNull::new(memory)
}

/// Returns memory from [`malloc`] to the kernel.
///
/// # Safety
///
/// `memory` must come from `malloc(size, align)` and must not be used any more.
pub(super) unsafe fn free(memory: NonNull<u8>, size: usize, align: usize) {
    // SAFETY: passed on to the caller.
    unsafe { hermit_abi::free(memory.as_ptr(), size, align) };
    cpu::interrupts_off();
}

/// The kernel's clock in nanoseconds since 1970 (`wall`) or since its start; 0 if unavailable.
pub(super) fn kernel_time_ns(wall: bool) -> u64 {
    let mut time = hermit_abi::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = if wall { hermit_abi::CLOCK_REALTIME } else { hermit_abi::CLOCK_MONOTONIC };
    // SAFETY: `time` is valid for writing.
    let status = unsafe { hermit_abi::clock_gettime(clock, &raw mut time) };
    cpu::interrupts_off();
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    if status == 0 { seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds) } else { 0 }
}

/// Powers off. libhermit-rs 0.6 ignores `status` on QEMU: see [`super::exit`].
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: sys_exit takes any status and does not return.
    unsafe { hermit_abi::exit(status) }
}
