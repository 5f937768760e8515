//! The kernel's page tables: translating addresses for devices, and mapping device registers.
//!
//! libhermit-rs 0.6 maps the tables recursively (entry 511 of the top table refers to the table itself); newer kernels map all
//! memory at its physical address. Which of the two applies is detected at startup.

use super::{cpu, interrupts};
use alloc::alloc::{Layout, alloc_zeroed};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 1 << 21;
const ENTRIES: u64 = 512;
const RECURSIVE_ENTRY: u64 = 511;

/// The program's view of the page tables.
#[derive(Debug)]
pub(super) struct Paging {
    recursive: bool,
    /// The window for device registers: one page directory's worth (1 GiB) of large pages.
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    directory: *mut u64,
    base: u64,
    used: u64,
}

impl Paging {
    /// Detects how the page tables are mapped. Interrupts must be disabled.
    pub(super) fn new() -> Self {
        let root = cpu::page_table_root();
        let entry = interrupts::probe(entry_address_recursive(4, u64::MAX));
        let recursive = entry.is_some_and(|entry| entry & PRESENT != 0 && entry & ADDRESS == root);
        Self { recursive, window: None }
    }

    /// Physical address of a virtual one; `None` if it is unmapped.
    pub(super) fn physical(&self, address: u64) -> Option<u64> {
        let mut table = cpu::page_table_root();
        for level in (1..=4).rev() {
            let entry = self.read(level, table, address);
            if entry & PRESENT == 0 {
                return None;
            }
            let span = PAGE << (9 * (level - 1));
            if level == 1 || (level < 4 && entry & LARGE != 0) {
                return Some(entry & ADDRESS & !(span - 1) | address & (span - 1));
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// Maps `len` bytes of device registers uncached and returns their address. `None` if the window is full or there is no
    /// memory for its tables.
    pub(super) fn map_registers(&mut self, physical: u64, len: u64) -> Option<u64> {
        let first = physical & !(LARGE_PAGE - 1);
        let end = physical.checked_add(len)?;
        let pages = (end - first).div_ceil(LARGE_PAGE);
        if self.window.is_none() {
            self.window = Some(self.open_window()?);
        }
        let window = self.window.as_mut()?;
        // Reuse existing mappings, because several structures usually share a page.
        for index in 0..window.used {
            // SAFETY: index is below `used`, which is at most 512.
            let entry = unsafe { window.directory.add(index as usize).read_volatile() };
            if pages == 1 && entry & ADDRESS & !(LARGE_PAGE - 1) == first {
                return Some(window.base + index * LARGE_PAGE + (physical - first));
            }
        }
        if pages > ENTRIES - window.used {
            return None;
        }
        let start = window.base + window.used * LARGE_PAGE;
        for page in 0..pages {
            let entry = (first + page * LARGE_PAGE)
                | PRESENT
                | WRITABLE
                | WRITE_THROUGH
                | UNCACHED
                | LARGE
                | NO_EXECUTE;
            // SAFETY: used + pages is at most 512, so the entry is inside our own directory; the pages it maps
            // were unused before, so no reference to anything can be changed by it.
            unsafe { window.directory.add((window.used + page) as usize).write_volatile(entry) };
            cpu::flush_page(start + page * LARGE_PAGE);
        }
        window.used += pages;
        Some(start + (physical - first))
    }

    /// Links our own tables to a free entry of the top table.
    fn open_window(&self) -> Option<Window> {
        let root = cpu::page_table_root();
        // In the upper half of the address space, below the recursive entry; the kernel uses the lowest entries.
        let slot = (256..RECURSIVE_ENTRY).rev().find(|slot| self.read(4, root, slot << 39) & PRESENT == 0)?;
        let (pointers, directory) = (table_page()?, table_page()?);
        let (pointers_at, directory_at) = (self.physical(pointers as u64)?, self.physical(directory as u64)?);
        let base = 0xffff_0000_0000_0000 | slot << 39;
        // SAFETY: `pointers` is a whole page of ours, and the top table's entry was found to be free.
        unsafe {
            pointers.write_volatile(directory_at | PRESENT | WRITABLE);
            self.entry(4, root, base).write_volatile(pointers_at | PRESENT | WRITABLE);
        }
        Some(Window { directory, base, used: 0 })
    }

    /// Pointer to the entry for `address` in the table of this level (4 is the top), which is at physical address `table`.
    fn entry(&self, level: u32, table: u64, address: u64) -> *mut u64 {
        if self.recursive {
            entry_address_recursive(level, address) as *mut u64
        } else {
            (table + 8 * index(level, address)) as *mut u64
        }
    }

    fn read(&self, level: u32, table: u64, address: u64) -> u64 {
        // SAFETY: the walk only comes here through present entries, so the table exists; it is mapped either
        // recursively or at its physical address.
        unsafe { self.entry(level, table, address).read_volatile() }
    }
}

fn index(level: u32, address: u64) -> u64 {
    address >> (12 + 9 * (level - 1)) & (ENTRIES - 1)
}

/// Virtual address of the entry for `address` at a level with recursive mapping: the address shifted right once per level, with
/// the recursive entry prepended as often.
fn entry_address_recursive(level: u32, address: u64) -> u64 {
    let mut at = 0xffff << 48;
    for step in 0..4u32 {
        // Indices from the top: `level` times 511, then the address's own from the top down.
        let part = if step < level { RECURSIVE_ENTRY } else { index(4 - (step - level), address) };
        at |= part << (39 - 9 * step);
    }
    at | 8 * index(level, address)
}

/// A zeroed page for a table.
fn table_page() -> Option<*mut u64> {
    let layout = Layout::from_size_align(PAGE as usize, PAGE as usize).ok()?;
    // SAFETY: the layout is not empty.
    let page = unsafe { alloc_zeroed(layout) };
    (!page.is_null()).then_some(page.cast())
}
