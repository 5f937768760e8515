//! A disk that BIOS and UEFI boot: partition table and GRUB core in the first MiB, then one FAT partition, which is also the EFI
//! system partition.

use super::grub::{self, Platform};
use super::{Parts, seal};
use anyhow::{Context, Result, ensure};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use std::io::{Cursor, Write};
use std::path::Path;

const MIB: usize = 1 << 20;
const BLOCK: usize = 512;
const CLUSTER: usize = 4096;
/// Maximum numbers of clusters for FAT12 and FAT16, slightly below the formats' limits.
const CLUSTERS_12: usize = 4000;
const CLUSTERS_16: usize = 65_000;
/// Serial number of disk and file system: fixed, for reproducible builds.
const SERIAL: u32 = 0x5245_4957;
/// Partition type: EFI system partition, which every BIOS boots as well.
const TYPE_EFI: u8 = 0xef;

/// The disk, and how many bytes of it are GRUB.
pub(super) fn make(parts: &Parts, work: &Path) -> Result<(Vec<u8>, u64)> {
    let (boot, core) = (grub::boot_block()?, grub::core(Platform::BiosDisk, work)?);
    let efi = grub::core(Platform::Efi, work)?;
    let [config, sums] = grub::files(&parts.loader, &parts.elf);
    let files: [(&str, &[u8]); 4] =
        [("loader", &parts.loader), ("weir", &parts.elf), (config.0, &config.1), (sums.0, &sums.1)];

    let content: usize = files.iter().map(|(_, c)| c.len().next_multiple_of(CLUSTER)).sum();
    // Half a MiB for the file system's own structures.
    let partition = (content + efi.len() + MIB / 2).next_multiple_of(MIB);
    let mut disk = vec![0; MIB + partition];
    ensure!(
        BLOCK + core.len() <= seal::IN_DISK,
        "GRUB's core has {} bytes, too many to fit before the partition",
        core.len()
    );
    // The boot code ends where the disk's serial number and the partition table begin.
    disk[..440].copy_from_slice(&boot[..440]);
    disk[440..444].copy_from_slice(&SERIAL.to_le_bytes());
    disk[446..462].copy_from_slice(&partition_entry(MIB / BLOCK, partition / BLOCK)?);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[BLOCK..BLOCK + core.len()].copy_from_slice(&core);
    fill(&mut disk[MIB..], &efi, &files)?;
    seal::seal_disk(&mut disk, seal::IN_DISK, &parts.loader, &parts.elf)?;
    Ok((disk, (boot.len() + core.len() + efi.len()) as u64))
}

/// Formats `partition` and writes UEFI's boot program and `files` to it.
pub(super) fn fill(partition: &mut [u8], efi: &[u8], files: &[(&str, &[u8])]) -> Result<()> {
    let clusters = partition.len() / CLUSTER;
    ensure!(clusters <= CLUSTERS_16, "{} bytes are too many for the image's file system", partition.len());
    let kind = if clusters <= CLUSTERS_12 { FatType::Fat12 } else { FatType::Fat16 };
    // FAT16 has a minimum number of clusters as well; below it, use smaller clusters.
    let cluster = if kind == FatType::Fat16 && clusters < 2 * CLUSTERS_12 { CLUSTER / 2 } else { CLUSTER };
    let options = FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_cluster(u32::try_from(cluster)?)
        .volume_id(SERIAL)
        .volume_label(*b"WEIR       ");
    format_volume(Cursor::new(&mut *partition), options).context("formatting the image's file system")?;
    let mut write = || -> std::io::Result<()> {
        let fs = FileSystem::new(Cursor::new(&mut *partition), FsOptions::new())?;
        let root = fs.root_dir();
        for (name, content) in files {
            root.create_file(name)?.write_all(content)?;
        }
        root.create_dir("EFI")?.create_dir("BOOT")?.create_file("BOOTX64.EFI")?.write_all(efi)?;
        drop(root);
        fs.unmount()
    };
    write().context("filling the image's file system")
}

/// A bootable entry of the partition table. Its cylinder fields mean "use the block numbers".
fn partition_entry(start: usize, len: usize) -> Result<[u8; 16]> {
    const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut entry = [0; 16];
    entry[0] = 0x80;
    entry[1..4].copy_from_slice(&NO_CHS);
    entry[4] = TYPE_EFI;
    entry[5..8].copy_from_slice(&NO_CHS);
    entry[8..12].copy_from_slice(&u32::try_from(start)?.to_le_bytes());
    entry[12..].copy_from_slice(&u32::try_from(len)?.to_le_bytes());
    Ok(entry)
}
