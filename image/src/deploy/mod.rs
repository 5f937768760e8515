//! Images for deployment: one file in one of several formats, with manifest and bill of materials.
//!
//! ```text
//! loader + ELF ──┬── elf    FILE and FILE.loader, for QEMU's -kernel and -initrd
//!                ├── iso    GRUB, BIOS and UEFI
//!                └── raw    GRUB, BIOS and UEFI ──┬── qcow2, vmdk
//!                                                 └── gcp    disk.raw in a tarball, padded to whole GiB
//! ```
//!
//! Everything is created in a directory beside the final file and renamed when complete, so an interrupted build leaves no
//! partial file under the final name. Builds are reproducible: nothing in an image depends on the time, the directory, or the
//! order of execution.

mod disk;
mod gcp;
mod grub;
mod info;
pub mod inspect;
mod iso;
mod manifest;
mod outputs;
mod qemu_img;
mod sbom;
mod seal;

pub use info::Info;
pub use manifest::Manifest;
pub(crate) use outputs::refuse_unless_bundle;
pub(crate) use seal::seal_elf;

use crate::private::{self, Scratch};
use crate::{Artifact, Config, Options, Progress, place, step};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Maximum size of an image without bundle and padding, in bytes.
pub const IMAGE_LEN_MAX: u64 = 12 << 20;
/// The time stamp used wherever one is needed: 1980-01-01, the earliest that FAT can express.
const EPOCH: u64 = 315_532_800;

/// An image format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Loader and ELF, for QEMU's `-kernel` and `-initrd`.
    Elf,
    /// An ISO 9660 image that BIOS and UEFI boot.
    Iso,
    /// A disk that BIOS and UEFI boot.
    Raw,
    /// The disk for QEMU.
    Qcow2,
    /// The disk for VMware and VirtualBox.
    Vmdk,
    /// The disk as Google Compute Engine imports it.
    Gcp,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Elf, Self::Iso, Self::Raw, Self::Qcow2, Self::Vmdk, Self::Gcp];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elf => "elf",
            Self::Iso => "iso",
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Gcp => "gcp",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| format!("expected one of {known}"))
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The components of every format.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) loader: Vec<u8>,
    /// Sealed: ends with a description and a checksum ([`seal`]).
    pub(crate) elf: Vec<u8>,
    pub(crate) info: Info,
}

/// Creates a directory beside `out` for unfinished files, removed when dropped. Fails if an output's name is taken by something
/// that no earlier build wrote.
pub fn work_dir(format: Format, out: &Path) -> Result<Scratch> {
    outputs::refuse_foreign(format, out)?;
    Scratch::new(&parent(out), ".weir-")
}

/// Builds the image of `config` in `format` as `out`, with unfinished files in `work` (see [`work_dir`]).
pub fn build(
    config: &Config,
    options: &Options,
    format: Format,
    out: &Path,
    work: &Path,
    progress: Progress,
) -> Result<Manifest> {
    let parts = crate::assemble(config, options, progress)?;
    progress(&format!("writing the {format} image"));
    // Already under its final name, because a VMDK contains it.
    let finished = work.join("finished");
    private::create_dir_all(&finished)?;
    let image = finished.join(out.file_name().context("no file name")?);
    let mut extra: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut boot_len = 0;
    match format {
        Format::Elf => {
            write(&image, &parts.elf)?;
            extra.push(("loader", parts.loader.clone()));
        }
        Format::Iso => boot_len = iso::write_iso(&parts, work, &image)?,
        Format::Raw | Format::Qcow2 | Format::Vmdk | Format::Gcp => {
            let (disk, boot) = disk::make(&parts, work)?;
            boot_len = boot;
            match format {
                Format::Gcp => gcp::write(&disk, &image)?,
                Format::Raw => write(&image, &disk)?,
                _ => {
                    let raw = work.join("disk.raw");
                    write(&raw, &disk)?;
                    qemu_img::convert(&raw, format, &image, work)?;
                }
            }
        }
    }
    let content = parts.loader.len() as u64 + parts.elf.len() as u64 + boot_len - parts.info.bundle_bytes;
    if content > IMAGE_LEN_MAX {
        bail!("the image has {content} bytes besides bundle and padding, expected {IMAGE_LEN_MAX} at most");
    }
    progress("writing the bill of materials");
    extra.push((
        "cdx.json",
        sbom::write(options, &parts.info, (boot_len > 0).then(grub::version).transpose()?)?,
    ));
    finish(format, out, &image, extra, parts.info, boot_len)
}

/// Renames everything to its final name: the manifest first, so that whatever a killed build leaves is known as ours, and the
/// image last.
fn finish(
    format: Format,
    out: &Path,
    image: &Path,
    extra: Vec<(&str, Vec<u8>)>,
    info: Info,
    boot_bytes: u64,
) -> Result<Manifest> {
    let mut files = vec![manifest::File::of(out, image)?];
    let extra: Vec<_> = extra.into_iter().map(|(suffix, content)| (beside(out, suffix), content)).collect();
    files.extend(extra.iter().map(|(path, content)| manifest::File::with(path, content)));
    let manifest = Manifest { format: format.name().into(), boot_bytes, info, files };
    Artifact::write(&beside(out, "json"), manifest.to_json().as_bytes())?;
    for (path, content) in &extra {
        Artifact::write(path, content)?;
    }
    // Host tools create files with the umask's mode, but in a directory that only the owner can enter.
    std::fs::set_permissions(image, Permissions::from_mode(0o600))
        .with_context(|| format!("writing {}", image.display()))?;
    place::put(image, out).with_context(|| format!("writing {}", out.display()))?;
    Ok(manifest)
}

/// Writes a bundle for QEMU's `fw_cfg`.
pub fn write_bundle(config: &Config, out: &Path) -> Result<Artifact> {
    outputs::refuse_unless_bundle(out)?;
    Artifact::write(&parent(out).join(out.file_name().context("no file name")?), &crate::bundle(config)?)
}

/// `out` with a suffix: `weir.raw` and `json` give `weir.raw.json`.
fn beside(out: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".");
    name.push(suffix);
    parent(out).join(Path::new(&name).file_name().unwrap_or(&name))
}

/// The directory of a file; `.` if the path is only a name.
fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Runs a host program that is in the Debian packages `packages`.
fn tool(command: &mut Command, what: &str, packages: &str, work: &Path) -> Result<()> {
    step::run(command, what, &work.join("tool.log")).map_err(|error| {
        match error.downcast::<step::StepError>() {
            // Its log is removed with the work directory.
            Ok(failed) => anyhow!("{} failed: {}", failed.what, failed.reason),
            Err(error) => error.context(format!("is it installed? On Debian `apt-get install {packages}`")),
        }
    })
}

/// Writes a file in the work directory, which only the owner can access.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
