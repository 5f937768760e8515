//! The split virtqueue (virtio 1.2 §2.7), driver side.
//!
//! Every buffer is one descriptor (header and data together), so a packet costs one descriptor, one available entry and one used
//! entry. The queue owns the buffers that are with the device, and checks everything the device writes to the used ring against
//! that record: an index that jumps, an id that is not with the device, or a length beyond the buffer is an error, after which
//! the device must be reset.

use crate::{dma::DmaBuffer, platform::DmaRegion};
use alloc::{boxed::Box, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering, fence},
};
use virtio_spec::virtq::{AvailF, Desc, DescF, UsedElem, UsedF};

/// Maximum queue size used by this driver. Devices offer up to 32768 entries (§2.7), but more brings no benefit here.
pub const MAX_QUEUE_SIZE: u16 = 256;

/// A violation in a used ring. The queue is unusable until the device is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueError {
    /// The used index advanced by more than the number of buffers with the device.
    IndexJump,
    /// A used id beyond the queue's size.
    BadId,
    /// A used id whose descriptor is not with the device: never given to it, or already completed.
    NotInFlight,
    /// More bytes written than the buffer holds.
    BadLength,
}

impl QueueError {
    /// Description for a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IndexJump => "its used index moved too far",
            Self::BadId => "it gave back a buffer that does not exist",
            Self::NotInFlight => "it gave back a buffer that it did not have",
            Self::BadLength => "it wrote more than a buffer holds",
        }
    }
}

/// Device addresses of a queue's three parts (§2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAddresses {
    /// Descriptor table, aligned to 16 bytes.
    pub descriptors: u64,
    /// Available ring ("driver area"), aligned to 2 bytes.
    pub driver: u64,
    /// Used ring ("device area"), aligned to 4 bytes.
    pub device: u64,
}

/// A split virtqueue of buffers that the device writes ([`crate::dma::InBuffer`]) or reads ([`crate::dma::OutBuffer`]).
#[derive(Debug)]
pub struct SplitQueue<B> {
    region: DmaRegion,
    descriptors: NonNull<Desc>,
    avail: NonNull<u16>,
    used: NonNull<u16>,
    size: u16,
    event_idx: bool,
    interrupts_on: bool,
    /// Next available index to fill, the published one, and the one published at the last notification.
    avail_next: u16,
    avail_published: u16,
    avail_notified: u16,
    /// Next used entry to take, and the device's used index when last read.
    used_next: u16,
    used_seen: u16,
    /// By descriptor: the buffer with the device, and how many of its bytes the device may access.
    in_flight: Box<[Option<InFlight<B>>]>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct InFlight<B> {
    buffer: B,
    len: u32,
}

// SAFETY: the pointers lead into the region, which the queue owns and which is plain memory.
unsafe impl<B: Send> Send for SplitQueue<B> {}

const DESCRIPTOR_BYTES: usize = size_of::<Desc>();
const USED_BYTES: usize = size_of::<UsedElem>();

/// Bytes of memory needed by a queue of `size` entries, including its event indices.
#[must_use]
pub fn memory_for(size: u16) -> usize {
    used_offset(size) + 4 + USED_BYTES * usize::from(size) + 2
}

fn avail_offset(size: u16) -> usize {
    DESCRIPTOR_BYTES * usize::from(size)
}

fn used_offset(size: u16) -> usize {
    (avail_offset(size) + 4 + 2 * usize::from(size) + 2).next_multiple_of(4)
}

impl<B: DmaBuffer> SplitQueue<B> {
    /// Creates a queue of `size` entries (a power of two up to [`MAX_QUEUE_SIZE`]) in `region`, which must hold [`memory_for`]
    /// that size; `None` otherwise.
    #[must_use]
    pub fn new(region: DmaRegion, size: u16) -> Option<Self> {
        if !size.is_power_of_two() || size > MAX_QUEUE_SIZE || region.len() < memory_for(size) {
            return None;
        }
        let base = region.as_ptr();
        // SAFETY: both offsets are below memory_for(size), which the region holds; the casts are aligned because
        // the region is page-aligned and the offsets are multiples of 16, 2 and 4.
        let (descriptors, avail, used) = unsafe {
            (
                base.cast::<Desc>(),
                base.add(avail_offset(size)).cast::<u16>(),
                base.add(used_offset(size)).cast::<u16>(),
            )
        };
        let mut queue = Self {
            region,
            descriptors,
            avail,
            used,
            size,
            event_idx: false,
            interrupts_on: true,
            avail_next: 0,
            avail_published: 0,
            avail_notified: 0,
            used_next: 0,
            used_seen: 0,
            in_flight: (0..size).map(|_| None).collect(),
            free: Vec::with_capacity(usize::from(size)),
        };
        queue.restart(false, |_| ());
        Some(queue)
    }

    /// Resets the queue to its initial state after a device reset, passing every buffer that was with the device to `reclaim`.
    /// Must only be called while the device is in reset.
    pub fn restart(&mut self, event_idx: bool, mut reclaim: impl FnMut(B)) {
        for slot in &mut self.in_flight {
            if let Some(InFlight { buffer, .. }) = slot.take() {
                reclaim(buffer);
            }
        }
        self.free.clear();
        self.free.extend((0..self.size).rev());
        self.event_idx = event_idx;
        (self.avail_next, self.avail_published, self.avail_notified) = (0, 0, 0);
        (self.used_next, self.used_seen) = (0, 0);
        // SAFETY: the region is valid for its length and the device, being in reset, does not use it.
        unsafe { self.region.as_ptr().write_bytes(0, memory_for(self.size)) };
        self.interrupts_on = true;
        self.disarm();
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// How many buffers can be pushed now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// How many buffers are with the device.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.size - self.free.len() as u16
    }

    /// The addresses to configure in the device.
    #[must_use]
    pub fn addresses(&self) -> QueueAddresses {
        let base = self.region.device_address();
        QueueAddresses {
            descriptors: base,
            driver: base + avail_offset(self.size) as u64,
            device: base + used_offset(self.size) as u64,
        }
    }

    /// Gives the first `len` bytes of a buffer to the device, which is told by [`SplitQueue::publish`]. If the queue is full, or
    /// `len` exceeds the buffer's capacity, the buffer is returned.
    #[inline]
    pub fn push(&mut self, buffer: B, len: u32) -> Result<(), B> {
        if len > buffer.capacity() {
            return Err(buffer);
        }
        let Some(id) = self.free.pop() else { return Err(buffer) };
        let flags = if B::DEVICE_WRITES { DescF::WRITE } else { DescF::empty() };
        let descriptor =
            Desc { addr: buffer.device_address().into(), len: len.into(), flags, next: 0.into() };
        // SAFETY: ids in `free` are below `size`, and the table has `size` entries.
        unsafe { self.descriptors.add(usize::from(id)).write_volatile(descriptor) };
        let entry = 2 + usize::from(self.avail_next & (self.size - 1));
        // SAFETY: the available ring has `size` entries after its two header words.
        unsafe { self.avail.add(entry).write_volatile(id.to_le()) };
        self.avail_next = self.avail_next.wrapping_add(1);
        self.in_flight[usize::from(id)] = Some(InFlight { buffer, len });
        Ok(())
    }

    /// Makes all pushed buffers visible to the device, and returns whether it must be notified (§2.7.13, §2.7.10).
    #[inline]
    #[must_use]
    pub fn publish(&mut self) -> bool {
        if self.avail_published == self.avail_next {
            return false;
        }
        self.avail_published = self.avail_next;
        // Release: the entries are visible before the index.
        self.word(self.avail, 1).store(self.avail_next.to_le(), Ordering::Release);
        // The index must be visible before the device's event index is read, or both sides could sleep.
        fence(Ordering::SeqCst);
        let notify = if self.event_idx {
            let after = 2 + usize::from(self.size) * (USED_BYTES / 2);
            let event = u16::from_le(self.word(self.used, after).load(Ordering::Relaxed));
            passed(event, self.avail_next, self.avail_notified)
        } else {
            u16::from_le(self.word(self.used, 0).load(Ordering::Relaxed)) & UsedF::NO_NOTIFY.bits().to_ne()
                == 0
        };
        self.avail_notified = self.avail_next;
        notify
    }

    /// Takes the next used buffer and the number of bytes written to it (0 for buffers that the device only reads, whatever it
    /// reports: §2.7.8.2 leaves it undefined).
    #[inline]
    pub fn pop(&mut self) -> Result<Option<(B, u32)>, QueueError> {
        if self.used_next == self.used_seen && !self.look()? {
            return Ok(None);
        }
        let entry = usize::from(self.used_next & (self.size - 1));
        // SAFETY: the used ring has `size` elements after its two header words, and `used` is 4-aligned.
        let element = unsafe { self.used.add(2).cast::<UsedElem>().add(entry).read_volatile() };
        let (id, written) = (element.id.to_ne(), element.len.to_ne());
        let slot = self.in_flight.get_mut(id as usize).ok_or(QueueError::BadId)?;
        let posted = slot.as_ref().ok_or(QueueError::NotInFlight)?.len;
        let written = match written {
            _ if !B::DEVICE_WRITES => 0,
            written if written > posted => return Err(QueueError::BadLength),
            written => written,
        };
        let Some(InFlight { buffer, .. }) = slot.take() else { return Err(QueueError::NotInFlight) };
        self.used_next = self.used_next.wrapping_add(1);
        self.free.push(id as u16);
        Ok(Some((buffer, written)))
    }

    /// Reads the used index; true if there is a used buffer.
    fn look(&mut self) -> Result<bool, QueueError> {
        // Acquire: the elements are read after the index.
        let seen = u16::from_le(self.word(self.used, 1).load(Ordering::Acquire));
        let ready = seen.wrapping_sub(self.used_next);
        if ready > self.in_flight() {
            return Err(QueueError::IndexJump);
        }
        self.used_seen = seen;
        Ok(ready != 0)
    }

    /// Requests an interrupt for the next used buffer. False if there is one already (or the ring is broken, which
    /// [`SplitQueue::pop`] will report): handle it instead of sleeping.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        if self.event_idx {
            let used_event = 2 + usize::from(self.size);
            self.word(self.avail, used_event).store(self.used_next.to_le(), Ordering::Relaxed);
        } else {
            self.word(self.avail, 0).store(0, Ordering::Relaxed);
        }
        self.interrupts_on = true;
        // The request must be visible before the index is read, or both sides could sleep.
        fence(Ordering::SeqCst);
        matches!(self.look(), Ok(false))
    }

    /// Tells the device that no interrupts are needed while the driver polls (a hint: §2.7.7).
    pub fn disarm(&mut self) {
        if !self.interrupts_on {
            return;
        }
        self.interrupts_on = false;
        if self.event_idx {
            // An index that was just passed: it is reached again only after 65,535 more buffers.
            let used_event = 2 + usize::from(self.size);
            self.word(self.avail, used_event)
                .store(self.used_next.wrapping_sub(1).to_le(), Ordering::Relaxed);
        } else {
            let flags = AvailF::NO_INTERRUPT.bits().to_ne().to_le();
            self.word(self.avail, 0).store(flags, Ordering::Relaxed);
        }
    }

    /// The `index`-th 16-bit word of a ring, shared with the device.
    #[inline]
    fn word(&self, ring: NonNull<u16>, index: usize) -> &AtomicU16 {
        // SAFETY: callers pass `avail` or `used` with an index inside that ring (its event word included), which
        // lies in the region; the memory is 2-aligned and only accessed atomically while the device runs.
        unsafe { AtomicU16::from_ptr(ring.add(index).as_ptr()) }
    }
}

/// Whether going from `old` to `new` passed `event` (§2.7.10, `vring_need_event`).
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// `passed` is: the event index is one of old, old+1, ..., new-1.
        #[test]
        fn passed_means_in_range(old: u16, step in 0u16..400, event: u16) {
            let new = old.wrapping_add(step);
            let in_range = (0..step).any(|i| old.wrapping_add(i) == event);
            prop_assert_eq!(passed(event, new, old), in_range);
        }
    }

    #[test]
    fn parts_do_not_overlap_and_are_aligned() {
        for size in (0..=8).map(|shift| 1u16 << shift) {
            assert!(avail_offset(size) + 6 + 2 * usize::from(size) <= used_offset(size));
            assert_eq!(used_offset(size) % 4, 0);
        }
        assert!(memory_for(MAX_QUEUE_SIZE) <= 8192);
    }
}
