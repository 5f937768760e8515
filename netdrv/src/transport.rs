//! virtio over PCI, the modern interface (virtio 1.2 §4.1): capabilities, status, feature negotiation, queues,
//! notifications and device configuration.

use crate::{
    dma::DmaBuffer,
    pci,
    platform::{InterruptKind, MmioAddress, PciAddress, Platform},
    queue::{self, QueueError, SplitQueue},
};
use virtio_spec::{DeviceStatus, pci::CapCfgType};

/// Offsets in the common configuration structure (§4.1.4.3). A test compares them with virtio-spec's layout.
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0;
    pub(super) const DEVICE_FEATURE: u64 = 4;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 8;
    pub(super) const DRIVER_FEATURE: u64 = 12;
    pub(super) const CONFIG_MSIX_VECTOR: u64 = 16;
    pub(super) const DEVICE_STATUS: u64 = 20;
    pub(super) const CONFIG_GENERATION: u64 = 21;
    pub(super) const QUEUE_SELECT: u64 = 22;
    pub(super) const QUEUE_SIZE: u64 = 24;
    pub(super) const QUEUE_MSIX_VECTOR: u64 = 26;
    pub(super) const QUEUE_ENABLE: u64 = 28;
    pub(super) const QUEUE_NOTIFY_OFF: u64 = 30;
    pub(super) const QUEUE_DESC: u64 = 32;
    pub(super) const QUEUE_DRIVER: u64 = 40;
    pub(super) const QUEUE_DEVICE: u64 = 48;
    /// Bytes of the structure that this driver uses.
    pub(super) const LEN: u64 = 56;
}

/// Protocol violations of a device since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Resets because of a corrupted ring, or at the device's request.
    pub resets: u32,
    /// Corrupted rings.
    pub ring_errors: u64,
    /// The last ring error.
    pub last: Option<QueueError>,
    /// It was reset too often and is no longer used.
    pub given_up: bool,
    /// Packets dropped because they were malformed, or for another machine.
    pub dropped: u64,
}

/// `VIRTIO_MSI_NO_VECTOR` (§4.1.5.1.2): the device could not bind the vector.
const NO_VECTOR: u16 = 0xffff;
/// MSI-X entries: one for all queues, one for configuration changes.
const QUEUE_VECTOR: u16 = 0;
const CONFIG_VECTOR: u16 = 1;
/// How long a device may take to reset, in nanoseconds.
const RESET_TIMEOUT_NS: u64 = 1_000_000_000;
/// How often a configuration that keeps changing is read again.
const CONFIG_RETRIES: usize = 16;

/// Why a device cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// A capability that modern devices must have is missing, too short, or in a BAR that is not assigned.
    NoModernInterface,
    /// The registers could not be mapped.
    Mapping,
    /// The device did not finish its reset within a second.
    ResetTimeout,
    /// The device does not offer VERSION_1, or something else this driver needs.
    MissingFeature,
    /// The device rejected the chosen features.
    FeaturesRefused,
    /// A queue the device type must have is missing, or has an impossible size.
    NoQueue(u16),
    /// No memory for rings or buffers.
    NoMemory,
    /// The device configuration is invalid, or keeps changing while being read.
    BadConfiguration,
    /// The device violated the protocol too often.
    GivenUp,
}

/// A virtio device behind the modern PCI interface.
#[derive(Debug)]
pub struct Transport<P: Platform> {
    platform: P,
    common: MmioAddress,
    device: Option<(MmioAddress, u64)>,
    notify: (MmioAddress, u64),
    notify_multiplier: u32,
    msix: bool,
}

/// Notification register of a queue, resolved in advance.
#[derive(Clone, Copy, Debug)]
pub struct Doorbell {
    register: MmioAddress,
    queue: u16,
}

impl Doorbell {
    /// Tells the device that the queue has new buffers (§4.1.5.2): one register write.
    #[inline]
    pub fn ring<P: Platform>(&self, platform: &P) {
        platform.mmio_write16(self.register, self.queue);
    }
}

impl<P: Platform> Transport<P> {
    /// Finds and maps the device's registers, and sets up MSI-X interrupts if available.
    pub fn open(platform: P, function: PciAddress) -> Result<Self, DeviceError> {
        pci::enable(&platform, function);
        let (mut common, mut notify, mut device) = (None, None, None);
        for (id, offset) in pci::capabilities(&platform, function) {
            let Some(found) = Structure::read(&platform, function, id, offset) else { continue };
            // The first of each type is the one the device prefers (§4.1.4).
            match found.kind {
                CapCfgType::Common if common.is_none() && found.len >= common::LEN => common = Some(found),
                CapCfgType::Notify if notify.is_none() && found.len >= 2 => notify = Some(found),
                CapCfgType::Device if device.is_none() => device = Some(found),
                _ => {}
            }
        }
        let (Some(common), Some(notify)) = (common, notify) else {
            return Err(DeviceError::NoModernInterface);
        };
        let map = |structure: &Structure| {
            platform.map_mmio(structure.address, structure.len).ok_or(DeviceError::Mapping)
        };
        let (common, notify_base) = (map(&common)?, map(&notify)?);
        let device = device.map(|found| Ok::<_, DeviceError>((map(&found)?, found.len))).transpose()?;
        let messages = [InterruptKind::Queue, InterruptKind::Config].map(|kind| platform.msi_message(kind));
        let msix = match messages {
            [Some(queue), Some(config)] => pci::enable_msix(&platform, function, &[queue, config]),
            _ => false,
        };
        Ok(Self {
            common,
            device,
            notify: (notify_base, notify.len),
            notify_multiplier: notify.notify_multiplier,
            msix,
            platform,
        })
    }

    /// The platform of the device.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Whether the device raises interrupts; if not, it has to be polled.
    pub fn has_interrupts(&self) -> bool {
        self.msix
    }

    /// Resets the device and waits for completion (§2.1.2, §4.1.4.3.1): from then on it accesses no memory.
    pub fn reset(&self) -> Result<(), DeviceError> {
        self.write8(common::DEVICE_STATUS, 0);
        let start = self.platform.now_ns();
        while self.read8(common::DEVICE_STATUS) != 0 {
            if self.platform.now_ns().wrapping_sub(start) > RESET_TIMEOUT_NS {
                return Err(DeviceError::ResetTimeout);
            }
            core::hint::spin_loop();
        }
        Ok(())
    }

    /// Resets the device and negotiates features: those offered that are in `wanted`, always including VERSION_1 (§3.1.1 steps 1
    /// to 6).
    pub fn negotiate(&mut self, wanted: u64) -> Result<u64, DeviceError> {
        self.reset()?;
        self.write8(common::DEVICE_STATUS, DeviceStatus::ACKNOWLEDGE.bits());
        self.add_status(DeviceStatus::DRIVER);
        let mut offered = 0;
        for half in 0..2u32 {
            self.write32(common::DEVICE_FEATURE_SELECT, half);
            offered |= u64::from(self.read32(common::DEVICE_FEATURE)) << (32 * half);
        }
        if offered & VERSION_1 == 0 {
            self.fail();
            return Err(DeviceError::MissingFeature);
        }
        let chosen = offered & (wanted | VERSION_1);
        for half in 0..2u32 {
            self.write32(common::DRIVER_FEATURE_SELECT, half);
            self.write32(common::DRIVER_FEATURE, (chosen >> (32 * half)) as u32);
        }
        self.add_status(DeviceStatus::FEATURES_OK);
        if self.read8(common::DEVICE_STATUS) & DeviceStatus::FEATURES_OK.bits() == 0 {
            self.fail();
            return Err(DeviceError::FeaturesRefused);
        }
        if self.msix {
            self.write16(common::CONFIG_MSIX_VECTOR, CONFIG_VECTOR);
            self.msix = self.read16(common::CONFIG_MSIX_VECTOR) != NO_VECTOR;
        }
        Ok(chosen)
    }

    /// Builds queue `index` with at most `wanted` entries (a power of two), in newly allocated memory.
    pub fn create_queue<B: DmaBuffer>(&self, index: u16, wanted: u16) -> Result<SplitQueue<B>, DeviceError> {
        self.write16(common::QUEUE_SELECT, index);
        let offered = self.read16(common::QUEUE_SIZE);
        if !offered.is_power_of_two() {
            return Err(DeviceError::NoQueue(index));
        }
        let size = offered.min(wanted).min(queue::MAX_QUEUE_SIZE);
        let region = self.platform.dma_alloc(queue::memory_for(size)).ok_or(DeviceError::NoMemory)?;
        SplitQueue::new(region, size).ok_or(DeviceError::NoQueue(index))
    }

    /// Configures and enables queue `index` in the device (§4.1.5.1.3). The queue must be in its initial state.
    pub fn enable_queue<B: DmaBuffer>(
        &mut self,
        index: u16,
        queue: &SplitQueue<B>,
    ) -> Result<Doorbell, DeviceError> {
        self.write16(common::QUEUE_SELECT, index);
        if self.read16(common::QUEUE_SIZE) < queue.size() {
            return Err(DeviceError::NoQueue(index));
        }
        self.write16(common::QUEUE_SIZE, queue.size());
        let addresses = queue.addresses();
        self.write64(common::QUEUE_DESC, addresses.descriptors);
        self.write64(common::QUEUE_DRIVER, addresses.driver);
        self.write64(common::QUEUE_DEVICE, addresses.device);
        if self.msix {
            self.write16(common::QUEUE_MSIX_VECTOR, QUEUE_VECTOR);
            self.msix = self.read16(common::QUEUE_MSIX_VECTOR) != NO_VECTOR;
        }
        let offset = u64::from(self.read16(common::QUEUE_NOTIFY_OFF)) * u64::from(self.notify_multiplier);
        if offset % 2 != 0 || offset + 2 > self.notify.1 {
            return Err(DeviceError::NoModernInterface);
        }
        self.write16(common::QUEUE_ENABLE, 1);
        Ok(Doorbell { register: self.notify.0.offset(offset), queue: index })
    }

    /// Sets DRIVER_OK (§3.1.1 step 8): the device may use its queues.
    pub fn start(&self) {
        self.add_status(DeviceStatus::DRIVER_OK);
    }

    /// Tells the device that the driver has given up (§2.1: FAILED).
    pub fn fail(&self) {
        self.add_status(DeviceStatus::FAILED);
    }

    /// Whether the device requests a reset (§2.1.1: DEVICE_NEEDS_RESET). Costs a register read.
    pub fn needs_reset(&self) -> bool {
        self.read8(common::DEVICE_STATUS) & DeviceStatus::DEVICE_NEEDS_RESET.bits() != 0
    }

    /// Changes whenever the device configuration does. Costs a register read.
    pub fn config_generation(&self) -> u8 {
        self.read8(common::CONFIG_GENERATION)
    }

    /// Reads `N` bytes of device configuration at `offset`, all of one generation (§2.5.3).
    pub fn config<const N: usize>(&self, offset: u64) -> Result<[u8; N], DeviceError> {
        let (base, len) = self.device.ok_or(DeviceError::NoModernInterface)?;
        if offset + N as u64 > len {
            return Err(DeviceError::BadConfiguration);
        }
        for _ in 0..CONFIG_RETRIES {
            let before = self.config_generation();
            let bytes = core::array::from_fn(|i| self.platform.mmio_read8(base.offset(offset + i as u64)));
            if self.config_generation() == before {
                return Ok(bytes);
            }
        }
        Err(DeviceError::BadConfiguration)
    }

    fn add_status(&self, flag: DeviceStatus) {
        let status = self.read8(common::DEVICE_STATUS);
        self.write8(common::DEVICE_STATUS, status | flag.bits());
    }

    fn read8(&self, offset: u64) -> u8 {
        self.platform.mmio_read8(self.common.offset(offset))
    }

    fn read16(&self, offset: u64) -> u16 {
        self.platform.mmio_read16(self.common.offset(offset))
    }

    fn read32(&self, offset: u64) -> u32 {
        self.platform.mmio_read32(self.common.offset(offset))
    }

    fn write8(&self, offset: u64, value: u8) {
        self.platform.mmio_write8(self.common.offset(offset), value);
    }

    fn write16(&self, offset: u64, value: u16) {
        self.platform.mmio_write16(self.common.offset(offset), value);
    }

    fn write32(&self, offset: u64, value: u32) {
        self.platform.mmio_write32(self.common.offset(offset), value);
    }

    fn write64(&self, offset: u64, value: u64) {
        self.write32(offset, value as u32);
        self.write32(offset + 4, (value >> 32) as u32);
    }
}

/// VERSION_1: the device speaks virtio 1.x (§6).
pub(crate) const VERSION_1: u64 = virtio_spec::F::VERSION_1.bits().to_ne() as u64;
/// EVENT_IDX: interrupts and notifications are suppressed by index (§2.7.10).
pub(crate) const EVENT_IDX: u64 = virtio_spec::F::EVENT_IDX.bits().to_ne() as u64;

/// A virtio structure capability (§4.1.4) whose BAR is known.
struct Structure {
    kind: CapCfgType,
    address: u64,
    len: u64,
    notify_multiplier: u32,
}

impl Structure {
    fn read<P: Platform>(platform: &P, function: PciAddress, id: u8, offset: u8) -> Option<Self> {
        const VENDOR_SPECIFIC: u8 = 0x09;
        // Four words; the notification capability has a fifth.
        if id != VENDOR_SPECIFIC || offset > 0xf0 {
            return None;
        }
        let head = platform.pci_read(function, offset);
        let kind = CapCfgType::from((head >> 24) as u8);
        let fifth = kind == CapCfgType::Notify;
        if ((head >> 16) as u8) < if fifth { 20 } else { 16 } || (fifth && offset > 0xec) {
            return None;
        }
        if !matches!(kind, CapCfgType::Common | CapCfgType::Notify | CapCfgType::Device) {
            return None;
        }
        let bar = platform.pci_read(function, offset + 4) as u8;
        let start = u64::from(platform.pci_read(function, offset + 8));
        let len = u64::from(platform.pci_read(function, offset + 12));
        let address = pci::memory_bar(platform, function, bar)?.checked_add(start)?;
        // Common configuration needs 4-byte alignment, notifications 2 (§4.1.4.3.1, §4.1.4.4.1).
        if address % 4 != 0 || len == 0 || address.checked_add(len).is_none() {
            return None;
        }
        let notify_multiplier = if fifth { platform.pci_read(function, offset + 16) } else { 0 };
        Some(Self { kind, address, len, notify_multiplier })
    }
}

#[cfg(test)]
mod tests {
    use super::common::*;
    use core::ptr::NonNull;
    use virtio_spec::pci::{CommonCfg, CommonCfgVolatileFieldAccess};
    use volatile::VolatilePtr;

    #[test]
    fn offsets_are_those_of_virtio_spec() {
        let mut memory = [0u64; 8];
        let base = NonNull::from(&mut memory).cast::<CommonCfg>();
        // SAFETY: the array is larger than the structure, aligned, and only its addresses are used.
        let cfg = unsafe { VolatilePtr::new(base) };
        let at = |field: *mut u8| field as u64 - base.as_ptr() as u64;
        assert_eq!(at(cfg.device_feature_select().as_raw_ptr().as_ptr().cast()), DEVICE_FEATURE_SELECT);
        assert_eq!(at(cfg.device_feature().as_raw_ptr().as_ptr().cast()), DEVICE_FEATURE);
        assert_eq!(at(cfg.driver_feature_select().as_raw_ptr().as_ptr().cast()), DRIVER_FEATURE_SELECT);
        assert_eq!(at(cfg.driver_feature().as_raw_ptr().as_ptr().cast()), DRIVER_FEATURE);
        assert_eq!(at(cfg.config_msix_vector().as_raw_ptr().as_ptr().cast()), CONFIG_MSIX_VECTOR);
        assert_eq!(at(cfg.device_status().as_raw_ptr().as_ptr().cast()), DEVICE_STATUS);
        assert_eq!(at(cfg.config_generation().as_raw_ptr().as_ptr().cast()), CONFIG_GENERATION);
        assert_eq!(at(cfg.queue_select().as_raw_ptr().as_ptr().cast()), QUEUE_SELECT);
        assert_eq!(at(cfg.queue_size().as_raw_ptr().as_ptr().cast()), QUEUE_SIZE);
        assert_eq!(at(cfg.queue_msix_vector().as_raw_ptr().as_ptr().cast()), QUEUE_MSIX_VECTOR);
        assert_eq!(at(cfg.queue_enable().as_raw_ptr().as_ptr().cast()), QUEUE_ENABLE);
        assert_eq!(at(cfg.queue_notify_off().as_raw_ptr().as_ptr().cast()), QUEUE_NOTIFY_OFF);
        assert_eq!(at(cfg.queue_desc_low().as_raw_ptr().as_ptr().cast()), QUEUE_DESC);
        assert_eq!(at(cfg.queue_driver_low().as_raw_ptr().as_ptr().cast()), QUEUE_DRIVER);
        assert_eq!(at(cfg.queue_device_low().as_raw_ptr().as_ptr().cast()), QUEUE_DEVICE);
        assert_eq!(LEN, QUEUE_DEVICE + 8);
    }
}
