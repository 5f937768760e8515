//! A hand-made ELF with a header, three program headers, and 64 bytes of data with the marker in the middle.

use super::*;

const DATA: usize = 64 + 3 * 56;
const MARKER: usize = DATA + 16;

fn segment(kind: u32, offset: u64, address: u64, len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&6u32.to_le_bytes());
    for word in [offset, address, address, len, len, 4096] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out
}

fn elf(kinds: [u32; 3], marker: &[u8]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\xff".to_vec();
    out.resize(16, 0);
    for half in [3u16, 62] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    out.extend_from_slice(&1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 3, 64, 0, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    for kind in kinds {
        out.extend(segment(kind, DATA as u64, 0x5000, 64));
    }
    out.resize(MARKER, 0xaa);
    out.extend_from_slice(marker);
    out.resize(DATA + 64, 0);
    out
}

fn program() -> Vec<u8> {
    elf([1, 2, PT_GNU_STACK.0], MAGIC)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Interprets the result like the loader and the program.
fn read_back(elf: &[u8]) -> &[u8] {
    let table = Table::read(elf).expect("an ELF");
    let marker_address = table.address(MARKER).expect("the marker is loaded");
    let address = marker_address.wrapping_add(word(elf, MARKER + 16));
    let len = word(elf, MARKER + 24) as usize;
    let segment = table.loads().last().expect("a segment");
    assert_eq!((segment.p_vaddr(LE), segment.p_filesz(LE)), (address, len as u64));
    assert_eq!(segment.p_offset(LE) % PAGE, address % PAGE);
    &elf[segment.p_offset(LE) as usize..][..len]
}

#[test]
fn the_program_finds_what_was_attached() {
    for len in [1, 31, 4096, 100_000] {
        let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let out = attach(&program(), &payload).expect("attaches");
        assert_eq!(read_back(&out), payload);
        assert_eq!(attached(&out), Some(&payload[..]));
    }
}

#[test]
fn the_magic_is_that_of_the_program_side() {
    let source = include_str!("../../netdrv/src/hermit/payload.rs");
    assert!(source.contains(r#"*b"\x7fWEIR-PAYLOAD-1\n""#));
}

#[test]
fn what_cannot_carry_a_payload_is_refused() {
    let attach = |elf: &[u8]| attach(elf, b"x").expect_err("refused");
    assert_eq!(attach(b"#!/bin/sh\n"), AttachError::NotElf);
    assert_eq!(attach(&program()[..100]), AttachError::NotElf);
    assert_eq!(attach(&elf([1, 2, 4], MAGIC)), AttachError::NoRoom);
    assert_eq!(attach(&elf([PT_GNU_STACK.0, 2, 1], MAGIC)), AttachError::NoRoom);
    assert_eq!(attach(&elf([1, 2, PT_GNU_STACK.0], b"")), AttachError::NoMarker);
    let mut two = program();
    two.extend_from_slice(MAGIC);
    two.resize(two.len() + 16, 0);
    assert_eq!(attach(&two), AttachError::ManyMarkers);
    let once = super::attach(&program(), b"x").expect("attaches");
    assert_eq!(attach(&once), AttachError::NoMarker);
}

#[test]
fn the_kernel_keeps_its_first_heap() {
    let near = |end: u64| (end + slack(end)).next_multiple_of(LARGE_PAGE) - (end + slack(end));
    for end in [
        1,
        PAGE,
        LARGE_PAGE - FIRST_HEAP,
        LARGE_PAGE - FIRST_HEAP + 1,
        LARGE_PAGE - 1,
        LARGE_PAGE,
        LARGE_PAGE + 1,
    ] {
        assert!(near(end) >= FIRST_HEAP, "{end:#x}");
    }
    let payload = vec![7; (LARGE_PAGE - 0x6000 - 100) as usize];
    let out = attach(&program(), &payload).expect("attaches");
    let end = Table::read(&out).expect("an ELF").end();
    assert!(end.next_multiple_of(LARGE_PAGE) - end >= FIRST_HEAP);
    assert_eq!(finish(&program()).expect("an ELF"), program());
}
