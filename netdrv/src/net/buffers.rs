//! Buffers of the network card.

use super::header::HEADER_LEN;
use crate::{
    dma::{DmaBuffer as _, InBuffer, OutBuffer},
    platform::{DmaRegion, Platform},
    transport::DeviceError,
};
use alloc::{boxed::Box, vec, vec::Vec};

/// Number of receive buffers, each for a header and an Ethernet frame of up to 2036 bytes.
pub(super) const RX_BUFFERS: usize = 256;
pub(super) const RX_CAPACITY: u32 = 2048;
/// Number of transmit buffers for ordinary frames.
const SMALL_BUFFERS: usize = 256;
pub(super) const SMALL_CAPACITY: u32 = 2048;
/// Number of transmit buffers for frames that the card segments.
const LARGE_BUFFERS: usize = 16;
pub(super) const LARGE_CAPACITY: u32 = 65_536;
/// Destination, source and type; anything shorter is not a frame.
pub(super) const ETHERNET_HEADER: usize = 14;

/// Memory for the receive buffers.
pub(super) fn rx_region<P: Platform>(platform: &P) -> Result<DmaRegion, DeviceError> {
    platform.dma_alloc(RX_BUFFERS * RX_CAPACITY as usize).ok_or(DeviceError::NoMemory)
}

/// Maximum number of received frames held at a time. The data plane holds one.
pub(super) const HELD_FRAMES: usize = 8;

/// A received frame, copied from the card's buffer to private memory. The card's buffer is kept with it until
/// [`crate::nic::Nic::recycle`], so that a card that reports the same buffer twice is detected. Dropping the frame instead loses
/// a receive buffer for good.
#[derive(Debug)]
pub struct RxBuffer {
    bytes: Box<[u8]>,
    len: usize,
    from: Option<InBuffer>,
}

impl RxBuffer {
    /// The maximum number of frames.
    pub(super) fn pool() -> Vec<Self> {
        let buffer = || Self {
            bytes: vec![0; RX_CAPACITY as usize - HEADER_LEN].into_boxed_slice(),
            len: 0,
            from: None,
        };
        (0..HELD_FRAMES).map(|_| buffer()).collect()
    }

    /// Copies a frame of `len` bytes from a card's buffer; returns the buffer if it is shorter.
    #[inline]
    pub(super) fn fill(&mut self, from: InBuffer, len: usize) -> Result<(), InBuffer> {
        if !self.bytes.get_mut(..len).is_some_and(|bytes| from.copy_out(HEADER_LEN, bytes)) {
            return Err(from);
        }
        (self.len, self.from) = (len, Some(from));
        Ok(())
    }

    /// Takes the card's buffer out.
    pub(super) fn take(&mut self) -> Option<InBuffer> {
        self.len = 0;
        self.from.take()
    }
}

impl AsRef<[u8]> for RxBuffer {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for RxBuffer {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// Transmit buffers that are not with the card.
#[derive(Debug)]
pub(super) struct TxPool {
    small: Vec<OutBuffer>,
    large: Vec<OutBuffer>,
}

impl TxPool {
    pub(super) fn new<P: Platform>(platform: &P, with_large: bool) -> Result<Self, DeviceError> {
        let buffers = |count: usize, size: u32| {
            let region = platform.dma_alloc(count * size as usize).ok_or(DeviceError::NoMemory)?;
            Ok::<Vec<_>, DeviceError>(region.split(size).take(count).collect())
        };
        Ok(Self {
            small: buffers(SMALL_BUFFERS, SMALL_CAPACITY)?,
            large: if with_large { buffers(LARGE_BUFFERS, LARGE_CAPACITY)? } else { Vec::new() },
        })
    }

    pub(super) fn small(&self) -> usize {
        self.small.len()
    }

    pub(super) fn large(&self) -> usize {
        self.large.len()
    }

    /// Whether there is no suitable buffer for this many bytes, including the header.
    pub(super) fn is_short(&self, whole: usize) -> bool {
        if whole <= SMALL_CAPACITY as usize { self.small.is_empty() } else { self.large.is_empty() }
    }

    pub(super) fn take(&mut self, whole: usize) -> Option<OutBuffer> {
        if whole <= SMALL_CAPACITY as usize { self.small.pop() } else { self.large.pop() }
    }

    /// Never grows a list, because every buffer came from it.
    pub(super) fn put(&mut self, buffer: OutBuffer) {
        if buffer.capacity() <= SMALL_CAPACITY { self.small.push(buffer) } else { self.large.push(buffer) }
    }
}
