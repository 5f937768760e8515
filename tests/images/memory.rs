//! Machines with too little memory: each reports it and ends, however it was booted and at whatever stage.

use crate::Test;
use crate::damage::find;
use crate::shelf::{PAGE, Shelf};
use anyhow::{Context, Result, ensure};
use image::deploy::Format;
use model::bundle::{File, Source, encode};
use model::memory::{TooLittleMemory, least_memory_mib, least_memory_with_mib};
use model::settings::Settings;
use std::ops::Range;
use std::path::Path;
use weir_tests::PATIENCE;
use weir_tests::machine::{Machine, Setup, has_uefi};

pub(crate) const TESTS: &[Test] = &[
    ("memory::a_small_image", |shelf| small(shelf, Format::Elf)),
    ("memory::a_small_disk", |shelf| small(shelf, Format::Raw)),
    ("memory::an_image_of_29_mb", large),
    ("memory::what_firmware_keeps_is_missed_by_the_kernel", kernel),
    ("memory::what_firmware_keeps_is_missed_by_grub", uefi),
    ("memory::what_the_host_hands_over", handed),
    ("memory::a_heap_that_runs_full", full),
];

/// QEMU's exit status of a machine that ended with an error, and of one that panicked.
const FAILURE: i32 = 3;
const PANIC: i32 = 5;

/// Boots with this much memory, with and without `isa-debug-exit`: the machine must end by itself, with this line.
fn ends(setup: &Setup, memory_mib: u32, status: i32, line: &str) -> Result<()> {
    for (debug_exit, status) in [(true, status), (false, 0)] {
        let setup = Setup { memory_mib, debug_exit, ..setup.clone() };
        let (code, log) = Machine::boot(&setup)?.ended(PATIENCE)?;
        let what = format!("{memory_mib} MiB, isa-debug-exit {debug_exit}");
        ensure!(log.contains(line) && !log.contains("serving"), "{what}: no {line:?}: {log}");
        ensure!(code == Some(status), "{what}: QEMU's exit code {code:?}, expected {status}: {log}");
    }
    Ok(())
}

fn too_little(setup: &Setup, has_mib: u32, needs_mib: u32) -> Result<()> {
    let line = format!("error: {}", TooLittleMemory { has_mib: Some(has_mib), needs_mib });
    ends(setup, has_mib, FAILURE, &line)
}

fn serves(setup: &Setup, memory_mib: u32, page: &[u8]) -> Result<()> {
    let mut machine = Machine::boot(&Setup { memory_mib, ..setup.clone() })?;
    let (_, content) = machine.first_200("/", PATIENCE)?;
    ensure!(content == page, "{} bytes: {}", content.len(), machine.log());
    Ok(())
}

/// The machine enforces the same minimum that `weir image build` printed.
fn least(image: &Path) -> Result<u32> {
    Ok(least_memory_mib(bundle_len(image)?))
}

fn bundle_len(image: &Path) -> Result<u64> {
    let manifest = std::fs::read(format!("{}.json", image.display()))?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    manifest["bundle_bytes"].as_u64().context("the manifest has no bundle_bytes")
}

fn small(shelf: &Shelf, format: Format) -> Result<()> {
    let image = shelf.image(format)?;
    let (setup, least) = (Setup::new(format, &image), least(&image)?);
    for has in [8, 16, 18, 20, least - 1] {
        too_little(&setup, has, least)?;
    }
    serves(&setup, least, PAGE)
}

fn large(shelf: &Shelf) -> Result<()> {
    let page: Vec<u8> = (0..29_000_000u32).map(|n| (n / 7) as u8).collect();
    shelf.configuration("large", &page)?;
    let image = shelf.image_of("large", Format::Elf)?;
    let (setup, least) = (Setup::new(Format::Elf, &image), least(&image)?);
    // The loader hangs with 24 to 32 and resets with 40; the kernel panics with 64.
    for has in [16, 24, 32, 40, 64, least - 1] {
        too_little(&setup, has, least)?;
    }
    serves(&setup, least, &page)?;
    let image = shelf.image_of("large", Format::Iso)?;
    // With much less, GRUB itself has no room for the image.
    too_little(&Setup::new(Format::Iso, &image), least - 1, least)
}

/// The image with the loader's original entry point, so that later stages have less memory than the check would require.
fn unchecked(shelf: &Shelf) -> Result<Setup> {
    let image = shelf.damaged(&shelf.image(Format::Elf)?, |_| ())?;
    let path = shelf.path("damaged.loader");
    let mut loader = std::fs::read(&path)?;
    let gate = find(&loader, b"\x7fWEIR-GATE-0001\n").context("the check in the loader")?;
    const ENTRY: Range<usize> = 24..28;
    loader.copy_within(gate + 28..gate + 32, ENTRY.start);
    std::fs::write(&path, loader)?;
    Ok(Setup::new(Format::Elf, &image))
}

fn kernel(shelf: &Shelf) -> Result<()> {
    let setup = unchecked(shelf)?;
    for has in [14, 16, 18] {
        ends(&setup, has, PANIC, "MiB of memory are left behind the image, expected")?;
    }
    // Enough for the kernel, too little to serve.
    ends(&setup, 20, FAILURE, "error: this machine has 20 MiB of memory, this image needs 26: give it 26")
}

fn uefi(shelf: &Shelf) -> Result<()> {
    ensure!(has_uefi(), "no UEFI firmware: install ovmf");
    let setup = Setup { uefi: true, ..Setup::new(Format::Raw, &shelf.image(Format::Raw)?) };
    // GRUB runs before anything of Weir, and only knows that it could not read the image. Its message appears twice: on the
    // serial line, and from the firmware's console, which is redirected there.
    ends(&setup, 44, FAILURE, "memory")
}

/// A bundle that does not fit into the heap, and one that leaves too little of it.
fn handed(shelf: &Shelf) -> Result<()> {
    let page: Vec<u8> = (0..9_000_000u32).map(|n| (n / 7) as u8).collect();
    let bundle = shelf.bundle(&shelf.configuration("handed", &page)?, "handed.bundle")?;
    let image = shelf.image(Format::Elf)?;
    let mut setup = Setup::new(Format::Elf, &image);
    setup.extra.extend(["-fw_cfg".into(), format!("name=opt/weir/config,file={}", bundle.display()).into()]);
    let needs = least_memory_with_mib(bundle_len(&image)?, std::fs::metadata(&bundle)?.len());
    too_little(&setup, 26, needs)?;
    serves(&setup, needs, &page)
}

/// A bundle of names: it fits, but what the program builds from it does not.
fn full(shelf: &Shelf) -> Result<()> {
    let bundle = shelf.path("names.bundle");
    let nothing = File {
        tree: 0,
        path: String::new(),
        media_type: String::new(),
        etag: String::new(),
        last_modified: 0,
        offset: 0,
        len: 0,
    };
    let many = vec![Source { file: nothing, content: Vec::new() }; 300_000];
    std::fs::write(&bundle, encode(&Settings::default(), many))?;
    let mut setup = Setup::new(Format::Elf, &shelf.image(Format::Elf)?);
    setup.extra.extend(["-fw_cfg".into(), format!("name=opt/weir/config,file={}", bundle.display()).into()]);
    ends(&setup, 40, PANIC, "this machine's memory is full: give it more")
}
