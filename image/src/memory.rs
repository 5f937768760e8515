//! How much memory a machine needs for an image.
//!
//! The loader has the whole image in memory from 1 MiB on, and copies it to the next 2 MiB boundary behind, 8 MiB at
//! the least. The kernel takes what lies behind the copy: some for page tables, a tenth for stacks, the rest, in steps of
//! 2 MiB, for the heap. Of that the drivers take up to 4 MiB and serving the rest. Measured with bundles of 0.1, 5 and 29
//! MB in machines of 16 to 128 MiB, booted by QEMU's `-kernel`.

use crate::FIXED_LEN_MAX;

const MIB: u64 = 1 << 20;
/// The kernel is loaded at a multiple of this.
const LARGE_PAGE: u64 = 2 * MIB;
/// Where the image lies at the earliest, behind the loader and QEMU's tables.
const IMAGE_AT: u64 = MIB + (128 << 10);
/// Where its copy lies at the earliest.
const COPY_AT: u64 = 8 * MIB;
/// Page tables, stacks, and a heap of 8 MiB.
const BEHIND: u64 = 12 * MIB + (200 << 10);

/// Least memory in MiB of a machine that boots an image with a bundle of so many bytes from QEMU's `-kernel` or by BIOS and
/// serves from it. UEFI's firmware takes its own besides.
pub fn least_memory_mib(bundle_len: u64) -> u32 {
    let image = FIXED_LEN_MAX.saturating_add(bundle_len);
    let copy = (IMAGE_AT.saturating_add(image) / LARGE_PAGE + 1).saturating_mul(LARGE_PAGE).max(COPY_AT);
    let end = copy.saturating_add(image).saturating_add(BEHIND);
    // Machines have even numbers of them.
    u32::try_from(end / LARGE_PAGE * 2 + 2).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than what was seen to fail, and not much more than what was seen to serve.
    #[test]
    fn as_measured() {
        for (bundle, failed, served) in [(100_171, 18, 20), (5_000_166, 24, 32), (29_000_167, 64, 80)] {
            let least = least_memory_mib(bundle);
            assert!(failed < least && least <= served + 8, "{bundle} bytes: {least} MiB");
        }
    }

    #[test]
    fn more_needs_more_and_nothing_overflows() {
        let mut last = 0;
        for bundle in [0, 1, 1 << 20, 3 << 20, 1 << 30, 1 << 40, u64::MAX] {
            let least = least_memory_mib(bundle);
            assert!(least >= last);
            last = least;
        }
        assert_eq!(last, u32::MAX);
    }
}
