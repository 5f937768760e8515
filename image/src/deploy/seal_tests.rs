//! Every flipped bit is detected.

use super::*;

fn info() -> Info {
    Info {
        weir: "0.1.0".into(),
        commit: None,
        rustc: "1.96.0".into(),
        kernel: "kernel".into(),
        kernel_bytes: 1,
        appliance_bytes: 2,
        tls_bytes: 0,
        bundle_bytes: 3,
        loader_bytes: 4,
        loader_sha256: "abc".into(),
    }
}

#[test]
fn an_elf_with_any_bit_flipped_or_byte_missing_is_refused() {
    let elf = seal_elf(b"\x7fELF and so on".to_vec(), &info()).expect("sealed");
    assert_eq!(open_elf(&elf).expect("whole"), info());
    for bit in 0..elf.len() * 8 {
        let mut flipped = elf.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open_elf(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..elf.len() {
        assert!(open_elf(&elf[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_disk_with_any_bit_flipped_or_byte_missing_is_refused() {
    let (loader, elf) = ([1; 300], [2; 700]);
    let mut disk = vec![0; 4096];
    disk[512..812].copy_from_slice(&loader);
    disk[1024..1724].copy_from_slice(&elf);
    seal_disk(&mut disk, 2048, &loader, &elf).expect("room");
    assert!(seal_disk(&mut disk.clone(), 2048, &loader, &elf).is_err(), "the place is taken");
    assert_eq!(open_disk(&mut disk.clone(), 2048).expect("whole"), (&loader[..], &elf[..]));
    for bit in 0..disk.len() * 8 {
        let mut flipped = disk.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open_disk(&mut flipped, 2048).is_err(), "bit {bit}");
    }
    for len in 0..disk.len() {
        assert!(open_disk(&mut disk[..len].to_vec(), 2048).is_err(), "{len} bytes");
    }
    disk.resize(8192, 0);
    assert!(open_disk(&mut disk.clone(), 2048).is_ok(), "padding");
    disk[8000] = 1;
    assert!(open_disk(&mut disk, 2048).is_err(), "content in the padding");
}
