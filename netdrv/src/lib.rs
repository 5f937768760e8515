//! Everything that touches hardware: the ring-0 platform of the unikernel, PCI, virtqueues, and the
//! virtio-net, virtio-vsock and virtio-rng drivers. The crate's README has the layers and the feature table.
#![cfg_attr(not(test), no_std)]

extern crate alloc;
/// For `tests/support`, which unit tests share.
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
