//! Checksums embedded in images, with which `inspect` detects any damaged byte.
//!
//! The seal of an ELF is its end: [`Info`] as JSON, SHA-256 of everything before the hash, the JSON's length (32 bits,
//! little-endian), and a magic. The loader, which only loads segments, ignores it.
//!
//! The seal of a disk or ISO is a block at a fixed, otherwise unused position: a magic, and JSON with the positions of loader and
//! ELF and the SHA-256 of the whole file with this block zeroed.

use super::Info;
use crate::artifact::hex_sha256;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::ops::Range;

const ELF_MAGIC: &[u8; 8] = b"WEIRINFO";
const DISK_MAGIC: &[u8; 12] = b"WEIRSEAL-1\n\0";
const SHA_LEN: usize = 64;
const FOOTER_LEN: usize = SHA_LEN + 4 + ELF_MAGIC.len();
/// Size of a disk's seal in bytes.
const BLOCK: usize = 512;
/// Position of the seal on a disk: the last block before the first partition.
pub(super) const IN_DISK: usize = (1 << 20) - BLOCK;
/// Position of the seal in an ISO: in the 32 KiB that ISO 9660 leaves unused.
pub(super) const IN_ISO: usize = 0x4000;

/// Appends `info` and a checksum to an ELF.
pub(crate) fn seal_elf(mut elf: Vec<u8>, info: &Info) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(info).context("describing the image")?;
    elf.extend_from_slice(&json);
    let sha256 = hex_sha256(&elf);
    elf.extend_from_slice(sha256.as_bytes());
    elf.extend_from_slice(&u32::try_from(json.len()).context("describing the image")?.to_le_bytes());
    elf.extend_from_slice(ELF_MAGIC);
    Ok(elf)
}

/// Verifies a sealed ELF and returns its description.
pub(super) fn open_elf(elf: &[u8]) -> Result<Info> {
    let footer = elf.len().checked_sub(FOOTER_LEN).map(|at| elf.split_at(at));
    let Some((content, footer)) = footer.filter(|(_, footer)| footer.ends_with(ELF_MAGIC)) else {
        bail!("the ELF has no seal at its end: it is truncated, or not a Weir image");
    };
    ensure!(
        hex_sha256(content).as_bytes() == &footer[..SHA_LEN],
        "the ELF is damaged: its SHA-256 differs from the one in its seal"
    );
    let len = footer[SHA_LEN..].iter().take(4).rev().fold(0, |n, &b| n << 8 | usize::from(b));
    let json = content.len().checked_sub(len).and_then(|at| content.get(at..));
    serde_json::from_slice(json.context("the ELF's seal is damaged")?).context("the ELF's seal is damaged")
}

/// Content of a disk's seal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seal {
    len: usize,
    /// Hash of the file's hash and the other values here.
    sha256: String,
    loader: Range<usize>,
    elf: Range<usize>,
}

impl Seal {
    /// The hash for a file with this content, with the seal's block zeroed.
    fn hash(&self, sealed: &[u8]) -> String {
        let Self { len, loader, elf, .. } = self;
        hex_sha256(format!("{} {len} {loader:?} {elf:?}", hex_sha256(sealed)).as_bytes())
    }
}

/// Writes the seal at `at` of a disk that holds `loader` and `elf` contiguously.
pub(super) fn seal_disk(disk: &mut [u8], at: usize, loader: &[u8], elf: &[u8]) -> Result<()> {
    let block = disk.get(at..at + BLOCK).context("the disk is too small for its seal")?;
    ensure!(block.iter().all(|&b| b == 0), "the space for the disk's seal is not empty");
    let mut seal = Seal {
        len: disk.len(),
        sha256: String::new(),
        loader: find(disk, loader).context("the loader is not in one piece on the disk")?,
        elf: find(disk, elf).context("the ELF is not in one piece on the disk")?,
    };
    seal.sha256 = seal.hash(disk);
    let json = serde_json::to_vec(&seal).context("sealing the disk")?;
    ensure!(json.len() <= BLOCK - DISK_MAGIC.len(), "the disk's seal is too long");
    disk[at..at + DISK_MAGIC.len()].copy_from_slice(DISK_MAGIC);
    disk[at + DISK_MAGIC.len()..][..json.len()].copy_from_slice(&json);
    Ok(())
}

/// Verifies a sealed disk or ISO and returns its loader and ELF. Everything after the sealed length must be zero, because some
/// formats round the size up.
pub(super) fn open_disk(disk: &mut [u8], at: usize) -> Result<(&[u8], &[u8])> {
    let block = disk.get(at..at + BLOCK).filter(|block| block.starts_with(DISK_MAGIC));
    let block = block.context("no seal: it is truncated, damaged, or not a Weir image")?.to_vec();
    let json = block[DISK_MAGIC.len()..].split(|&b| b == 0).next().unwrap_or_default();
    let rest_is_zero = block[DISK_MAGIC.len() + json.len()..].iter().all(|&b| b == 0);
    let seal: Option<Seal> = serde_json::from_slice(json).ok();
    // Compare byte for byte: a flipped bit could produce an equivalent spelling.
    let seal = seal.filter(|seal| rest_is_zero && serde_json::to_vec(seal).is_ok_and(|again| again == json));
    let seal = seal.context("its seal is damaged")?;
    ensure!(disk.len() >= seal.len, "truncated: {} bytes, expected {}", disk.len(), seal.len);
    disk[at..at + BLOCK].fill(0);
    let (sealed, padding) = disk.split_at(seal.len);
    ensure!(
        seal.hash(sealed) == seal.sha256 && padding.iter().all(|&b| b == 0),
        "damaged: its SHA-256 differs from the one in its seal"
    );
    let part = |range: Range<usize>| sealed.get(range).context("its seal is damaged");
    Ok((part(seal.loader)?, part(seal.elf)?))
}

/// Offset of `part` in `whole`. Files begin at multiples of 512 bytes.
fn find(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let mut starts = (0..whole.len()).step_by(512);
    let at = starts.find(|&at| !part.is_empty() && whole[at..].starts_with(part))?;
    Some(at..at + part.len())
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
