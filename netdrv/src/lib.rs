//! All hardware access: the ring-0 platform of the unikernel, PCI, virtqueues, and the drivers for virtio-net, virtio-vsock and
//! virtio-rng. The README describes the layers and the negotiated features.
#![cfg_attr(not(test), no_std)]

extern crate alloc;
/// Also used by `tests/support`.
#[cfg(test)]
extern crate self as netdrv;

pub mod dma;
pub mod entropy;
pub mod fwcfg;
pub mod mask;
pub mod net;
pub mod nic;
pub mod pci;
pub mod platform;
pub mod queue;
pub mod rng;
pub mod stream;
pub mod transport;
pub mod vsock;

#[cfg(target_os = "hermit")]
pub mod hermit;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
