//! How much memory a machine needs for an image: one count for the host, which says it and refuses less, and for the
//! machine, which does not serve with less.
//!
//! The loader has the whole image in memory from 1 MiB on, and copies it to the next 2 MiB boundary behind, 8 MiB at
//! the least. The kernel takes what lies behind the copy: some for page tables, a tenth for stacks, the rest, in steps of
//! 2 MiB, for the heap. Of that the drivers take up to 4 MiB and serving the rest. Measured with bundles of 0.1, 5 and 29
//! MB in machines of 16 to 128 MiB, booted by QEMU's `-kernel`.
//!
//! The image's loader holds a machine to [`least_memory_mib`] before anything else runs. What it cannot know, the program
//! looks at: memory that UEFI's firmware keeps, and bundles that the host hands over, which lie in the heap ([`check`]).

use core::fmt;

const MIB: u64 = 1 << 20;
/// The kernel is loaded at a multiple of this.
const LARGE_PAGE: u64 = 2 * MIB;
/// Most bytes that loader and image may have together without a bundle.
pub const FIXED_LEN_MAX: u64 = 4 << 20;
/// Where the image lies at the earliest, behind the loader and QEMU's tables.
const IMAGE_AT: u64 = MIB + (128 << 10);
/// Where its copy lies at the earliest.
const COPY_AT: u64 = 8 * MIB;
/// Page tables, stacks, and a heap of 6 to 8 MiB.
const BEHIND: u64 = 12 * MIB + (200 << 10);
/// Heap that the kernel leaves the program in such a machine, at the least. With 4.3 MiB it was seen to serve.
const LEAST_HEAP: u64 = 5 * MIB;

/// Least memory in MiB of a machine that boots an image with a bundle of so many bytes from QEMU's `-kernel` or by BIOS and
/// serves from it. UEFI's firmware takes its own besides.
pub fn least_memory_mib(bundle_len: u64) -> u32 {
    least_memory_with_mib(bundle_len, 0)
}

/// The same for an image that is handed so many bytes more over `fw_cfg`.
pub fn least_memory_with_mib(bundle_len: u64, handed_len: u64) -> u32 {
    let image = FIXED_LEN_MAX.saturating_add(bundle_len);
    let copy = (IMAGE_AT.saturating_add(image) / LARGE_PAGE + 1).saturating_mul(LARGE_PAGE).max(COPY_AT);
    let end = copy.saturating_add(image).saturating_add(BEHIND).saturating_add(for_heap(handed_len));
    // Machines have even numbers of them.
    u32::try_from(end / LARGE_PAGE * 2 + 2).unwrap_or(u32::MAX)
}

/// Bytes of memory that make the heap larger by at least so many: a tenth becomes stacks, and twice the kernel rounds down.
fn for_heap(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        bytes => bytes.saturating_add(bytes / 9).saturating_add(2 * LARGE_PAGE),
    }
}

/// What the machine has less than it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittle {
    /// MiB of memory that the machine has, where it can tell.
    pub has_mib: Option<u32>,
    /// MiB that it needs for the image and what it is handed.
    pub needs_mib: u32,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_mib, needs_mib } = self;
        match has_mib {
            Some(has_mib) => write!(f, "this machine has {has_mib} MiB of memory")?,
            None => f.write_str("this machine has too little memory")?,
        }
        write!(f, ", this image needs {needs_mib}: give it {needs_mib} MiB or more")
    }
}

impl core::error::Error for TooLittle {}

/// Whether a heap of so many bytes in all is enough: `bundle_len` bytes are built into the image, `handed_len` come over
/// `fw_cfg`, and the machine has `ram_bytes` of memory, where it can tell.
pub fn check(heap: u64, bundle_len: u64, handed_len: u64, ram_bytes: Option<u64>) -> Result<(), TooLittle> {
    let wanted = LEAST_HEAP.saturating_add(handed_len);
    let Some(missing) = wanted.checked_sub(heap).filter(|&missing| missing > 0) else { return Ok(()) };
    let mib = |bytes: u64| u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
    let least = least_memory_with_mib(bundle_len, handed_len);
    let needs_mib = match ram_bytes {
        // As much as the image needs by itself: the firmware keeps some of it.
        Some(ram) if mib(ram) >= least => mib((ram.saturating_add(for_heap(missing)) / LARGE_PAGE)
            .saturating_add(1)
            .saturating_mul(LARGE_PAGE)),
        _ => least,
    };
    Err(TooLittle { has_mib: ram_bytes.map(mib), needs_mib })
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
