//! Images of every format boot and serve their page.

use crate::Test;
use crate::shelf::{PAGE, Shelf};
use anyhow::{Context, Result, ensure};
use image::deploy::Format;
use std::process::Command;
use std::time::Duration;
use weir_tests::PATIENCE;
use weir_tests::machine::{Machine, Setup, has_uefi};

pub(crate) const TESTS: &[Test] = &[
    ("boots::raw", |shelf| boots(shelf, Format::Raw, false)),
    ("boots::qcow2", |shelf| boots(shelf, Format::Qcow2, false)),
    ("boots::iso", |shelf| boots(shelf, Format::Iso, false)),
    ("boots::vmdk", |shelf| boots(shelf, Format::Vmdk, false)),
    ("boots::elf", |shelf| boots(shelf, Format::Elf, false)),
    ("boots::gcp", gcp),
    ("boots::no_interrupt_is_lost", no_interrupt_is_lost),
    ("boots::raw_by_uefi", |shelf| boots(shelf, Format::Raw, true)),
    ("boots::iso_by_uefi", |shelf| boots(shelf, Format::Iso, true)),
];

fn boots(shelf: &Shelf, format: Format, uefi: bool) -> Result<()> {
    let mut setup = Setup::new(format, &shelf.image(format)?);
    if uefi {
        ensure!(has_uefi(), "no UEFI firmware: install ovmf");
        (setup.uefi, setup.memory_mib) = (true, 128);
    }
    serves(&setup)
}

fn serves(setup: &Setup) -> Result<()> {
    let mut machine = Machine::boot(setup)?;
    let (took, page) = machine.first_200("/", PATIENCE)?;
    ensure!(page == PAGE, "{}", String::from_utf8_lossy(&page));
    let log = machine.log();
    ensure!(log.contains("weir: configuration: built in, "), "{log}");
    eprintln!(
        "{}{}: first 200 after {} ms",
        setup.format,
        if setup.uefi { " by UEFI" } else { "" },
        took.as_millis()
    );
    Ok(())
}

/// The appliance gets its address through interrupts alone: without a vsock device nothing else wakes the machine. When the
/// interrupt of the frame with the address was lost, it slept for its maximum halt of a second.
fn no_interrupt_is_lost(shelf: &Shelf) -> Result<()> {
    let setup = Setup::new(Format::Raw, &shelf.image(Format::Raw)?);
    let address = || -> Result<Duration> {
        let mut machine = Machine::boot(&setup)?;
        let ready = machine.line("weir: 1 sites", PATIENCE)?;
        Ok(machine.line("weir: serving at", PATIENCE)?.saturating_sub(ready))
    };
    // If an interrupt is lost, it takes a second each time; without a loss it may take as long on a busy host, but not in all of
    // so many boots.
    let mut all = Vec::new();
    while all.len() < 20 {
        let took = address()?;
        if took < Duration::from_millis(500) {
            return Ok(());
        }
        all.push(took);
    }
    anyhow::bail!("{all:?} from the start to an address")
}

/// Unpacked with GNU tar, as on import.
fn gcp(shelf: &Shelf) -> Result<()> {
    let tarball = shelf.image(Format::Gcp)?;
    let directory = shelf.path("gcp");
    std::fs::create_dir_all(&directory)?;
    let tar = Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(&directory).status();
    ensure!(tar.context("starting tar")?.success(), "tar cannot unpack it");
    let disk = directory.join("disk.raw");
    ensure!(std::fs::metadata(&disk)?.len() == 1 << 30, "a whole GiB");
    serves(&Setup::new(Format::Gcp, &disk))
}
