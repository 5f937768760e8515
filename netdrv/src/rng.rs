//! virtio-rng, the entropy device (virtio 1.2 §5.4): one queue, one buffer.

use crate::{
    dma::InBuffer,
    platform::{PciAddress, Platform},
    queue::{QueueError, SplitQueue},
    transport::{DeviceError, Doorbell, Transport},
};

/// The device type (§5.4.1).
pub const DEVICE_TYPE: u16 = 4;
/// Maximum number of bytes per request.
pub const MAX_REQUEST: usize = 256;

const REQUEST_QUEUE: u16 = 0;
const QUEUE_SIZE: u16 = 4;

/// The driver. Use [`VirtioRng::request`] and [`VirtioRng::take`]; nothing blocks.
#[derive(Debug)]
pub struct VirtioRng<P: Platform> {
    transport: Transport<P>,
    queue: SplitQueue<InBuffer>,
    doorbell: Doorbell,
    /// `None` while it is with the device.
    buffer: Option<InBuffer>,
    failed: bool,
}

impl<P: Platform> VirtioRng<P> {
    /// Initialises the device. No feature is needed.
    pub fn new(platform: P, function: PciAddress) -> Result<Self, DeviceError> {
        let mut transport = Transport::open(platform, function)?;
        transport.negotiate(0)?;
        let queue = transport.create_queue(REQUEST_QUEUE, QUEUE_SIZE)?;
        let region = transport.platform().dma_alloc(MAX_REQUEST).ok_or(DeviceError::NoMemory)?;
        let buffer = region.split(MAX_REQUEST as u32).next();
        let doorbell = transport.enable_queue(REQUEST_QUEUE, &queue)?;
        transport.start();
        Ok(Self { transport, queue, doorbell, buffer, failed: false })
    }

    /// Requests up to `len` bytes (at most [`MAX_REQUEST`]). False if a request is pending or the device failed.
    pub fn request(&mut self, len: usize) -> bool {
        if self.failed {
            return false;
        }
        let Some(buffer) = self.buffer.take() else { return false };
        if let Err(buffer) = self.queue.push(buffer, len.clamp(1, MAX_REQUEST) as u32) {
            self.buffer = Some(buffer);
            return false;
        }
        if self.queue.publish() {
            self.doorbell.ring(self.transport.platform());
        }
        true
    }

    /// Whether a request is pending.
    pub fn pending(&self) -> bool {
        !self.failed && self.buffer.is_none()
    }

    /// Takes the result, if available: copies it to the start of `into`, erases it, and returns its length (at least 1, at most
    /// the requested number; bytes that do not fit are dropped). A device that violates the protocol is reset and stays off.
    pub fn take(&mut self, into: &mut [u8]) -> Result<Option<usize>, QueueError> {
        if self.failed {
            return Ok(None);
        }
        match self.queue.pop() {
            Ok(None) => Ok(None),
            Ok(Some((mut buffer, written))) => {
                // The queue guarantees that `written` does not exceed the buffer's capacity.
                let taken = (written as usize).min(into.len());
                let copied = buffer.copy_out(0, &mut into[..taken]);
                buffer.clear(written as usize);
                self.buffer = Some(buffer);
                Ok((copied && taken > 0).then_some(taken))
            }
            Err(error) => {
                self.failed = true;
                // Even if the reset fails: its memory is never used for anything else.
                let _ = self.transport.reset();
                Err(error)
            }
        }
    }
}
