//! The device side of a split virtqueue, written from the specification's layout, not from the driver's.

use super::DMA_OFFSET;

/// A buffer made available by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub id: u16,
    pub address: u64,
    pub len: u32,
    pub writable: bool,
}

impl Chain {
    fn pointer(&self) -> *mut u8 {
        (self.address - DMA_OFFSET) as *mut u8
    }

    /// The data the driver sends.
    pub fn read(&self) -> Vec<u8> {
        assert!(!self.writable, "the driver sends from a writable buffer");
        let mut bytes = vec![0; self.len as usize];
        // SAFETY: the driver gave us these bytes of a region that is never freed.
        unsafe { self.pointer().copy_to(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }

    /// Copies without allocating; returns how many bytes the driver sent.
    pub fn read_into(&self, bytes: &mut [u8]) -> usize {
        let n = bytes.len().min(self.len as usize);
        // SAFETY: as in `read`.
        unsafe { self.pointer().copy_to(bytes.as_mut_ptr(), n) };
        self.len as usize
    }

    /// Writes received data, truncated to the buffer.
    pub fn write(&self, bytes: &[u8]) {
        assert!(self.writable, "the driver receives into a read-only buffer");
        let n = bytes.len().min(self.len as usize);
        // SAFETY: as in `read`, and writable.
        unsafe { self.pointer().copy_from(bytes.as_ptr(), n) };
    }
}

#[derive(Debug)]
pub struct DeviceQueue {
    max_size: u16,
    pub size: u16,
    pub vector: u16,
    pub enabled: u16,
    addresses: [u64; 3],
    event_idx: bool,
    next_avail: u16,
    pub used_idx: u16,
    /// Whether an interrupt would have been raised since the last check.
    pub interrupts: u32,
}

impl DeviceQueue {
    pub fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            vector: 0xffff,
            enabled: 0,
            addresses: [0; 3],
            event_idx: false,
            next_avail: 0,
            used_idx: 0,
            interrupts: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.max_size);
    }

    pub(super) fn configure(&mut self, at: u64, value: u32, event_idx: bool) {
        match at {
            24 => self.size = value as u16,
            26 => self.vector = value as u16,
            28 => {
                assert_eq!(
                    self.addresses[0] % 16 + self.addresses[1] % 2 + self.addresses[2] % 4,
                    0,
                    "alignment"
                );
                self.event_idx = event_idx;
                self.enabled = value as u16;
            }
            32..56 => {
                let (index, half) = ((at - 32) / 8, (at - 32) % 8 * 8);
                let address = &mut self.addresses[index as usize];
                *address = *address & !(0xffff_ffff << half) | u64::from(value) << half;
            }
            _ => panic!("write to queue register {at}"),
        }
    }

    fn half(&self, part: usize, at: u64) -> *mut u16 {
        (self.addresses[part] - DMA_OFFSET + at) as *mut u16
    }

    fn load(&self, part: usize, at: u64) -> u16 {
        assert_eq!(self.enabled, 1, "the queue is not enabled");
        // SAFETY: an enabled queue's parts lie in a region that is never freed; callers stay inside them.
        unsafe { self.half(part, at).read_volatile() }
    }

    fn store(&self, part: usize, at: u64, value: u16) {
        assert_eq!(self.enabled, 1, "the queue is not enabled");
        // SAFETY: as in `load`.
        unsafe { self.half(part, at).write_volatile(value) };
    }

    /// Number of buffers that are available and not taken.
    pub fn available(&self) -> u16 {
        self.load(1, 2).wrapping_sub(self.next_avail)
    }

    /// Takes the next available buffer.
    pub fn take(&mut self) -> Option<Chain> {
        if self.available() == 0 {
            return None;
        }
        let id = self.load(1, 4 + 2 * u64::from(self.next_avail % self.size));
        self.next_avail = self.next_avail.wrapping_add(1);
        let at = u64::from(id) * 16;
        let words: [u64; 4] = std::array::from_fn(|i| u64::from(self.load(0, at + 2 * i as u64)));
        let flags = self.load(0, at + 12);
        assert_eq!(flags & !2, 0, "one descriptor a buffer");
        Some(Chain {
            id,
            address: words[0] | words[1] << 16 | words[2] << 32 | words[3] << 48,
            len: u32::from(self.load(0, at + 8)) | u32::from(self.load(0, at + 10)) << 16,
            writable: flags & 2 != 0,
        })
    }

    /// Returns a buffer.
    pub fn complete(&mut self, id: u16, len: u32) {
        self.write_used(u32::from(id), len);
        self.set_used_idx(self.used_idx.wrapping_add(1));
    }

    /// Writes a used element without publishing it.
    pub fn write_used(&self, id: u32, len: u32) {
        let at = 4 + 8 * u64::from(self.used_idx % self.size);
        for (i, half) in
            [id as u16, (id >> 16) as u16, len as u16, (len >> 16) as u16].into_iter().enumerate()
        {
            self.store(2, at + 2 * i as u64, half);
        }
    }

    /// Advances the used index, and records whether an interrupt is due.
    pub fn set_used_idx(&mut self, index: u16) {
        let old = std::mem::replace(&mut self.used_idx, index);
        self.store(2, 2, index);
        let due = if self.event_idx {
            let event = self.load(1, 4 + 2 * u64::from(self.size));
            index.wrapping_sub(event).wrapping_sub(1) < index.wrapping_sub(old)
        } else {
            self.load(1, 0) & 1 == 0
        };
        self.interrupts += u32::from(due);
    }

    /// Sets whether, and from which index, notifications are requested.
    pub fn want_notification(&self, wanted: bool) {
        if self.event_idx {
            let index = if wanted { self.next_avail } else { self.next_avail.wrapping_sub(1) };
            self.store(2, 4 + 8 * u64::from(self.size), index);
        } else {
            self.store(2, 0, u16::from(!wanted));
        }
    }

    /// Receives a packet into the next buffer, if there is one.
    pub fn deliver(&mut self, bytes: &[u8]) -> bool {
        let Some(chain) = self.take() else { return false };
        chain.write(bytes);
        self.complete(chain.id, bytes.len() as u32);
        true
    }

    /// Takes and completes everything sent.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chain) = self.take() {
            all.push(chain.read());
            self.complete(chain.id, 0);
        }
        all
    }
}
