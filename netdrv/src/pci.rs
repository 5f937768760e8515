//! PCI configuration space: finding functions, base addresses, capabilities and MSI-X (PCI 3.0 §6).

use crate::platform::{MmioAddress, MsiMessage, PciAddress, Platform};
use alloc::vec::Vec;

/// Vendor of all virtio devices (virtio 1.2 §4.1.2).
pub const VIRTIO_VENDOR: u16 = 0x1af4;

const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const HEADER_TYPE_WORD: u8 = 0x0c;
const BAR0: u8 = 0x10;
const BUS_NUMBERS: u8 = 0x18;
const SUBSYSTEM: u8 = 0x2c;
const CAPABILITIES: u8 = 0x34;
const CLASS: u8 = 0x08;

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_BUS_MASTER: u32 = 1 << 2;
const COMMAND_INTX_DISABLE: u32 = 1 << 10;
const STATUS_CAPABILITIES: u32 = 1 << 20;
const CAPABILITY_MSIX: u8 = 0x11;
/// Maximum number of capabilities that fit between 0x40 and 0xff; a longer list is a loop.
const MAX_CAPABILITIES: usize = 48;
/// Maximum number of buses scanned, so that a broken bridge cannot cause an endless scan.
const MAX_BUSES: usize = 32;
/// Maximum number of functions examined.
const MAX_FUNCTIONS: usize = 256;

/// A PCI function found by the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// Its address.
    pub address: PciAddress,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Subsystem device (on transitional virtio devices, the device type).
    pub subsystem: u16,
}

impl PciFunction {
    /// The virtio device type (§5), if this is a virtio device: by PCI id 0x1040 + type, or, on a transitional
    /// device (0x1000 to 0x103f), by its subsystem id (§4.1.2.1).
    #[must_use]
    pub fn virtio_type(&self) -> Option<u16> {
        match (self.vendor, self.device) {
            (VIRTIO_VENDOR, 0x1000..=0x103f) => Some(self.subsystem),
            (VIRTIO_VENDOR, 0x1040..=0x107f) => Some(self.device - 0x1040),
            _ => None,
        }
    }
}

/// Lists the functions on bus 0 and on the buses behind its bridges.
pub fn scan<P: Platform>(platform: &P) -> Vec<PciFunction> {
    let mut found = Vec::new();
    let mut buses = alloc::vec![0u8];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for device in 0..32 {
            for function in 0..8 {
                let address = PciAddress { bus, device, function };
                let id = platform.pci_read(address, ID);
                let header =
                    if id as u16 == 0xffff { 0 } else { platform.pci_read(address, HEADER_TYPE_WORD) >> 16 };
                if id as u16 != 0xffff {
                    let bridge = header & 0x7f == 1 && platform.pci_read(address, CLASS) >> 16 == 0x0604;
                    if bridge {
                        let secondary = (platform.pci_read(address, BUS_NUMBERS) >> 8) as u8;
                        if secondary > bus && buses.len() < MAX_BUSES && !buses.contains(&secondary) {
                            buses.push(secondary);
                        }
                    } else if found.len() < MAX_FUNCTIONS {
                        found.push(PciFunction {
                            address,
                            vendor: id as u16,
                            device: (id >> 16) as u16,
                            subsystem: (platform.pci_read(address, SUBSYSTEM) >> 16) as u16,
                        });
                    }
                }
                // Without the multi-function bit, only function 0 exists.
                if function == 0 && (id as u16 == 0xffff || header & 0x80 == 0) {
                    break;
                }
            }
        }
    }
    found
}

/// Enables memory decoding and bus mastering, and disables legacy interrupts.
pub fn enable<P: Platform>(platform: &P, function: PciAddress) {
    let command = platform.pci_read(function, COMMAND) & 0xffff;
    platform.pci_write(
        function,
        COMMAND,
        command | COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_DISABLE,
    );
}

/// The bus address in a memory BAR, `None` for an I/O BAR, one that is not assigned, or no BAR at all.
pub fn memory_bar<P: Platform>(platform: &P, function: PciAddress, bar: u8) -> Option<u64> {
    if bar > 5 {
        return None;
    }
    let low = platform.pci_read(function, BAR0 + 4 * bar);
    if low & 1 != 0 {
        return None;
    }
    let high = match low >> 1 & 3 {
        2 if bar < 5 => platform.pci_read(function, BAR0 + 4 * (bar + 1)),
        2 => return None,
        _ => 0,
    };
    let address = u64::from(high) << 32 | u64::from(low & !0xf);
    (address != 0).then_some(address)
}

/// The capabilities of a function: id and offset, in the list's order.
pub fn capabilities<P: Platform>(platform: &P, function: PciAddress) -> impl Iterator<Item = (u8, u8)> {
    let has_list = platform.pci_read(function, COMMAND) & STATUS_CAPABILITIES != 0;
    let first = if has_list { platform.pci_read(function, CAPABILITIES) as u8 & !3 } else { 0 };
    let mut at = first;
    (0..MAX_CAPABILITIES).map_while(move |_| {
        if at < 0x40 {
            return None;
        }
        let offset = at;
        let word = platform.pci_read(function, offset);
        at = (word >> 8) as u8 & !3;
        Some((word as u8, offset))
    })
}

/// Points the first MSI-X entries of a function at the given messages and enables MSI-X; other entries stay masked. False if the
/// function has no usable MSI-X capability.
pub fn enable_msix<P: Platform>(platform: &P, function: PciAddress, messages: &[MsiMessage]) -> bool {
    let Some((_, capability)) = capabilities(platform, function).find(|&(id, _)| id == CAPABILITY_MSIX)
    else {
        return false;
    };
    // The capability is three words long.
    if capability > 0xf4 {
        return false;
    }
    let control = platform.pci_read(function, capability);
    let entries = (control >> 16 & 0x7ff) as usize + 1;
    let table = platform.pci_read(function, capability + 4);
    if entries < messages.len() {
        return false;
    }
    let Some(base) = memory_bar(platform, function, (table & 7) as u8) else { return false };
    let Some(start) = base.checked_add(u64::from(table & !7)) else { return false };
    let Some(table) = platform.map_mmio(start, messages.len() as u64 * 16) else { return false };
    // Enabled but with the whole function masked while the table is written.
    platform.pci_write(function, capability, control | 1 << 31 | 1 << 30);
    for (index, message) in messages.iter().enumerate() {
        write_msix_entry(platform, table.offset(index as u64 * 16), message);
    }
    platform.pci_write(function, capability, (control | 1 << 31) & !(1 << 30));
    true
}

fn write_msix_entry<P: Platform>(platform: &P, entry: MmioAddress, message: &MsiMessage) {
    platform.mmio_write32(entry, message.address as u32);
    platform.mmio_write32(entry.offset(4), (message.address >> 32) as u32);
    platform.mmio_write32(entry.offset(8), message.data);
    platform.mmio_write32(entry.offset(12), 0);
}
