//! What the drivers need of ring 0, as a trait, so that they also run on the host against a fake device.

use core::ptr::NonNull;

/// Address of a PCI function: bus, device (0 to 31) and function (0 to 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    /// Bus number.
    pub bus: u8,
    /// Device number on the bus, 0 to 31.
    pub device: u8,
    /// Function of the device, 0 to 7.
    pub function: u8,
}

/// A device register: its address in the space [`Platform::map_mmio`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioAddress(pub u64);

impl MmioAddress {
    /// The register `bytes` further on.
    #[must_use]
    pub fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

/// Where an MSI-X table entry writes, and what, to raise an interrupt (PCI 3.0 §6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Bus address of the write.
    pub address: u64,
    /// Value written.
    pub data: u32,
}

/// Kind of a device interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptKind {
    /// A virtqueue has used buffers. Only wakes the processor.
    Queue,
    /// A device's configuration changed: counted in [`Platform::config_changes`].
    Config,
}

/// Zeroed memory shared with a device: page-aligned, contiguous for the device, and never freed, because a device that knows an
/// address may write to it at any time.
#[derive(Debug)]
pub struct DmaRegion {
    address: NonNull<u8>,
    device_address: u64,
    len: usize,
}

// SAFETY: the region is plain memory owned by this value; nothing in it is tied to a thread.
unsafe impl Send for DmaRegion {}

impl DmaRegion {
    /// Describes a region.
    ///
    /// # Safety
    ///
    /// `address` must be valid for reads and writes of `len` bytes for the rest of the program, be aligned to
    /// 4096 bytes, be used by nobody else but the device, and be seen by the device at
    /// `device_address..device_address + len`.
    pub unsafe fn new(address: NonNull<u8>, device_address: u64, len: usize) -> Self {
        Self { address, device_address, len }
    }

    /// Address of the region as seen by the program.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.address
    }

    /// Address of the region as seen by the device.
    #[must_use]
    pub fn device_address(&self) -> u64 {
        self.device_address
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

/// The machine below the drivers. A handle: clones are cheap and refer to the same machine.
///
/// The implementation in `crate::hermit` is ring 0 of the unikernel; the one in the tests is a fake device.
pub trait Platform: Clone {
    /// Reads an aligned 32-bit word of a function's PCI configuration space; all ones where there is no function.
    fn pci_read(&self, function: PciAddress, offset: u8) -> u32;

    /// Writes an aligned 32-bit word of a function's PCI configuration space.
    fn pci_write(&self, function: PciAddress, offset: u8, value: u32);

    /// Makes `len` bytes of device registers at bus address `bus_address` accessible, uncached. `None` if there
    /// is no address space or page table left for them. A mapping is never undone.
    fn map_mmio(&self, bus_address: u64, len: u64) -> Option<MmioAddress>;

    /// Reads a register.
    fn mmio_read8(&self, register: MmioAddress) -> u8;
    /// Reads a register at an even address.
    fn mmio_read16(&self, register: MmioAddress) -> u16;
    /// Reads a register at an address divisible by four.
    fn mmio_read32(&self, register: MmioAddress) -> u32;
    /// Writes a register.
    fn mmio_write8(&self, register: MmioAddress, value: u8);
    /// Writes a register at an even address.
    fn mmio_write16(&self, register: MmioAddress, value: u16);
    /// Writes a register at an address divisible by four.
    fn mmio_write32(&self, register: MmioAddress, value: u32);

    /// Memory for rings and buffers, `len` bytes rounded up to whole pages of 4096 bytes; `None` if there is none.
    fn dma_alloc(&self, len: usize) -> Option<DmaRegion>;

    /// The message with which a device raises this kind of interrupt; `None` if the platform only polls.
    fn msi_message(&self, kind: InterruptKind) -> Option<MsiMessage>;

    /// Number of [`InterruptKind::Config`] interrupts so far, of all devices together; wraps around.
    fn config_changes(&self) -> u32;

    /// Monotonic time in nanoseconds.
    fn now_ns(&self) -> u64;
}
