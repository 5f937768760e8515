//! Attaches a payload to a linked program: it becomes a segment behind the others, and a marker in the program says where it is.
//! Nothing is linked again, so changing the configuration needs no build.
//!
//! The loader copies every `PT_LOAD` segment to its address relative to the first, and takes the end of the last one as the end
//! of the image; it ignores sections. It also ignores `PT_GNU_STACK`, so that entry of the program header table becomes the new
//! segment.
//!
//! The kernel's first heap is the space between the end of the image and the next 2 MiB boundary. Attaching, even an empty
//! payload, ensures that it is large enough.

use object::elf::{self, FileHeader64, PF_R, PT_GNU_STACK, PT_LOAD, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian as LE, U32, U64, pod};

/// The first bytes of the marker; also defined in `netdrv::hermit::payload`.
pub const MAGIC: &[u8; 16] = b"\x7fWEIR-PAYLOAD-1\n";

const PAGE: u64 = 4096;
/// The kernel is loaded at a multiple of this and maps itself with pages of this size.
const LARGE_PAGE: u64 = 2 << 20;
/// Heap the kernel may need before it has found the rest of the memory. One processor with 64 MiB needs 8 KiB; with 4 KiB it
/// panics.
const FIRST_HEAP: u64 = 256 << 10;

/// Why a payload could not be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// Not a little-endian 64-bit ELF, or one whose tables lie outside it.
    NotElf,
    /// No `PT_GNU_STACK` after the last `PT_LOAD`.
    NoRoom,
    /// The program has no marker: it does not use `netdrv::hermit::payload`, or a payload is already attached.
    NoMarker,
    /// The magic occurs more than once.
    ManyMarkers,
}

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotElf => "not a little-endian 64-bit ELF",
            Self::NoRoom => {
                "no PT_GNU_STACK behind the last PT_LOAD, expected one that can become the payload's segment"
            }
            Self::NoMarker => "no payload marker, expected a program that uses netdrv::hermit::payload",
            Self::ManyMarkers => "more than one payload marker, expected one",
        })
    }
}

impl std::error::Error for AttachError {}

/// Appends `payload` to `elf` as a loadable segment, and fills in the program's marker.
pub fn attach(elf: &[u8], payload: &[u8]) -> Result<Vec<u8>, AttachError> {
    let table = Table::read(elf)?;
    let marker = marker(elf)?;
    let marker_address = table.address(marker).ok_or(AttachError::NoMarker)?;
    let address = table.end().next_multiple_of(PAGE);
    let mut out = elf.to_vec();
    out.resize(elf.len().next_multiple_of(PAGE as usize), 0);
    let offset = out.len() as u64;
    out.extend_from_slice(payload);

    let len = payload.len() as u64;
    let index = table.spare().ok_or(AttachError::NoRoom)?;
    table.edit(&mut out, index, |segment| {
        *segment = ProgramHeader64 {
            p_type: U32::new(LE, PT_LOAD),
            p_flags: U32::new(LE, PF_R),
            p_offset: U64::new(LE, offset),
            p_vaddr: U64::new(LE, address),
            p_paddr: U64::new(LE, address),
            p_filesz: U64::new(LE, len),
            p_memsz: U64::new(LE, len + slack(address + len)),
            p_align: U64::new(LE, PAGE),
        };
    })?;
    out[marker + 16..marker + 24].copy_from_slice(&(address as i64 - marker_address as i64).to_le_bytes());
    out[marker + 24..marker + 32].copy_from_slice(&len.to_le_bytes());
    Ok(out)
}

/// The payload attached to `elf`.
pub fn attached(elf: &[u8]) -> Option<&[u8]> {
    let table = Table::read(elf).ok()?;
    let marker = elf.windows(32).position(|w| w.starts_with(MAGIC))?;
    let number = |at: usize| Some(u64::from_le_bytes(elf.get(at..at + 8)?.try_into().ok()?));
    let address = table.address(marker)?.wrapping_add(number(marker + 16)?);
    let segment = table.loads().find(|s| s.p_vaddr(LE) == address)?;
    let start = usize::try_from(segment.p_offset(LE)).ok()?;
    let len = usize::try_from(number(marker + 24)?).ok()?;
    elf.get(start..start.checked_add(len)?)
}

/// Leaves the kernel enough memory for its first heap after a program without a payload.
pub fn finish(elf: &[u8]) -> Result<Vec<u8>, AttachError> {
    let table = Table::read(elf)?;
    let mut out = elf.to_vec();
    let more = slack(table.end());
    table.edit(&mut out, table.last().ok_or(AttachError::NotElf)?, |segment| {
        segment.p_memsz = U64::new(LE, segment.p_memsz.get(LE) + more);
    })?;
    Ok(out)
}

/// Padding needed by an image that ends at `end`, relative to its 2 MiB-aligned start.
fn slack(end: u64) -> u64 {
    let left = end.next_multiple_of(LARGE_PAGE) - end;
    if left < FIRST_HEAP { left + PAGE } else { 0 }
}

/// Offset of the unused marker in the file, which must contain exactly one.
fn marker(elf: &[u8]) -> Result<usize, AttachError> {
    let mut found = elf.windows(32).enumerate().filter(|(_, w)| w.starts_with(MAGIC));
    let (at, marker) = found.next().ok_or(AttachError::NoMarker)?;
    match found.next() {
        Some(_) => Err(AttachError::ManyMarkers),
        None if marker[16..].iter().any(|&b| b != 0) => Err(AttachError::NoMarker),
        None => Ok(at),
    }
}

/// The program header table.
struct Table<'a> {
    offset: usize,
    segments: &'a [ProgramHeader64<LE>],
}

impl<'a> Table<'a> {
    fn read(elf: &'a [u8]) -> Result<Self, AttachError> {
        let header = FileHeader64::<LE>::parse(elf).map_err(|_| AttachError::NotElf)?;
        let segments = header.program_headers(LE, elf).map_err(|_| AttachError::NotElf)?;
        if !header.is_little_endian() || header.e_machine.get(LE) != elf::EM_X86_64 {
            return Err(AttachError::NotElf);
        }
        let offset = usize::try_from(header.e_phoff.get(LE)).map_err(|_| AttachError::NotElf)?;
        Ok(Self { offset, segments })
    }

    fn loads(&self) -> impl Iterator<Item = &'a ProgramHeader64<LE>> {
        self.segments.iter().filter(|s| s.p_type(LE) == PT_LOAD)
    }

    /// The end of the image in memory.
    fn end(&self) -> u64 {
        self.loads().map(|s| s.p_vaddr(LE).saturating_add(s.p_memsz(LE))).max().unwrap_or(0)
    }

    /// The last loadable segment.
    fn last(&self) -> Option<usize> {
        self.segments.iter().rposition(|s| s.p_type(LE) == PT_LOAD)
    }

    /// The entry that can become a segment. It must come last, because the loader takes the last segment's end as the image's.
    fn spare(&self) -> Option<usize> {
        let stack = self.segments.iter().rposition(|s| s.p_type(LE) == PT_GNU_STACK)?;
        (Some(stack) > self.last()).then_some(stack)
    }

    /// The address of the byte at file offset `offset`.
    fn address(&self, offset: usize) -> Option<u64> {
        let offset = offset as u64;
        let segment =
            self.loads().find(|s| (s.p_offset(LE)..s.p_offset(LE) + s.p_filesz(LE)).contains(&offset))?;
        Some(segment.p_vaddr(LE) + (offset - segment.p_offset(LE)))
    }

    fn edit(
        &self,
        out: &mut [u8],
        index: usize,
        f: impl FnOnce(&mut ProgramHeader64<LE>),
    ) -> Result<(), AttachError> {
        let at = self.offset + index * size_of::<ProgramHeader64<LE>>();
        let bytes = out.get_mut(at..).ok_or(AttachError::NotElf)?;
        let (segment, _) = pod::from_bytes_mut(bytes).map_err(|()| AttachError::NotElf)?;
        f(segment);
        Ok(())
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
