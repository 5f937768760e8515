//! The tarball that Google Compute Engine imports: `disk.raw`, a whole number of GiB, in a gzipped GNU tar.
//!
//! The padding is a hole in the old GNU sparse format, so that a GiB of zeros is neither written nor compressed.

use super::EPOCH;
use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use std::io::{Read, Write};
use std::path::Path;
use tar::{Archive, Builder, EntryType, Header};

const GIB: u64 = 1 << 30;
const BLOCK: usize = 512;
const NAME: &str = "disk.raw";

/// Writes the tarball of `disk` to `out`.
pub(super) fn write(disk: &[u8], out: &Path) -> Result<()> {
    let file = std::fs::File::create(out).with_context(|| format!("writing {}", out.display()))?;
    // No name and no time, for reproducible builds.
    let gz = GzBuilder::new().write(file, Compression::best());
    let mut tar = Builder::new(gz);
    tar.append(&header(disk)?, disk).context("writing the tarball")?;
    let file = tar.into_inner().and_then(|gz| gz.finish()).context("writing the tarball")?;
    file.sync_all().context("writing the tarball")
}

fn header(disk: &[u8]) -> Result<Header> {
    let len = disk.len() as u64;
    let size = len.next_multiple_of(GIB);
    let mut header = Header::new_gnu();
    header.set_path(NAME)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(len);
    let gnu = header.as_gnu_mut().context("not a GNU header")?;
    octal(&mut gnu.realsize, size)?;
    // The content, and an empty piece at the end that marks the extent of the hole.
    for (piece, (offset, len)) in gnu.sparse.iter_mut().zip([(0, len), (size, 0)]) {
        octal(&mut piece.offset, offset)?;
        octal(&mut piece.numbytes, len)?;
    }
    header.set_cksum();
    Ok(header)
}

/// Writes a number in tar's format: octal digits followed by NUL.
fn octal(field: &mut [u8; 12], value: u64) -> Result<()> {
    write!(&mut field[..], "{value:011o}\0").context("the disk is too large for a tarball")
}

/// The disk in a tarball, without its padding.
pub(super) fn read(tarball: &[u8]) -> Result<Vec<u8>> {
    const WRONG: &str = "truncated or damaged: not a gzipped tar with disk.raw in it";
    let mut unpacked = Vec::new();
    // The disk is far smaller than a GiB; holes are not unpacked.
    GzDecoder::new(tarball).take(GIB).read_to_end(&mut unpacked).context(WRONG)?;
    let mut archive = Archive::new(&unpacked[..]);
    let entry = archive.entries().context(WRONG)?.next().context(WRONG)?.context(WRONG)?;
    let header = entry.header();
    if header.path().context(WRONG)?.as_os_str() != NAME || !header.entry_type().is_gnu_sparse() {
        bail!(WRONG);
    }
    let len = usize::try_from(header.entry_size().context(WRONG)?).context(WRONG)?;
    let disk = unpacked.get(BLOCK..).and_then(|rest| rest.get(..len)).context(WRONG)?;
    Ok(disk.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_unpacks_to_whole_gib() {
        let dir = tempfile::tempdir().expect("directory");
        let at = |name: &str| dir.path().join(name);
        let disk: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        write(&disk, &at("a.tar.gz")).expect("written");
        write(&disk, &at("b.tar.gz")).expect("written");
        let tarball = std::fs::read(at("a.tar.gz")).expect("file");
        assert!(tarball == std::fs::read(at("b.tar.gz")).expect("file"), "the same bytes");
        assert!(read(&tarball).expect("whole") == disk);
        assert!(read(&tarball[..tarball.len() / 2]).is_err());
        let tar = std::process::Command::new("tar")
            .arg("-xzf")
            .arg(at("a.tar.gz"))
            .arg("-C")
            .arg(dir.path())
            .status();
        assert!(tar.expect("GNU tar").success());
        let mut unpacked = std::fs::File::open(at("disk.raw")).expect("file");
        assert_eq!(unpacked.metadata().expect("file").len(), GIB);
        let mut start = vec![0; disk.len()];
        unpacked.read_exact(&mut start).expect("content");
        assert!(start == disk);
    }
}
