//! A fake machine: a PCI bus with virtio devices whose device side is played by the test, correctly or not.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program uses a part")]

mod queue;

pub use queue::{Chain, DeviceQueue};

use netdrv::platform::{DmaRegion, InterruptKind, MmioAddress, MsiMessage, PciAddress, Platform};
use std::{
    alloc::{Layout, alloc_zeroed},
    cell::{Cell, Ref, RefCell, RefMut},
    ptr::NonNull,
    rc::Rc,
};

/// Offset between device addresses and program addresses, so that a mix-up is noticed.
pub const DMA_OFFSET: u64 = 0x0100_0000_0000;

const BAR_BASE: u64 = 0xe000_0000;
const BAR_SIZE: u64 = 0x1_0000;
const COMMON: u64 = 0;
const NOTIFY: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const MSIX_TABLE: u64 = 0x3000;
const NOTIFY_MULTIPLIER: u64 = 4;

pub const VERSION_1: u64 = 1 << 32;
pub const EVENT_IDX: u64 = 1 << 29;

/// The machine; clones refer to the same one.
#[derive(Clone)]
pub struct FakeMachine(Rc<Inner>);

type Region = (NonNull<u8>, usize);

thread_local! {
    /// Memory of dropped machines, for reuse, because fuzzing creates many.
    static FREE: RefCell<Vec<Region>> = const { RefCell::new(Vec::new()) };
}

/// Drivers hold a clone of their machine, so they are gone as well; their buffers must not be used any more.
impl Drop for Inner {
    fn drop(&mut self) {
        let regions = self.regions.take();
        // If thread-local memory is already gone, the thread is ending.
        let _ = FREE.try_with(|free| free.borrow_mut().extend(regions));
    }
}

struct Inner {
    devices: RefCell<Vec<FakeDevice>>,
    dma_bytes: Cell<usize>,
    regions: RefCell<Vec<Region>>,
    dma_limit: Cell<usize>,
    config_changes: Cell<u32>,
    now_ns: Cell<u64>,
    has_msi: Cell<bool>,
}

/// One device on the bus.
pub struct FakeDevice {
    pub pci: [u8; 256],
    pub offered: u64,
    pub accepted: u64,
    pub config: Vec<u8>,
    pub generation: u8,
    /// The generation changes with every read of the configuration.
    pub restless: bool,
    pub status: u8,
    pub queues: Vec<DeviceQueue>,
    /// Queue indices written to the notification registers.
    pub notifications: Vec<u16>,
    pub refuse_features: bool,
    pub stuck_in_reset: bool,
    /// Ignore writes to missing registers instead of failing the test.
    pub lenient: bool,
    pub resets: u32,
    pub msix: [u32; 8],
    pub select: [u32; 3],
    pub config_vector: u16,
}

impl FakeDevice {
    /// A device with the modern PCI id of its type.
    pub fn new(kind: u16, offered: u64, config: &[u8], queue_sizes: &[u16]) -> Self {
        let mut pci = [0; 256];
        pci[0..4].copy_from_slice(&[0xf4, 0x1a, 0, 0]);
        pci[2..4].copy_from_slice(&(0x1040 + kind).to_le_bytes());
        pci[6] = 0x10; // capability list
        pci[0x34] = 0x40;
        let mut at = 0x40;
        for (kind, offset, len) in
            [(1, COMMON, 56u64), (2, NOTIFY, 0x100), (3, 0x800, 4), (4, CONFIG, config.len() as u64)]
        {
            let next = at + 20;
            pci[at..at + 5].copy_from_slice(&[9, next as u8, 20, kind, 4]);
            pci[at + 8..at + 12].copy_from_slice(&(offset as u32).to_le_bytes());
            pci[at + 12..at + 16].copy_from_slice(&(len as u32).to_le_bytes());
            pci[at + 16..at + 20].copy_from_slice(&(NOTIFY_MULTIPLIER as u32).to_le_bytes());
            at = next;
        }
        // MSI-X: two entries in BAR 4.
        pci[at..at + 4].copy_from_slice(&[0x11, 0, 1, 0]);
        pci[at + 4..at + 8].copy_from_slice(&(MSIX_TABLE as u32 | 4).to_le_bytes());
        Self {
            pci,
            offered,
            accepted: 0,
            config: config.to_vec(),
            generation: 0,
            restless: false,
            status: 0,
            queues: queue_sizes.iter().map(|&size| DeviceQueue::new(size)).collect(),
            notifications: Vec::new(),
            refuse_features: false,
            stuck_in_reset: false,
            lenient: false,
            resets: 0,
            msix: [0; 8],
            select: [0; 3],
            config_vector: 0xffff,
        }
    }

    /// The same device with a transitional id (0x1000 to 0x103f) and its type as subsystem.
    pub fn transitional(mut self, id: u16, kind: u16) -> Self {
        self.pci[2..4].copy_from_slice(&id.to_le_bytes());
        self.pci[0x2e..0x30].copy_from_slice(&kind.to_le_bytes());
        self
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.accepted = 0;
        self.config_vector = 0xffff;
        self.queues.iter_mut().for_each(DeviceQueue::reset);
    }

    fn read(&mut self, at: u64) -> u32 {
        let queue = self.queues.get(self.select[2] as usize);
        match at {
            4 => (self.offered >> (32 * self.select[0].min(1))) as u32,
            16 => self.config_vector.into(),
            18 => self.queues.len() as u32,
            20 => self.status.into(),
            21 => self.generation.into(),
            24 => queue.map_or(0, |queue| queue.size.into()),
            26 => queue.map_or(0xffff, |queue| queue.vector.into()),
            28 => queue.map_or(0, |queue| queue.enabled.into()),
            30 => self.select[2],
            _ if (CONFIG..CONFIG + self.config.len() as u64).contains(&at) => {
                if self.restless {
                    self.generation = self.generation.wrapping_add(1);
                }
                self.config[(at - CONFIG) as usize].into()
            }
            _ => 0,
        }
    }

    fn write(&mut self, at: u64, value: u32) {
        if self.lenient && at >= COMMON + 56 {
            return;
        }
        let (half, select) = (u64::from(self.select[1].min(1)) * 32, self.select[2] as usize);
        match at {
            0 => self.select[0] = value,
            8 => self.select[1] = value,
            12 => self.accepted = self.accepted & !(0xffff_ffff << half) | u64::from(value) << half,
            16 => self.config_vector = value as u16,
            20 if value == 0 => {
                if !self.stuck_in_reset {
                    self.status = 0;
                }
                self.reset();
            }
            20 => {
                let refused = self.refuse_features || self.accepted & !self.offered != 0;
                self.status = value as u8 & if refused { !8 } else { 0xff };
            }
            22 => self.select[2] = value,
            24..56 => {
                let event_idx = self.accepted & EVENT_IDX != 0;
                if let Some(queue) = self.queues.get_mut(select) {
                    queue.configure(at, value, event_idx);
                }
            }
            NOTIFY..0x1100 => {
                assert_eq!(
                    u64::from(value) * NOTIFY_MULTIPLIER,
                    at - NOTIFY,
                    "notified at another queue's register"
                );
                self.notifications.push(value as u16);
            }
            MSIX_TABLE..0x3020 => self.msix[(at - MSIX_TABLE) as usize / 4] = value,
            _ => assert!(self.lenient, "write of {value:#x} to register {at:#x}"),
        }
    }
}

impl FakeMachine {
    /// A machine with these devices, at 00:00.0 and up.
    pub fn new(devices: Vec<FakeDevice>) -> Self {
        let machine = Self(Rc::new(Inner {
            devices: RefCell::new(devices),
            dma_bytes: Cell::new(0),
            regions: RefCell::default(),
            dma_limit: Cell::new(usize::MAX),
            config_changes: Cell::new(0),
            now_ns: Cell::new(0),
            has_msi: Cell::new(true),
        }));
        for (index, device) in machine.0.devices.borrow_mut().iter_mut().enumerate() {
            let bar = BAR_BASE + index as u64 * BAR_SIZE;
            device.pci[0x20..0x28].copy_from_slice(&(bar | 0xc).to_le_bytes());
        }
        machine
    }

    pub fn address(index: u8) -> PciAddress {
        PciAddress { bus: 0, device: index, function: 0 }
    }

    pub fn device(&self, index: usize) -> Ref<'_, FakeDevice> {
        Ref::map(self.0.devices.borrow(), |devices| &devices[index])
    }

    pub fn device_mut(&self, index: usize) -> RefMut<'_, FakeDevice> {
        RefMut::map(self.0.devices.borrow_mut(), |devices| &mut devices[index])
    }

    /// The device side of a queue of the first device.
    pub fn queue(&self, queue: usize) -> RefMut<'_, DeviceQueue> {
        RefMut::map(self.device_mut(0), |device| &mut device.queues[queue])
    }

    /// Notifications of the first device since the last call.
    pub fn take_notifications(&self) -> Vec<u16> {
        std::mem::take(&mut self.device_mut(0).notifications)
    }

    pub fn advance(&self, ns: u64) {
        self.0.now_ns.set(self.0.now_ns.get() + ns);
    }

    pub fn dma_bytes(&self) -> usize {
        self.0.dma_bytes.get()
    }

    pub fn limit_dma(&self, bytes: usize) {
        self.0.dma_limit.set(bytes);
    }

    pub fn without_msi(self) -> Self {
        self.0.has_msi.set(false);
        self
    }

    /// Raises a configuration-change interrupt.
    pub fn change_config(&self) {
        self.0.config_changes.set(self.0.config_changes.get() + 1);
    }

    fn access<T>(&self, register: MmioAddress, what: impl FnOnce(&mut FakeDevice, u64) -> T) -> T {
        let at = register.0 - BAR_BASE;
        what(&mut self.device_mut((at / BAR_SIZE) as usize), at % BAR_SIZE)
    }
}

impl Platform for FakeMachine {
    fn pci_read(&self, function: PciAddress, offset: u8) -> u32 {
        let devices = self.0.devices.borrow();
        match devices.get(usize::from(function.device)) {
            Some(device) if function.bus == 0 && function.function == 0 => {
                let at = usize::from(offset);
                u32::from_le_bytes([
                    device.pci[at],
                    device.pci[at + 1],
                    device.pci[at + 2],
                    device.pci[at + 3],
                ])
            }
            _ => u32::MAX,
        }
    }

    fn pci_write(&self, function: PciAddress, offset: u8, value: u32) {
        let at = usize::from(offset);
        // The status half of word 4 is cleared by writing ones; there is nothing to clear here.
        let len = if offset == 4 { 2 } else { 4 };
        let bytes = &value.to_le_bytes()[..len];
        self.device_mut(usize::from(function.device)).pci[at..at + len].copy_from_slice(bytes);
    }

    fn map_mmio(&self, bus_address: u64, len: u64) -> Option<MmioAddress> {
        let end = BAR_BASE + self.0.devices.borrow().len() as u64 * BAR_SIZE;
        (bus_address >= BAR_BASE && bus_address + len <= end).then_some(MmioAddress(bus_address))
    }

    fn mmio_read8(&self, register: MmioAddress) -> u8 {
        self.access(register, |device, at| device.read(at) as u8)
    }

    fn mmio_read16(&self, register: MmioAddress) -> u16 {
        self.access(register, |device, at| device.read(at) as u16)
    }

    fn mmio_read32(&self, register: MmioAddress) -> u32 {
        self.access(register, |device, at| device.read(at))
    }

    fn mmio_write8(&self, register: MmioAddress, value: u8) {
        self.access(register, |device, at| device.write(at, value.into()));
    }

    fn mmio_write16(&self, register: MmioAddress, value: u16) {
        self.access(register, |device, at| device.write(at, value.into()));
    }

    fn mmio_write32(&self, register: MmioAddress, value: u32) {
        self.access(register, |device, at| device.write(at, value));
    }

    fn dma_alloc(&self, len: usize) -> Option<DmaRegion> {
        let len = len.next_multiple_of(4096);
        if self.dma_bytes() + len > self.0.dma_limit.get() {
            return None;
        }
        self.0.dma_bytes.set(self.dma_bytes() + len);
        let address =
            FREE.with_borrow_mut(|free| free.iter().position(|r| r.1 == len).map(|i| free.swap_remove(i).0));
        let address = match address {
            // SAFETY: it is as long as its entry says, and its machine and driver are gone.
            Some(used) => unsafe {
                used.write_bytes(0, len);
                used
            },
            None => {
                let layout = Layout::from_size_align(len, 4096).expect("a layout");
                // SAFETY: the layout is not empty.
                NonNull::new(unsafe { alloc_zeroed(layout) })?
            }
        };
        self.0.regions.borrow_mut().push((address, len));
        // SAFETY: memory that nobody uses and that is never freed; the fake device undoes the offset.
        Some(unsafe { DmaRegion::new(address, address.as_ptr() as u64 + DMA_OFFSET, len) })
    }

    fn msi_message(&self, kind: InterruptKind) -> Option<MsiMessage> {
        let data = match kind {
            InterruptKind::Queue => 0x90,
            InterruptKind::Config => 0x91,
        };
        self.0.has_msi.get().then_some(MsiMessage { address: 0xfee0_0000, data })
    }

    fn config_changes(&self) -> u32 {
        self.0.config_changes.get()
    }

    fn now_ns(&self) -> u64 {
        // Advances by itself, so that time limits pass.
        self.0.now_ns.set(self.0.now_ns.get() + 1_000);
        self.0.now_ns.get()
    }
}
