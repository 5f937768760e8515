//! virtio-rng, the PCI scan and the transport against fake devices.

mod support;

use netdrv::{
    pci::{self, PciFunction},
    platform::{PciAddress, Platform},
    queue::QueueError,
    rng::{MAX_REQUEST, VirtioRng},
    transport::{DeviceError, Transport},
};
use proptest::prelude::*;
use support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};

fn rng() -> (FakeMachine, VirtioRng<FakeMachine>) {
    let machine = FakeMachine::new(vec![FakeDevice::new(4, VERSION_1 | EVENT_IDX, &[], &[8])]);
    let rng = VirtioRng::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    (machine, rng)
}

#[test]
fn asks_and_takes() {
    let (machine, mut rng) = rng();
    let mut out = [0; 64];
    assert_eq!(rng.take(&mut out), Ok(None));
    for round in 1..20u8 {
        assert!(rng.request(32));
        assert!(!rng.request(32), "one at a time");
        assert_eq!((rng.take(&mut out), rng.pending()), (Ok(None), true));
        let chain = machine.queue(0).take().expect("a request");
        assert_eq!((chain.len, chain.writable), (32, true));
        // A device may return fewer bytes.
        chain.write(&[round; 20]);
        machine.queue(0).complete(chain.id, 20);
        assert_eq!(rng.take(&mut out), Ok(Some(20)));
        assert_eq!(out[..20], [round; 20]);
        assert!(!rng.pending());
    }
    assert_eq!(machine.take_notifications(), vec![0; 19]);
}

#[test]
fn an_empty_answer_is_none_and_requests_are_cut() {
    let (machine, mut rng) = rng();
    assert!(rng.request(100_000));
    let chain = machine.queue(0).take().expect("a request");
    assert_eq!(chain.len as usize, MAX_REQUEST);
    machine.queue(0).complete(chain.id, 0);
    assert_eq!(rng.take(&mut [0; 8]), Ok(None));
    assert!(!rng.pending());
}

#[test]
fn a_hostile_device_is_switched_off() {
    let (machine, mut rng) = rng();
    assert!(rng.request(32));
    let chain = machine.queue(0).take().expect("a request");
    machine.queue(0).complete(chain.id, 33);
    assert_eq!(rng.take(&mut [0; 64]), Err(QueueError::BadLength));
    assert_eq!(machine.device(0).status, 0);
    assert!(!rng.request(32) && !rng.pending());
    assert_eq!(rng.take(&mut [0; 64]), Ok(None));
}

#[test]
fn the_scan_knows_modern_and_transitional_ids() {
    let machine = FakeMachine::new(vec![
        FakeDevice::new(1, VERSION_1, &[], &[]),
        FakeDevice::new(0, VERSION_1, &[], &[]).transitional(0x1005, 4),
        FakeDevice::new(0, VERSION_1, &[], &[]).transitional(0x1012, 19),
        FakeDevice::new(0, VERSION_1, &[], &[]).transitional(0x1111, 4),
    ]);
    let kinds: Vec<_> = pci::scan(&machine).iter().map(PciFunction::virtio_type).collect();
    assert_eq!(kinds, [Some(1), Some(4), Some(19), None]);
}

#[test]
fn open_enables_the_function_and_its_interrupts() {
    let (machine, rng) = rng();
    assert!(!rng.pending());
    let device = machine.device(0);
    // Memory decoding, bus mastering, no INTx.
    assert_eq!(u16::from_le_bytes([device.pci[4], device.pci[5]]), 0x406);
    assert_eq!(device.msix, [0xfee0_0000, 0, 0x90, 0, 0xfee0_0000, 0, 0x91, 0]);
    assert_eq!(device.queues[0].vector, 0);
}

#[test]
fn a_transitional_rng_works_in_modern_mode() {
    let device = FakeDevice::new(4, VERSION_1, &[], &[8]).transitional(0x1005, 4);
    let machine = FakeMachine::new(vec![device]);
    assert!(VirtioRng::new(machine, FakeMachine::address(0)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the configuration space contains, opening a device terminates with a result.
    #[test]
    fn survives_any_configuration_space(changes in prop::collection::vec((0x04u8.., any::<u8>()), 1..40)) {
        let mut device = FakeDevice::new(1, VERSION_1, &[0; 12], &[8, 8]);
        device.lenient = true;
        changes.iter().for_each(|&(at, byte)| device.pci[usize::from(at)] = byte);
        let machine = FakeMachine::new(vec![device]);
        pci::scan(&machine);
        let _ = Transport::open(machine, FakeMachine::address(0));
    }
}

/// A bus of bridges that claim to lead everywhere.
#[derive(Clone)]
struct Bridges;

impl Platform for Bridges {
    fn pci_read(&self, function: PciAddress, offset: u8) -> u32 {
        match offset {
            0 => 0x1234_8086,
            8 => 0x0604_0000,
            12 => 0x0081_0000,
            24 => u32::from(function.bus.wrapping_add(function.device)) << 8,
            _ => 0,
        }
    }
    fn pci_write(&self, _: PciAddress, _: u8, _: u32) {}
    fn map_mmio(&self, _: u64, _: u64) -> Option<netdrv::platform::MmioAddress> {
        None
    }
    fn mmio_read8(&self, _: netdrv::platform::MmioAddress) -> u8 {
        0
    }
    fn mmio_read16(&self, _: netdrv::platform::MmioAddress) -> u16 {
        0
    }
    fn mmio_read32(&self, _: netdrv::platform::MmioAddress) -> u32 {
        0
    }
    fn mmio_write8(&self, _: netdrv::platform::MmioAddress, _: u8) {}
    fn mmio_write16(&self, _: netdrv::platform::MmioAddress, _: u16) {}
    fn mmio_write32(&self, _: netdrv::platform::MmioAddress, _: u32) {}
    fn dma_alloc(&self, _: usize) -> Option<netdrv::platform::DmaRegion> {
        None
    }
    fn msi_message(&self, _: netdrv::platform::InterruptKind) -> Option<netdrv::platform::MsiMessage> {
        None
    }
    fn config_changes(&self) -> u32 {
        0
    }
    fn now_ns(&self) -> u64 {
        0
    }
}

#[test]
fn the_scan_ends_on_a_maze_of_bridges() {
    assert!(pci::scan(&Bridges).is_empty());
    assert!(matches!(Transport::open(Bridges, FakeMachine::address(0)), Err(DeviceError::NoModernInterface)));
}
