//! The instructions ring 0 needs.

use core::arch::asm;

/// Reads a byte from an I/O port.
pub(super) fn inb(port: u16) -> u8 {
    let value;
    // SAFETY: port I/O does not touch memory; the callers name ports of devices that are this program's.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to an I/O port.
pub(super) fn outb(port: u16, value: u8) {
    // SAFETY: as for `inb`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Reads a 32-bit word from an I/O port.
pub(super) fn inl(port: u16) -> u32 {
    let value;
    // SAFETY: as for `inb`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a 32-bit word to an I/O port.
pub(super) fn outl(port: u16, value: u32) {
    // SAFETY: as for `inb`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes a 16-bit word to an I/O port.
pub(super) fn outw(port: u16, value: u16) {
    // SAFETY: as for `inb`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes a 32-bit word to an I/O port of a device that thereupon reads and writes memory shared with it.
pub(super) fn outl_dma(port: u16, value: u32) {
    // SAFETY: as for `inb`; without `nomem`, so that the compiler keeps accesses to shared memory on their side of it.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) };
}

/// The time stamp counter.
#[inline]
pub(super) fn rdtsc() -> u64 {
    // SAFETY: every 64-bit processor has it, and the kernel leaves it enabled.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Turns interrupts off for good; from then on they are only taken inside [`halt`].
pub(super) fn interrupts_off() {
    // SAFETY: the program runs in ring 0; nothing in it relies on interrupts being on.
    unsafe { asm!("cli") };
}

/// Halts until an interrupt, one that is already pending included, and takes it: `sti` takes effect only after the
/// next instruction, so none is lost between the two.
pub(super) fn halt() {
    // SAFETY: ring 0; the gates preserve every register. The stack may be used: `nostack` is not promised.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// Reads a model-specific register.
///
/// # Safety
///
/// The processor must have the register.
pub(super) unsafe fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
///
/// The processor must have the register, and the value must not break the machine.
pub(super) unsafe fn wrmsr(register: u32, value: u64) {
    // SAFETY: the caller vouches for register and value.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// CR3: the physical address of the top page table.
pub(super) fn page_table_root() -> u64 {
    let value: u64;
    // SAFETY: ring 0 may read CR3.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value & 0x000f_ffff_ffff_f000
}

/// Forgets the cached translation of one page.
pub(super) fn flush_page(address: u64) {
    // SAFETY: ring 0; dropping a cached translation is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}
