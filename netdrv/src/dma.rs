//! Buffers shared with a device, owned by exactly one place at a time.
//!
//! A buffer is moved into a [`crate::queue::SplitQueue`] and comes back when the device has used it. **The rule**: a device may
//! write to memory it was once given at any later time, even after it has reported that it is done. So there are never references
//! to such memory ([`InBuffer`]): bytes are copied to private memory first, and checks use the copy. A driver reads every byte of
//! a packet once, the header before the payload.
//!
//! Memory that a device only reads ([`OutBuffer`]) is written in place. A device that writes there violates more than a protocol:
//! it could write anywhere in memory. No decision depends on what is read back from it.

use crate::platform::DmaRegion;
use core::ptr::NonNull;

/// A buffer that a queue can hold: [`InBuffer`] or [`OutBuffer`].
pub trait DmaBuffer: From<Memory> {
    /// Whether the device writes to it.
    const DEVICE_WRITES: bool;

    /// Its address as seen by the device.
    fn device_address(&self) -> u64;

    /// Its size in bytes.
    fn capacity(&self) -> u32;
}

/// A piece of device-shared memory, owned like a `Box<[u8]>` but never freed.
#[derive(Debug)]
pub struct Memory {
    address: NonNull<u8>,
    device_address: u64,
    capacity: u32,
}

// SAFETY: the buffer is plain memory owned by this value alone; nothing in it is tied to a thread.
unsafe impl Send for Memory {}
// SAFETY: a shared reference only allows reading from the memory, by volatile accesses.
unsafe impl Sync for Memory {}

/// A buffer that a device writes. The device may change its content at any time.
#[derive(Debug)]
pub struct InBuffer(Memory);

/// A buffer that a device only reads.
#[derive(Debug)]
pub struct OutBuffer(Memory);

impl From<Memory> for InBuffer {
    fn from(memory: Memory) -> Self {
        Self(memory)
    }
}

impl From<Memory> for OutBuffer {
    fn from(memory: Memory) -> Self {
        Self(memory)
    }
}

impl DmaBuffer for InBuffer {
    const DEVICE_WRITES: bool = true;

    fn device_address(&self) -> u64 {
        self.0.device_address
    }

    fn capacity(&self) -> u32 {
        self.0.capacity
    }
}

impl DmaBuffer for OutBuffer {
    const DEVICE_WRITES: bool = false;

    fn device_address(&self) -> u64 {
        self.0.device_address
    }

    fn capacity(&self) -> u32 {
        self.0.capacity
    }
}

/// An unaligned word.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Word(u64);

const WORD: usize = size_of::<Word>();
/// Words copied per loop iteration, the best number according to `hermit::copy`.
const TURN: usize = 8;

impl InBuffer {
    /// Copies the bytes at `at` to `to`, reading each byte once. False, with nothing copied, if the buffer is too short.
    #[inline]
    #[must_use]
    pub fn copy_out(&self, at: usize, to: &mut [u8]) -> bool {
        if self.place(at, to.len()).is_none() {
            return false;
        }
        let mut offset = at;
        let mut turns = to.chunks_exact_mut(TURN * WORD);
        for turn in &mut turns {
            let words: [u64; TURN] = core::array::from_fn(|i| self.word(offset + i * WORD));
            for (piece, word) in turn.chunks_exact_mut(WORD).zip(words) {
                piece.copy_from_slice(&word.to_ne_bytes());
            }
            offset += TURN * WORD;
        }
        let mut words = turns.into_remainder().chunks_exact_mut(WORD);
        for piece in &mut words {
            piece.copy_from_slice(&self.word(offset).to_ne_bytes());
            offset += WORD;
        }
        for byte in words.into_remainder() {
            // SAFETY: the offset is inside the buffer, as `place` has shown for all of `to`.
            *byte = unsafe { self.0.address.add(offset).read_volatile() };
            offset += 1;
        }
        #[cfg(test)]
        hook::after_read(self, at, to.len());
        true
    }

    /// The current `N` bytes at `at`; `None` if the buffer is too short.
    #[inline]
    #[must_use]
    pub fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy_out(at, &mut bytes).then_some(bytes)
    }

    /// Writes bytes at `at` for the device to read. False, with nothing written, if the buffer is too short.
    #[must_use]
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.place(at, bytes.len()) else { return false };
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: as many bytes are inside the buffer behind `place`.
            unsafe { place.add(i).write_volatile(*byte) };
        }
        true
    }

    /// Zeroes the first `len` bytes, or all if there are fewer.
    #[inline]
    pub fn clear(&mut self, len: usize) {
        for at in 0..len.min(self.0.capacity as usize) {
            // SAFETY: `at` is less than the capacity.
            unsafe { self.0.address.add(at).write_volatile(0) };
        }
    }

    /// The eight bytes at `offset`, which must be inside the buffer (checked with `place`).
    #[inline]
    fn word(&self, offset: usize) -> u64 {
        debug_assert!(self.place(offset, WORD).is_some());
        // SAFETY: inside the buffer, says the caller; `Word` has no alignment; volatile, because the device may write meanwhile.
        let Word(word) = unsafe { self.0.address.add(offset).cast::<Word>().read_volatile() };
        word
    }

    /// Pointer to `len` bytes starting at `at`, if they are inside the buffer.
    #[inline]
    fn place(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        let end = at.checked_add(len)?;
        // SAFETY: `at` is at most the capacity, so that the pointer stays inside the buffer or points at its end.
        (end <= self.0.capacity as usize).then(|| unsafe { self.0.address.add(at) })
    }
}

impl OutBuffer {
    /// Its bytes, for writing.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: address and capacity describe initialised memory that this value owns (see `split`), which is borrowed
        // mutably; a device does not write to it (see the top).
        unsafe { core::slice::from_raw_parts_mut(self.0.address.as_ptr(), self.0.capacity as usize) }
    }
}

impl DmaRegion {
    /// Cuts the region into as many buffers of `size` bytes as fit; the remainder is unused.
    pub fn split<B: DmaBuffer>(self, size: u32) -> impl Iterator<Item = B> {
        let count = if size == 0 { 0 } else { self.len() / size as usize };
        (0..count).map(move |index| {
            let offset = index * size as usize;
            B::from(Memory {
                // SAFETY: offset + size is at most the region's length, so the pointer stays inside it.
                address: unsafe { self.as_ptr().add(offset) },
                device_address: self.device_address() + offset as u64,
                capacity: size,
            })
        })
    }
}

/// Lets tests simulate a device that writes right after a read.
#[cfg(test)]
pub(crate) mod hook {
    use super::{DmaBuffer as _, InBuffer};
    use std::cell::RefCell;

    /// Called with the device address and length of a read.
    type Hook = Box<dyn FnMut(u64, usize)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Calls `hook` after every read of device-writable memory on this thread.
    pub(crate) fn set(hook: impl FnMut(u64, usize) + 'static) {
        HOOK.set(Some(Box::new(hook)));
    }

    pub(super) fn after_read(buffer: &InBuffer, at: usize, len: usize) {
        HOOK.with_borrow_mut(|hook| {
            if let Some(hook) = hook {
                hook(buffer.device_address() + at as u64, len);
            }
        });
    }
}

#[cfg(test)]
#[path = "dma_tests.rs"]
mod tests;
