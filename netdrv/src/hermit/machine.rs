//! The machine as seen by a program: devices, clock, and waiting.

use super::{
    clock::Clock,
    random::Entropy,
    ring0::{NoApic, Ring0},
};
use crate::{
    net::{self, VirtioNet},
    pci::{self, PciFunction},
    platform::Platform,
    rng::{self, VirtioRng},
    transport::DeviceError,
    vsock::{self, VirtioVsock},
};
use core::sync::atomic::{AtomicBool, Ordering};

/// The network card of this machine.
pub type Net = VirtioNet<Ring0>;
/// The stream transport of this machine.
pub type Vsock = VirtioVsock<Ring0>;

/// QEMU's `fw_cfg` device of this machine.
pub type FwCfg = crate::fwcfg::FwCfg<super::FwCfgPorts>;

/// Maximum duration of a halt in nanoseconds if a device has no interrupts and must be polled.
const POLL_INTERVAL_NS: u64 = 1_000_000;

/// Why the machine is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// [`Machine::start`] was called before.
    AlreadyStarted,
    /// The local APIC's registers could not be mapped.
    NoApic,
    /// There is neither a virtio network card nor a virtio socket device.
    NoDevices,
    /// There is no virtio network card, or it has been taken.
    NoNic,
    /// There is no virtio socket device, or it has been taken.
    NoVsock,
    /// The network card cannot be driven.
    Nic(DeviceError),
    /// The socket device cannot be driven.
    Vsock(DeviceError),
}

/// The started machine.
#[derive(Debug)]
pub struct Machine {
    ring0: Ring0,
    nic: Result<Net, StartError>,
    vsock: Result<Vsock, StartError>,
    entropy: Entropy,
    polled: bool,
}

impl Machine {
    /// Takes the machine over from the kernel and initialises the first virtio-net, virtio-vsock and virtio-rng device on the PCI
    /// bus. A missing or broken device is reported when it is requested; only a machine with neither network card nor socket
    /// device is rejected here.
    pub fn start() -> Result<Self, StartError> {
        static STARTED: AtomicBool = AtomicBool::new(false);
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(StartError::AlreadyStarted);
        }
        let ring0 = Ring0::take_over().map_err(|NoApic| StartError::NoApic)?;
        let functions = pci::scan(&ring0);
        let find = |kind: u16| {
            functions.iter().find(|f| f.virtio_type() == Some(kind)).map(|f: &PciFunction| f.address)
        };
        let (nic_at, vsock_at) = (find(net::DEVICE_TYPE), find(vsock::DEVICE_TYPE));
        if nic_at.is_none() && vsock_at.is_none() {
            return Err(StartError::NoDevices);
        }
        let nic =
            nic_at.ok_or(StartError::NoNic).and_then(|at| VirtioNet::new(ring0, at).map_err(StartError::Nic));
        let vsock = vsock_at
            .ok_or(StartError::NoVsock)
            .and_then(|at| VirtioVsock::new(ring0, at).map_err(StartError::Vsock));
        let device = find(rng::DEVICE_TYPE).and_then(|at| VirtioRng::new(ring0, at).ok());
        let entropy = Entropy::start(ring0, device);
        let polled = nic.as_ref().is_ok_and(|nic| !nic.has_interrupts())
            || vsock.as_ref().is_ok_and(|vsock| !vsock.has_interrupts());
        Ok(Self { ring0, nic, vsock, entropy, polled })
    }

    /// Takes the network card.
    pub fn take_nic(&mut self) -> Result<Net, StartError> {
        core::mem::replace(&mut self.nic, Err(StartError::NoNic))
    }

    /// Takes the stream transport.
    pub fn take_vsock(&mut self) -> Result<Vsock, StartError> {
        core::mem::replace(&mut self.vsock, Err(StartError::NoVsock))
    }

    /// Monotonic time and the wall clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.ring0.clock()
    }

    /// The random number generator.
    #[must_use]
    pub fn entropy(&self) -> Entropy {
        self.entropy
    }

    /// QEMU's `fw_cfg` device; `None` if the machine has none.
    #[must_use]
    pub fn fw_cfg(&self) -> Option<FwCfg> {
        FwCfg::find(super::FwCfgPorts, &self.ring0)
    }

    /// The platform, for drivers of other devices.
    #[must_use]
    pub fn platform(&self) -> Ring0 {
        self.ring0
    }

    /// Halts until a device interrupt, or until `deadline_ns` on [`Clock::now_ns`] if that is earlier; may return early. No
    /// wake-up is lost if every device's `arm` has returned true since it was last polled: an interrupt since then ends the halt
    /// at once.
    pub fn wait(&mut self, deadline_ns: Option<u64>) {
        let deadline_ns = if self.polled {
            let poll_at = self.ring0.now_ns() + POLL_INTERVAL_NS;
            Some(deadline_ns.map_or(poll_at, |deadline| deadline.min(poll_at)))
        } else {
            deadline_ns
        };
        self.ring0.wait(deadline_ns);
    }
}
