//! Prepends the memory check to the loader.
//!
//! The program contains the check as machine code (`netdrv::hermit`'s `gate`), found by its magic like the payload's marker. It
//! is copied into a new segment of the loader, which takes the place of `PT_GNU_STACK` in the program header table, and becomes
//! the loader's entry point. Every way of booting the image therefore runs the check before the loader or the kernel touches
//! memory that may not exist.

use anyhow::{Context, Result, ensure};
use object::elf::{self, FileHeader32, PT_GNU_STACK, PT_LOAD, ProgramHeader32};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian as LE, U32, pod};
use std::ops::Range;

/// The first bytes of the gate.
const MAGIC: &[u8; 16] = b"\x7fWEIR-GATE-0001\n";
const LEN: usize = 16;
const CODE: usize = 20;
const LEAST: usize = 24;
const ENTRY: usize = 28;
/// Where the text that follows the machine's MiB is stored.
const TEXT: Range<usize> = 32..128;
const PAGE: u32 = 4096;

/// The loader with the gate of `program` prepended: a machine with less than `least_mib` MiB does not get past it.
pub(crate) fn install(loader: &[u8], program: &[u8], least_mib: u32) -> Result<Vec<u8>> {
    let mut gate = take(program)?.to_vec();
    let header = FileHeader32::<LE>::parse(loader).ok().filter(|h| h.e_machine.get(LE) == elf::EM_386);
    let header = header.context("the loader is not a 32-bit x86 ELF, expected a multiboot loader")?;
    let segments = header.program_headers(LE, loader).context("the loader's program headers")?;
    let loads = || segments.iter().filter(|s| s.p_type(LE) == PT_LOAD);
    let end = loads().map(|s| s.p_paddr(LE).saturating_add(s.p_memsz(LE))).max().unwrap_or(0);
    ensure!(
        loads().all(|s| s.p_paddr(LE) == s.p_vaddr(LE)),
        "the loader's addresses differ from where it is loaded"
    );
    let spare = segments.iter().position(|s| s.p_type(LE) == PT_GNU_STACK);
    let spare = spare.context("the loader has no PT_GNU_STACK, expected one that can become a segment")?;

    // In the rest of the last page: the loader assumes that the boot module begins at the next page, and maps it from there.
    let address = end.next_multiple_of(16);
    ensure!(
        address % PAGE + u32::try_from(gate.len())? <= PAGE,
        "the last page of the loader has no room for the check"
    );
    let code = number(&gate, CODE)?;
    let mut text =
        format!(" MiB of memory, this image needs {least_mib}: give it {least_mib} MiB or more\r\n");
    text.push('\0');
    ensure!(text.len() <= TEXT.len(), "the memory check has no room for {text:?}");
    gate[TEXT.start..][..text.len()].copy_from_slice(text.as_bytes());
    put(&mut gate, LEAST, least_mib)?;
    put(&mut gate, ENTRY, header.e_entry.get(LE))?;
    let code_at = usize::try_from(code)?;
    // `mov esi, imm32`
    ensure!(
        gate.get(code_at..code_at + 5) == Some(&[0xbe, 0, 0, 0, 0]),
        "the memory check does not begin with the expected instruction"
    );
    put(&mut gate, code_at + 1, address)?;

    let mut out = loader.to_vec();
    out.resize(out.len().next_multiple_of(PAGE as usize) + (address % PAGE) as usize, 0);
    let (offset, len) = (u32::try_from(out.len())?, u32::try_from(gate.len())?);
    out.extend_from_slice(&gate);
    let table = usize::try_from(header.e_phoff.get(LE))?;
    let at = table + spare * size_of::<ProgramHeader32<LE>>();
    edit::<ProgramHeader32<LE>>(&mut out, at, |segment| {
        *segment = ProgramHeader32 {
            p_type: U32::new(LE, PT_LOAD),
            p_offset: U32::new(LE, offset),
            p_vaddr: U32::new(LE, address),
            p_paddr: U32::new(LE, address),
            p_filesz: U32::new(LE, len),
            p_memsz: U32::new(LE, len),
            p_flags: U32::new(LE, elf::PF_R | elf::PF_W | elf::PF_X),
            p_align: U32::new(LE, PAGE),
        };
    })?;
    edit::<FileHeader32<LE>>(&mut out, 0, |header| header.e_entry = U32::new(LE, address + code))?;
    Ok(out)
}

/// The gate in `program`, which must contain exactly one.
fn take(program: &[u8]) -> Result<&[u8]> {
    let mut found = program.windows(MAGIC.len()).enumerate().filter(|(_, w)| w == MAGIC);
    let (at, _) = found.next().context("the program has no memory check, expected the one in netdrv")?;
    ensure!(found.next().is_none(), "the program has more than one memory check");
    let rest = &program[at..];
    let gate = rest.get(..usize::try_from(number(rest, LEN)?)?);
    gate.filter(|gate| gate.len() > TEXT.end).context("the program's memory check is truncated")
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("the memory check is truncated")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

fn put(bytes: &mut [u8], at: usize, value: u32) -> Result<()> {
    bytes.get_mut(at..at + 4).context("the memory check is truncated")?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

fn edit<T: pod::Pod>(out: &mut [u8], at: usize, change: impl FnOnce(&mut T)) -> Result<()> {
    let bytes = out.get_mut(at..).context("the loader's tables lie outside it")?;
    let (value, _) = pod::from_bytes_mut(bytes).ok().context("the loader's tables lie outside it")?;
    change(value);
    Ok(())
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
