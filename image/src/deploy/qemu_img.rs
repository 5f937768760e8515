//! qcow2 and VMDK images, written and read by `qemu-img`.

use super::{Format, tool};
use crate::artifact::hex_sha256;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "qemu-utils";
/// Maximum size of a disk that `inspect` reads.
const LARGEST: u64 = 1 << 30;
/// Where a VMDK stores its descriptor.
const DESCRIPTOR: std::ops::Range<usize> = 512..512 + 20 * 512;

/// Writes the raw disk at `raw` in `format` to `out`.
pub(super) fn convert(raw: &Path, format: Format, out: &Path, work: &Path) -> Result<()> {
    let mut convert = Command::new("qemu-img");
    // One request at a time: otherwise the order of clusters depends on timing.
    convert.args(["convert", "-m", "1", "-f", "raw", "-O", format.name()]).arg(raw).arg(out);
    tool(&mut convert, "qemu-img", PACKAGE, work)?;
    if format == Format::Vmdk {
        let disk = std::fs::read(raw).with_context(|| format!("reading {}", raw.display()))?;
        let mut vmdk = std::fs::read(out).with_context(|| format!("reading {}", out.display()))?;
        fix_content_id(&mut vmdk, &hex_sha256(&disk)[..8])?;
        super::write(out, &vmdk)?;
    }
    Ok(())
}

/// Replaces the random content identifier in a VMDK's descriptor, for reproducible builds.
fn fix_content_id(vmdk: &mut [u8], id: &str) -> Result<()> {
    let place = vmdk.get_mut(DESCRIPTOR).context("qemu-img wrote no VMDK descriptor")?;
    let text: Vec<u8> = place.iter().copied().take_while(|&b| b != 0).collect();
    let text = String::from_utf8(text).context("qemu-img's VMDK descriptor")?;
    let mut fixed = String::new();
    for line in text.split_inclusive('\n') {
        fixed += &if line.starts_with("CID=") { format!("CID={id}\n") } else { line.to_owned() };
    }
    ensure!(fixed.contains("\nCID=") && fixed.len() <= place.len(), "qemu-img's VMDK descriptor has no CID");
    place.fill(0);
    place[..fixed.len()].copy_from_slice(fixed.as_bytes());
    Ok(())
}

/// The raw disk in the qcow2 or VMDK file at `path`.
pub(super) fn read(path: &Path, format: Format, work: &Path) -> Result<Vec<u8>> {
    let info =
        Command::new("qemu-img").args(["info", "--output=json", "-f", format.name()]).arg(path).output();
    let info = info.with_context(|| format!("no qemu-img: on Debian `apt-get install {PACKAGE}`"))?;
    if !info.status.success() {
        let reason = String::from_utf8_lossy(&info.stderr).trim().replace('\n', " ");
        bail!("truncated or damaged: {reason}");
    }
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).context("qemu-img info")?;
    // Converting would follow these references to other files of the host.
    ensure!(
        info.get("backing-filename").is_none() && info["format-specific"]["data"].get("data-file").is_none(),
        "not a Weir image: it refers to another file"
    );
    ensure!(info["virtual-size"].as_u64().is_some_and(|n| n <= LARGEST), "not a Weir image: too large");
    if format == Format::Qcow2 {
        let mut check = Command::new("qemu-img");
        check.args(["check", "-q", "-f", format.name()]).arg(path);
        tool(&mut check, "qemu-img check", PACKAGE, work).context("truncated or damaged")?;
    } else {
        let kind = &info["format-specific"]["data"]["create-type"];
        ensure!(kind == "monolithicSparse", "not a Weir image: VMDK of type {kind}");
    }
    let raw = work.join("disk.raw");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", format.name(), "-O", "raw"]).arg(path).arg(&raw);
    tool(&mut convert, "qemu-img", PACKAGE, work).context("truncated or damaged")?;
    std::fs::read(&raw).with_context(|| format!("reading {}", raw.display()))
}
