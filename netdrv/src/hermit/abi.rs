//! Every call into the kernel, in one place. An image exports exactly these (and `_start`) from the kernel.
//!
//! | symbol | for |
//! |---|---|
//! | `sys_malloc` | the memory this crate's own allocator works in: a few calls at start, none later |
//! | `sys_clock_gettime` | the wall clock, once at start |
//! | `sys_exit` | power off |
//!
//! All three have the same signature in libhermit-rs 0.6 and in every kernel that hermit-abi 0.5 is for. The other
//! way round, the image supplies `runtime_entry` and its own `sys_read_entropy` (see [`super::random`]); the
//! kernel's must not be exported.
