//! Everything that touches hardware: the ring-0 platform of the unikernel, PCI, virtqueues, and the
//! virtio-net, virtio-vsock and virtio-rng drivers.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod nic;
pub mod stream;
