use super::*;
use std::string::ToString;

/// More than what was observed to fail, and not much more than what was observed to serve.
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
        let (least, handed) = (least_memory_mib(bundle), least_memory_with_mib(1 << 20, bundle));
        assert!(least >= last && handed >= least_memory_mib(1 << 20));
        last = least;
    }
    assert_eq!(last, u32::MAX);
    let too_little = check(0, u64::MAX, u64::MAX, Some(u64::MAX)).expect_err("too little");
    assert_eq!(too_little.needs_mib, u32::MAX);
}

/// The heap that the kernel makes of a machine's memory (`mm/mod.rs` with the image builder's settings).
fn heap(ram_mib: u32, bundle_len: u64) -> u64 {
    let image = FIXED_LEN_MAX + bundle_len;
    let copy = ((IMAGE_AT + image) / LARGE_PAGE + 1) * LARGE_PAGE;
    let kernel_end = (copy.max(COPY_AT) + image).next_multiple_of(LARGE_PAGE);
    // The firmware keeps 128 KiB at the end; 2 MiB, and a page for each 2 MiB, are page tables.
    let tables = LARGE_PAGE + (u64::from(ram_mib) / 2 + 3) * 4096;
    let free = (u64::from(ram_mib) * MIB - (128 << 10)).saturating_sub(kernel_end + tables);
    let available = free / LARGE_PAGE * LARGE_PAGE;
    let heap = (available - available / 10) / LARGE_PAGE * LARGE_PAGE;
    heap.saturating_sub(512 << 10)
}

/// A machine with the memory that the host demands never refuses to serve.
#[test]
fn the_host_demands_enough_memory() {
    for bundle in (0..64).map(|n| n * 777_777) {
        for handed in (0..40).map(|n| n * 999_999) {
            let least = least_memory_with_mib(bundle, handed);
            let heap = heap(least, bundle);
            assert_eq!(check(heap, bundle, handed, None), Ok(()), "{bundle} + {handed} bytes, {least} MiB");
        }
    }
}

#[test]
fn too_little_is_one_line_with_a_total() {
    let ram = |mib: u64| Some(mib << 20);
    assert_eq!(check(LEAST_HEAP, 0, 0, None), Ok(()));
    let error = check(LEAST_HEAP - 1, 100_000, 0, ram(24)).expect_err("too little");
    assert_eq!(error.needs_mib, least_memory_mib(100_000));
    let handed = check(8 << 20, 100_000, 30 << 20, ram(32)).expect_err("too little");
    assert_eq!(handed.needs_mib, least_memory_with_mib(100_000, 30 << 20));
    let needs = handed.needs_mib;
    let line =
        format!("this machine has 32 MiB of memory, this image needs {needs}: give it {needs} MiB or more");
    assert_eq!(handed.to_string(), line);
    // Firmware has taken 40 of the 64.
    let error = check(3 << 20, 100_000, 0, ram(64)).expect_err("too little");
    assert!(error.needs_mib > 64 && error.needs_mib <= 76, "{error}");
    let error = check(3 << 20, 100_000, 0, None).expect_err("too little");
    let least = least_memory_mib(100_000);
    let line =
        format!("this machine has too little memory, this image needs {least}: give it {least} MiB or more");
    assert_eq!(error.to_string(), line);
}
