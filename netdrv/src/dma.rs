//! Buffers that a device reads or writes, owned by exactly one place at a time.
//!
//! A [`DmaBuffer`] is moved into a [`crate::queue::SplitQueue`] and comes back when the device has used it, so the
//! program cannot touch a buffer that is the device's. A device that breaks the protocol may still write into a
//! buffer it has given back: its content is then garbage, as it would be had the device sent garbage, and every
//! header is copied out once before it is checked.

use crate::platform::DmaRegion;
use core::ptr::NonNull;

/// A piece of device-shared memory, owned like a `Box<[u8]>` but never freed.
#[derive(Debug)]
pub struct DmaBuffer {
    address: NonNull<u8>,
    device_address: u64,
    capacity: u32,
}

// SAFETY: the buffer is plain memory owned by this value alone; nothing in it is tied to a thread.
unsafe impl Send for DmaBuffer {}
// SAFETY: a shared reference only gives read access to the memory.
unsafe impl Sync for DmaBuffer {}

impl DmaBuffer {
    /// Where the device sees the buffer.
    #[must_use]
    pub fn device_address(&self) -> u64 {
        self.device_address
    }

    /// Its size in bytes.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Its bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: address and capacity describe initialised memory that this value owns (see `split`).
        unsafe { core::slice::from_raw_parts(self.address.as_ptr(), self.capacity as usize) }
    }

    /// Its first four bytes as they are now, for waiting until the device changes them.
    #[must_use]
    pub fn load_u32(&self) -> u32 {
        if self.capacity < 4 {
            return 0;
        }
        // SAFETY: as in `as_slice`, and there are four bytes; volatile, because the device writes them.
        u32::from_ne_bytes(unsafe { self.address.cast::<[u8; 4]>().as_ptr().read_volatile() })
    }

    /// Its bytes, for writing.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the value is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.address.as_ptr(), self.capacity as usize) }
    }
}

impl DmaRegion {
    /// Cuts the region into as many buffers of `size` bytes as fit; what is left over is lost.
    pub fn split(self, size: u32) -> impl Iterator<Item = DmaBuffer> {
        let count = if size == 0 { 0 } else { self.len() / size as usize };
        (0..count).map(move |index| {
            let offset = index * size as usize;
            DmaBuffer {
                // SAFETY: offset + size is at most the region's length, so the pointer stays inside it.
                address: unsafe { self.as_ptr().add(offset) },
                device_address: self.device_address() + offset as u64,
                capacity: size,
            }
        })
    }
}
