//! GRUB as the boot loader: builds core images with only the modules needed to boot.
//!
//! The core's embedded script reads `weir.cfg`, which boots only if the checksums of loader and ELF match. A damaged image prints
//! an error on the serial line and ends QEMU with a failure status.

use super::{tool, write};
use crate::step;
use anyhow::{Context, Result, anyhow, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platform of a core image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    /// BIOS, from a disk.
    BiosDisk,
    /// BIOS, from an ISO.
    BiosIso,
    /// UEFI, from either.
    Efi,
}

/// Modules of every core: scripting, checksums, multiboot, and error output.
const MODULES: [&str; 10] =
    ["boot", "configfile", "echo", "gcry_crc", "halt", "hashsum", "iorw", "multiboot", "serial", "terminal"];
/// Reached only if `weir.cfg` cannot be read or does not boot. The last lines end QEMU (`isa-debug-exit`) with status 3, and
/// power off if there is no such device.
const EARLY: &str = "\
source /weir.cfg
serial --unit=0 --speed=115200
terminal_output --append serial
echo error: image damaged, or too little memory to read it: loader or ELF unreadable or of wrong checksum
outl 0xf4 0x1
halt
";
/// Copies UEFI's ACPI tables to where the kernel looks for them.
const EFI_EARLY: &str = "acpi -2\n";
const PACKAGES: &str = "grub-common grub-pc-bin grub-efi-amd64-bin";

impl Platform {
    fn target(self) -> &'static str {
        match self {
            Self::BiosDisk => "i386-pc",
            Self::BiosIso => "i386-pc-eltorito",
            Self::Efi => "x86_64-efi",
        }
    }

    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::BiosDisk => &["biosdisk", "part_msdos", "fat"],
            Self::BiosIso => &["biosdisk", "iso9660"],
            Self::Efi => &["part_msdos", "fat", "iso9660", "search", "acpi"],
        }
    }

    /// Directory of the files, as seen from the core's device.
    fn prefix(self) -> &'static str {
        match self {
            Self::BiosDisk => "(,msdos1)/",
            Self::BiosIso | Self::Efi => "/",
        }
    }

    fn early(self) -> String {
        match self {
            Self::BiosDisk | Self::BiosIso => EARLY.into(),
            // UEFI boots from a small file system beside the ISO's own.
            Self::Efi => format!("search --file --no-floppy --set=root /weir.cfg\n{EFI_EARLY}{EARLY}"),
        }
    }
}

/// The core image for `platform`.
pub(super) fn core(platform: Platform, work: &Path) -> Result<Vec<u8>> {
    let directory = directory(if platform == Platform::Efi { "x86_64-efi" } else { "i386-pc" })?;
    let (config, out) = (work.join("early.cfg"), work.join(format!("{}.img", platform.target())));
    write(&config, platform.early().as_bytes())?;
    let mut mkimage = Command::new("grub-mkimage");
    mkimage.args(["-O", platform.target(), "-p", platform.prefix(), "-d"]).arg(directory);
    mkimage.arg("-c").arg(&config).arg("-o").arg(&out).args(platform.modules()).args(MODULES);
    tool(&mut mkimage, "grub-mkimage", PACKAGES, work)?;
    std::fs::read(&out).with_context(|| format!("reading {}", out.display()))
}

/// The first block of a BIOS disk, which loads the core from the blocks after it.
pub(super) fn boot_block() -> Result<Vec<u8>> {
    let path = directory("i386-pc")?.join("boot.img");
    let block = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(block.len() == 512, "{}: {} bytes, expected 512", path.display(), block.len());
    Ok(block)
}

/// `weir.cfg` and the checksums it verifies, as files of the image's root directory.
pub(super) fn files(loader: &[u8], elf: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    let sums = format!("{:08x}  /loader\n{:08x}  /weir\n", crc32fast::hash(loader), crc32fast::hash(elf));
    let config = "if hashsum --hash crc32 --check /sums; then\nmultiboot /loader\nmodule /weir\nboot\nfi\n";
    [("weir.cfg", config.into()), ("sums", sums.into_bytes())]
}

/// The version of GRUB in use, for the bill of materials.
pub(super) fn version() -> Result<String> {
    let text = step::ask(Command::new("grub-mkimage").arg("--version"));
    let text = text.ok_or_else(|| anyhow!("no grub-mkimage: on Debian `apt-get install {PACKAGES}`"))?;
    Ok(text.split_whitespace().last().unwrap_or("unknown").to_owned())
}

fn directory(platform: &str) -> Result<PathBuf> {
    let found =
        ["/usr/lib/grub", "/usr/share/grub", "/usr/local/lib/grub"].map(|d| Path::new(d).join(platform));
    let found = found.into_iter().find(|d| d.join("kernel.img").is_file());
    found.ok_or_else(|| anyhow!("no GRUB for {platform}: on Debian `apt-get install {PACKAGES}`"))
}
