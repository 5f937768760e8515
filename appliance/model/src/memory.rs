//! How much memory a machine needs for an image. Used by the host, which refuses to start a machine with
//! less, and by the machine itself, which refuses to serve.
//!
//! The loader has the whole image in memory from 1 MiB on, and copies it to the next 2 MiB boundary after it,
//! at 8 MiB or above. The kernel takes the memory after the copy: some for page tables, a tenth for stacks,
//! the rest, in steps of 2 MiB, for the heap. Drivers take up to 4 MiB of the heap, serving the rest.
//! Measured with bundles of 0.1, 5 and 29 MB in machines of 16 to 128 MiB, booted by QEMU's `-kernel`.
//!
//! The image's loader enforces [`least_memory_mib`] before anything else runs. The program checks what the
//! loader cannot know ([`check`]): memory kept by UEFI firmware, and bundles from the host, which are in the
//! heap.

use core::fmt;

const MIB: u64 = 1 << 20;
/// The kernel is loaded at a multiple of this.
const LARGE_PAGE: u64 = 2 * MIB;
/// Limit on the size of loader and image without a bundle, in bytes.
pub const FIXED_LEN_MAX: u64 = 4 << 20;
/// Lowest address of the image: after the loader and QEMU's tables.
const IMAGE_AT: u64 = MIB + (128 << 10);
/// Lowest address of its copy.
const COPY_AT: u64 = 8 * MIB;
/// Memory after the copy: page tables, stacks, and a heap of 6 to 8 MiB.
const BEHIND: u64 = 12 * MIB + (200 << 10);
/// Least heap that the kernel leaves to the program in such a machine. Serving was observed with 4.3 MiB.
const LEAST_HEAP: u64 = 5 * MIB;

/// Least memory in MiB of a machine that serves from an image with a bundle of `bundle_len` bytes, booted by
/// QEMU's `-kernel` or BIOS. UEFI firmware needs memory in addition.
pub fn least_memory_mib(bundle_len: u64) -> u32 {
    least_memory_with_mib(bundle_len, 0)
}

/// Like [`least_memory_mib`], for an image that gets `handed_len` more bytes over `fw_cfg`.
pub fn least_memory_with_mib(bundle_len: u64, handed_len: u64) -> u32 {
    let image = FIXED_LEN_MAX.saturating_add(bundle_len);
    let copy = (IMAGE_AT.saturating_add(image) / LARGE_PAGE + 1).saturating_mul(LARGE_PAGE).max(COPY_AT);
    let end = copy.saturating_add(image).saturating_add(BEHIND).saturating_add(for_heap(handed_len));
    // Machines have even numbers of MiB.
    u32::try_from(end / LARGE_PAGE * 2 + 2).unwrap_or(u32::MAX)
}

/// Bytes of memory that enlarge the heap by at least `bytes`: a tenth becomes stacks, and the kernel rounds
/// down twice.
fn for_heap(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        bytes => bytes.saturating_add(bytes / 9).saturating_add(2 * LARGE_PAGE),
    }
}

/// The machine has less memory than it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittleMemory {
    /// Memory of the machine in MiB, if known.
    pub has_mib: Option<u32>,
    /// Memory needed in MiB for the image and the data from the host.
    pub needs_mib: u32,
}

impl fmt::Display for TooLittleMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_mib, needs_mib } = self;
        match has_mib {
            Some(has_mib) => write!(f, "this machine has {has_mib} MiB of memory")?,
            None => f.write_str("this machine has too little memory")?,
        }
        write!(f, ", this image needs {needs_mib}: give it {needs_mib} MiB or more")
    }
}

impl core::error::Error for TooLittleMemory {}

/// Whether a heap of `heap` bytes in total suffices: `bundle_len` bytes are part of the image, `handed_len`
/// come over `fw_cfg`, and the machine has `ram_bytes` of memory, if known.
pub fn check(
    heap: u64,
    bundle_len: u64,
    handed_len: u64,
    ram_bytes: Option<u64>,
) -> Result<(), TooLittleMemory> {
    let wanted = LEAST_HEAP.saturating_add(handed_len);
    let Some(missing) = wanted.checked_sub(heap).filter(|&missing| missing > 0) else { return Ok(()) };
    let mib = |bytes: u64| u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
    let least = least_memory_with_mib(bundle_len, handed_len);
    let needs_mib = match ram_bytes {
        // It has what the image needs, but the firmware keeps some of it.
        Some(ram) if mib(ram) >= least => mib((ram.saturating_add(for_heap(missing)) / LARGE_PAGE)
            .saturating_add(1)
            .saturating_mul(LARGE_PAGE)),
        _ => least,
    };
    Err(TooLittleMemory { has_mib: ram_bytes.map(mib), needs_mib })
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
