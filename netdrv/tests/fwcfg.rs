//! QEMU's `fw_cfg` against a fake device, good and bad.

mod support;

use netdrv::fwcfg::{FwCfg, FwCfgError, FwCfgPorts};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use support::{DMA_OFFSET, FakeMachine};

#[derive(Default)]
struct Device {
    /// Items by key.
    items: RefCell<Vec<(u16, Vec<u8>)>>,
    selected: Cell<(u16, usize)>,
    bytes_read: Cell<usize>,
    transfers: Cell<usize>,
    /// Value of the control word after a transfer.
    outcome: Cell<u32>,
}

#[derive(Clone, Default)]
struct Ports(Rc<Device>);

impl Ports {
    /// A device with these files.
    fn new(dma: bool, files: &[(&str, &[u8])]) -> Self {
        let ports = Self::default();
        ports.set(0, b"QEMU");
        ports.set(1, &[if dma { 3 } else { 1 }, 0, 0, 0]);
        let mut directory = (files.len() as u32).to_be_bytes().to_vec();
        for (key, (name, content)) in (0x20u16..).zip(files) {
            directory.extend((content.len() as u32).to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0; 2]);
            directory.extend(name.as_bytes());
            directory.resize(directory.len() + 56 - name.len(), 0);
            ports.set(key, content);
        }
        ports.set(0x19, &directory);
        ports
    }

    fn set(&self, key: u16, content: &[u8]) {
        let mut items = self.0.items.borrow_mut();
        items.retain(|(k, _)| *k != key);
        items.push((key, content.to_vec()));
    }

    fn next(&self) -> u8 {
        let (key, at) = self.0.selected.get();
        self.0.selected.set((key, at + 1));
        let items = self.0.items.borrow();
        items.iter().find(|(k, _)| *k == key).and_then(|(_, c)| c.get(at).copied()).unwrap_or(0)
    }
}

impl FwCfgPorts for Ports {
    fn select(&self, key: u16) {
        self.0.selected.set((key, 0));
    }

    fn read_byte(&self) -> u8 {
        self.0.bytes_read.set(self.0.bytes_read.get() + 1);
        if self.0.items.borrow().is_empty() { 0xff } else { self.next() }
    }

    fn start_dma(&self, access: u64) {
        self.0.transfers.set(self.0.transfers.get() + 1);
        let access = (access - DMA_OFFSET) as *mut u8;
        let word = |at: usize| {
            // SAFETY: the driver hands over 16 bytes of its DMA memory, which is never given back.
            u32::from_be_bytes(unsafe { access.add(at).cast::<[u8; 4]>().read() })
        };
        let (control, len) = (word(0), word(4));
        let to = u64::from(word(8)) << 32 | u64::from(word(12));
        if control & 8 != 0 {
            self.select((control >> 16) as u16);
        }
        assert_eq!(control & 7, 2, "a read");
        for at in 0..u64::from(len) {
            // SAFETY: the driver names a piece of the same memory.
            unsafe { ((to - DMA_OFFSET + at) as *mut u8).write(self.next()) };
        }
        // SAFETY: as above.
        unsafe { access.cast::<[u8; 4]>().write(self.0.outcome.get().to_be_bytes()) };
    }
}

fn open(ports: &Ports) -> FwCfg<Ports> {
    FwCfg::find(ports.clone(), &FakeMachine::new(vec![])).expect("a device")
}

#[test]
fn files_are_found_by_their_whole_name() {
    let files: &[(&str, &[u8])] =
        &[("etc/acpi/tables", b"x"), ("opt/weir/config2", b"two"), ("opt/weir/config", b"one"), ("e", b"")];
    for dma in [true, false] {
        let mut device = open(&Ports::new(dma, files));
        for (name, content) in files {
            assert_eq!(device.read(name), Ok(Some(content.to_vec())), "{name}, DMA {dma}");
        }
        assert_eq!(device.read("opt/weir/conf"), Ok(None));
        assert_eq!(device.read(""), Ok(None));
    }
}

#[test]
fn large_files_come_by_dma() {
    let content: Vec<u8> = (0..1_000_003u32).map(|n| (n / 7) as u8).collect();
    let ports = Ports::new(true, &[("opt/weir/config", &content)]);
    let mut device = open(&ports);
    let before = ports.0.bytes_read.get();
    assert_eq!(device.read("opt/weir/config"), Ok(Some(content)));
    assert_eq!(ports.0.bytes_read.get(), before, "no byte through the port");
    assert_eq!(ports.0.transfers.get(), 2 + 16, "count, entry, 64 KiB at a time");
}

#[test]
fn the_host_says_how_much_memory_there_is() {
    for dma in [true, false] {
        let ports = Ports::new(dma, &[]);
        ports.set(3, &(26u64 << 20).to_le_bytes());
        assert_eq!(open(&ports).ram_bytes(), Ok(26 << 20), "DMA {dma}");
    }
}

#[test]
fn no_device_no_signature() {
    let machine = FakeMachine::new(vec![]);
    assert!(FwCfg::find(Ports::default(), &machine).is_none());
    let ports = Ports::new(true, &[]);
    ports.set(0, b"QEMV");
    assert!(FwCfg::find(ports, &machine).is_none());
}

#[test]
fn without_dma_memory_it_is_read_by_bytes() {
    let machine = FakeMachine::new(vec![]);
    machine.limit_dma(0);
    let ports = Ports::new(true, &[("a", b"content")]);
    let mut device = FwCfg::find(ports.clone(), &machine).expect("a device");
    assert_eq!(device.read("a"), Ok(Some(b"content".to_vec())));
    assert_eq!(ports.0.transfers.get(), 0);
}

#[test]
fn a_bad_device_is_an_error() {
    let ports = Ports::new(true, &[("a", b"content")]);
    let mut device = open(&ports);
    ports.0.outcome.set(1);
    assert_eq!(device.read("a"), Err(FwCfgError::Failed));
    ports.0.outcome.set(2);
    assert_eq!(device.read("a"), Err(FwCfgError::Stuck));
    ports.0.outcome.set(0);
    ports.set(0x19, &[0xff; 4]);
    assert_eq!(device.read("a"), Err(FwCfgError::Directory(u32::MAX)));
}
