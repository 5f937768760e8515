//! Ring 0 as a [`Platform`].

use super::{apic::Apic, clock::Clock, cpu, interrupts, paging::Paging};
use crate::platform::{DmaRegion, InterruptKind, MmioAddress, MsiMessage, PciAddress, Platform};
use alloc::{
    alloc::{Layout, alloc_zeroed},
    boxed::Box,
};
use core::{cell::RefCell, ptr::NonNull, sync::atomic::Ordering};

const PCI_ADDRESS_PORT: u16 = 0xcf8;
const PCI_DATA_PORT: u16 = 0xcfc;
const PAGE: usize = 4096;

/// The machine the program runs on. There is only one; copies refer to the same.
#[derive(Clone, Copy, Debug)]
pub struct Ring0(&'static State);

#[derive(Debug)]
struct State {
    paging: RefCell<Paging>,
    apic: Apic,
    clock: Clock,
}

/// The local APIC's registers could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoApic;

/// Maximum duration of a halt, which limits the effect of a device that omits an interrupt.
const LONGEST_HALT_NS: u64 = 1_000_000_000;

impl Ring0 {
    /// Takes the machine over: interrupts off, our own gates, APIC and clock. Call once.
    pub(super) fn take_over() -> Result<Self, NoApic> {
        cpu::interrupts_off();
        let mut paging = Paging::new();
        interrupts::install();
        let mut apic = Apic::new(&mut paging).ok_or(NoApic)?;
        let clock = Clock::measure(&mut apic);
        Ok(Self(Box::leak(Box::new(State { paging: RefCell::new(paging), apic, clock }))))
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Halts until an interrupt, or until `deadline_ns` if that is earlier. An interrupt since the last halt ends this one at
    /// once.
    pub(super) fn wait(&self, deadline_ns: Option<u64>) {
        let now = self.0.clock.now_ns();
        let deadline = deadline_ns.unwrap_or(u64::MAX).min(now + LONGEST_HALT_NS);
        if deadline <= now {
            return;
        }
        self.0.apic.arm_timer(deadline - now);
        cpu::halt();
        self.0.apic.stop_timer();
    }
}

impl Platform for Ring0 {
    fn pci_read(&self, function: PciAddress, offset: u8) -> u32 {
        cpu::outl(PCI_ADDRESS_PORT, pci_address(function, offset));
        cpu::inl(PCI_DATA_PORT)
    }

    fn pci_write(&self, function: PciAddress, offset: u8, value: u32) {
        cpu::outl(PCI_ADDRESS_PORT, pci_address(function, offset));
        cpu::outl(PCI_DATA_PORT, value);
    }

    fn map_mmio(&self, bus_address: u64, len: u64) -> Option<MmioAddress> {
        self.0.paging.borrow_mut().map_registers(bus_address, len).map(MmioAddress)
    }

    #[inline]
    fn mmio_read8(&self, register: MmioAddress) -> u8 {
        // SAFETY: drivers compute register addresses inside what `map_mmio` returned; mappings are never undone.
        unsafe { (register.0 as *const u8).read_volatile() }
    }

    #[inline]
    fn mmio_read16(&self, register: MmioAddress) -> u16 {
        // SAFETY: as above; the drivers keep registers aligned.
        unsafe { (register.0 as *const u16).read_volatile() }
    }

    #[inline]
    fn mmio_read32(&self, register: MmioAddress) -> u32 {
        // SAFETY: as above.
        unsafe { (register.0 as *const u32).read_volatile() }
    }

    #[inline]
    fn mmio_write8(&self, register: MmioAddress, value: u8) {
        // SAFETY: as above.
        unsafe { (register.0 as *mut u8).write_volatile(value) }
    }

    #[inline]
    fn mmio_write16(&self, register: MmioAddress, value: u16) {
        // SAFETY: as above.
        unsafe { (register.0 as *mut u16).write_volatile(value) }
    }

    #[inline]
    fn mmio_write32(&self, register: MmioAddress, value: u32) {
        // SAFETY: as above.
        unsafe { (register.0 as *mut u32).write_volatile(value) }
    }

    fn dma_alloc(&self, len: usize) -> Option<DmaRegion> {
        let len = len.checked_next_multiple_of(PAGE)?.max(PAGE);
        let layout = Layout::from_size_align(len, PAGE).ok()?;
        // SAFETY: the layout is not empty.
        let address = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let start = address.as_ptr() as u64;
        let paging = self.0.paging.borrow();
        let physical = paging.physical(start)?;
        // The device needs contiguous memory, so the pages must follow each other.
        let contiguous =
            (0..len as u64).step_by(PAGE).all(|at| paging.physical(start + at) == Some(physical + at));
        if !contiguous {
            return None;
        }
        // SAFETY: just allocated with this size and alignment, never freed, known to nobody else; the page tables
        // say that the device sees it at `physical`.
        Some(unsafe { DmaRegion::new(address, physical, len) })
    }

    fn msi_message(&self, kind: InterruptKind) -> Option<MsiMessage> {
        self.0.apic.msi_message(kind)
    }

    fn config_changes(&self) -> u32 {
        interrupts::CONFIG_CHANGES.load(Ordering::Relaxed)
    }

    fn now_ns(&self) -> u64 {
        self.0.clock.now_ns()
    }
}

fn pci_address(function: PciAddress, offset: u8) -> u32 {
    1 << 31
        | u32::from(function.bus) << 16
        | u32::from(function.device & 31) << 11
        | u32::from(function.function & 7) << 8
        | u32::from(offset & !3)
}
