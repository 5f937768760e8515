//! An ISO 9660 image that BIOS and UEFI boot (El Torito), written by xorriso.

use super::grub::{self, Platform};
use super::{EPOCH, Parts, disk, seal, tool, write};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Writes the image to `out` and returns how many bytes of it are GRUB.
pub(super) fn write_iso(parts: &Parts, work: &Path, out: &Path) -> Result<u64> {
    let (bios, efi) = (grub::core(Platform::BiosIso, work)?, grub::core(Platform::Efi, work)?);
    // UEFI boots from an embedded FAT file system.
    let mut system = vec![0; (efi.len() + (256 << 10)).next_multiple_of(64 << 10)];
    disk::fill(&mut system, &efi, &[])?;

    let root = work.join("iso");
    std::fs::create_dir_all(root.join("boot")).with_context(|| format!("creating {}", root.display()))?;
    write(&root.join("boot/bios.img"), &bios)?;
    write(&root.join("boot/efi.img"), &system)?;
    write(&root.join("loader"), &parts.loader)?;
    write(&root.join("weir"), &parts.elf)?;
    for (name, content) in grub::files(&parts.loader, &parts.elf) {
        write(&root.join(name), &content)?;
    }
    let raw = work.join("unsealed.iso");
    let mut xorriso = Command::new("xorriso");
    xorriso.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("TZ", "UTC");
    // Keep xorriso's default padding: BIOSes read CDs in larger blocks, and a read beyond the end fails, or leaves stale data in
    // GRUB's buffer in place of the last files.
    xorriso.args(["-as", "mkisofs", "-quiet", "-r", "-V", "WEIR"]);
    xorriso.arg("--set_all_file_dates").arg(format!("={EPOCH}"));
    xorriso.args(["-b", "boot/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    xorriso.args(["--grub2-boot-info", "-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot"]);
    xorriso.arg("-o").arg(&raw).arg(&root);
    tool(&mut xorriso, "xorriso", "xorriso", work)?;
    let mut iso = std::fs::read(&raw).with_context(|| format!("reading {}", raw.display()))?;
    seal::seal_disk(&mut iso, seal::IN_ISO, &parts.loader, &parts.elf)?;
    write(out, &iso)?;
    Ok((bios.len() + efi.len()) as u64)
}
