//! Truncated and bit-flipped images, with `inspect` and at boot.

use crate::Test;
use crate::shelf::{PAGE, Shelf};
use anyhow::{Context, Result, ensure};
use image::deploy::Format;
use std::path::Path;
use weir_tests::PATIENCE;
use weir_tests::machine::{Machine, Setup};

pub(crate) const TESTS: &[Test] = &[
    ("damage::inspect_shows_what_is_whole", inspect_whole),
    ("damage::inspect_refuses_truncated", inspect_truncated),
    ("damage::inspect_refuses_flipped", inspect_flipped),
    ("damage::a_truncated_disk_does_not_boot", truncated_disk),
    ("damage::a_flipped_disk_does_not_boot", flipped_disk),
    ("damage::a_flipped_bundle_does_not_boot", flipped_bundle),
];

fn inspect_whole(shelf: &Shelf) -> Result<()> {
    for format in Format::ALL {
        let output = shelf.weir_image(["inspect".as_ref(), shelf.image(format)?.as_os_str()])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        for part in
            ["checksums match", "kernel libhermit-rs", "http://*:80/", "/index.html", "certificates: none"]
        {
            ensure!(text.contains(part), "{format}: no {part:?} in {text}");
        }
    }
    Ok(())
}

fn refused(shelf: &Shelf, damaged: &Path, what: &str) -> Result<()> {
    let output = shelf.weir_image(["inspect".as_ref(), damaged.as_os_str()])?;
    let errors = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success() && output.stdout.is_empty(), "{what} passes");
    ensure!(errors.starts_with("weir: ") && errors.lines().count() == 1, "{what}: {errors}");
    Ok(())
}

fn inspect_truncated(shelf: &Shelf) -> Result<()> {
    for format in Format::ALL {
        let image = shelf.image(format)?;
        let len = std::fs::metadata(&image)?.len() as usize;
        // qcow2 and VMDK files may end with padding, so truncating the last byte may have no effect.
        for keep in [0, 1, 511, len / 3, len / 2, len - len / 8] {
            let damaged = shelf.damaged(&image, |content| content.truncate(keep))?;
            refused(shelf, &damaged, &format!("{format} of {keep} bytes"))?;
        }
    }
    Ok(())
}

fn inspect_flipped(shelf: &Shelf) -> Result<()> {
    for format in Format::ALL {
        let image = shelf.image(format)?;
        let content = std::fs::read(&image)?;
        // Somewhere in the middle of the bundle; compressed images cannot be searched.
        let page = find(&content, PAGE).unwrap_or(content.len() / 2);
        for bit in [0, 5] {
            let damaged = shelf.damaged(&image, |content| content[page] ^= 1 << bit)?;
            refused(shelf, &damaged, &format!("{format} with bit {bit} of byte {page} flipped"))?;
        }
    }
    Ok(())
}

/// Offset of a part in some content.
pub(crate) fn find(content: &[u8], part: &[u8]) -> Option<usize> {
    content.windows(part.len()).position(|w| w == part)
}

/// Boots and expects the machine to end with this failure status and message.
fn fails(setup: &Setup, status: i32, words: &str) -> Result<()> {
    let (code, log) = Machine::boot(setup)?.ended(PATIENCE)?;
    ensure!(code == Some(status), "QEMU's exit code {code:?}: {log}");
    ensure!(log.contains(words), "no {words:?}: {log}");
    ensure!(!log.contains("serving"), "{log}");
    Ok(())
}

const GRUB: &str = "error: image damaged";

fn truncated_disk(shelf: &Shelf) -> Result<()> {
    let image = shelf.image(Format::Raw)?;
    // GRUB is intact, the ELF is truncated.
    let damaged = shelf.damaged(&image, |content| content.truncate(0x15_0000))?;
    fails(&Setup::new(Format::Raw, &damaged), 3, GRUB)?;
    let damaged =
        shelf.damaged(&shelf.image(Format::Qcow2)?, |content| content.truncate(content.len() / 2))?;
    // QEMU or GRUB detects it, depending on which half has the tables.
    let (code, log) = Machine::boot(&Setup::new(Format::Qcow2, &damaged))?.ended(PATIENCE)?;
    ensure!(matches!(code, Some(1 | 3)) && !log.trim().is_empty(), "{code:?}: {log}");
    Ok(())
}

fn flipped_disk(shelf: &Shelf) -> Result<()> {
    for format in [Format::Raw, Format::Qcow2, Format::Iso] {
        let image = shelf.image(format)?;
        let content = std::fs::read(&image)?;
        let page = find(&content, PAGE).context("the page")?;
        let damaged = shelf.damaged(&image, |content| content[page] ^= 4)?;
        fails(&Setup::new(format, &damaged), 3, GRUB)?;
    }
    Ok(())
}

/// Nothing checks the ELF before it runs, so the program checks its bundle itself.
fn flipped_bundle(shelf: &Shelf) -> Result<()> {
    let image = shelf.image(Format::Elf)?;
    let content = std::fs::read(&image)?;
    let page = find(&content, PAGE).context("the page")?;
    let damaged = shelf.damaged(&image, |content| content[page] ^= 4)?;
    let words = "error: configuration (built in): bundle checksum is wrong";
    fails(&Setup::new(Format::Elf, &damaged), 3, words)
}
