//! The card's buffers.

use super::header::HEADER_LEN;
use crate::{
    dma::DmaBuffer,
    platform::{DmaRegion, Platform},
    transport::DeviceError,
};
use alloc::vec::Vec;

/// Receive buffers, and the size of each: header, an Ethernet frame of up to 2036 bytes.
pub(super) const RX_BUFFERS: usize = 256;
pub(super) const RX_CAPACITY: u32 = 2048;
/// Transmit buffers for ordinary frames.
const SMALL_BUFFERS: usize = 256;
pub(super) const SMALL_CAPACITY: u32 = 2048;
/// Transmit buffers for frames the card cuts up.
const LARGE_BUFFERS: usize = 16;
pub(super) const LARGE_CAPACITY: u32 = 65_536;
/// Destination, source and type; a frame without them is not one.
pub(super) const ETHERNET_HEADER: usize = 14;

/// Memory for the receive buffers.
pub(super) fn rx_region<P: Platform>(platform: &P) -> Result<DmaRegion, DeviceError> {
    platform.dma_alloc(RX_BUFFERS * RX_CAPACITY as usize).ok_or(DeviceError::NoMemory)
}

/// A received frame in the buffer the card wrote. Dropping it instead of giving it back with
/// [`crate::nic::Nic::recycle`] leaves the card one receive buffer poorer for good.
#[derive(Debug)]
pub struct RxBuffer {
    buffer: DmaBuffer,
    len: u32,
}

impl RxBuffer {
    /// `len` is at most the buffer's capacity minus the header: the queue has checked it.
    pub(super) fn new(buffer: DmaBuffer, len: usize) -> Self {
        Self { buffer, len: len as u32 }
    }

    pub(super) fn into_inner(self) -> DmaBuffer {
        self.buffer
    }
}

impl AsRef<[u8]> for RxBuffer {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.buffer.as_slice()[HEADER_LEN..][..self.len as usize]
    }
}

impl AsMut<[u8]> for RxBuffer {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut_slice()[HEADER_LEN..][..self.len as usize]
    }
}

/// Transmit buffers that are not with the card.
#[derive(Debug)]
pub(super) struct TxPool {
    small: Vec<DmaBuffer>,
    large: Vec<DmaBuffer>,
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

    /// Whether there is no buffer of the fitting kind for this many bytes, header included.
    pub(super) fn is_short(&self, whole: usize) -> bool {
        if whole <= SMALL_CAPACITY as usize { self.small.is_empty() } else { self.large.is_empty() }
    }

    pub(super) fn take(&mut self, whole: usize) -> Option<DmaBuffer> {
        if whole <= SMALL_CAPACITY as usize { self.small.pop() } else { self.large.pop() }
    }

    /// Never grows a list: every buffer came from it.
    pub(super) fn put(&mut self, buffer: DmaBuffer) {
        if buffer.capacity() <= SMALL_CAPACITY { self.small.push(buffer) } else { self.large.push(buffer) }
    }
}
