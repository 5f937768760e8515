//! virtio-net (virtio 1.2 §5.1) as a [`Nic`].
//!
//! Every buffer is one descriptor: the 12-byte device header, then the frame. Received frames are copied out of the device's
//! buffer before anything examines them, each byte read once (see [`crate::dma`]); sent frames are written in place. There are
//! 256 receive and 256 transmit buffers of 2 KiB, and 16 of 64 KiB if the card segments TCP frames: at most 2 MiB.

mod buffers;
mod features;
mod header;

pub use buffers::RxBuffer;
pub use features::DEVICE_TYPE;

use crate::{
    dma::{DmaBuffer, InBuffer, OutBuffer},
    nic::{Nic, NicInfo, RxFrame, TxFull, TxOffload},
    platform::{PciAddress, Platform},
    queue::{QueueError, SplitQueue},
    transport::{DeviceError, Doorbell, EVENT_IDX, Faults, Transport},
};
use alloc::vec::Vec;
use buffers::{
    ETHERNET_HEADER, HELD_FRAMES, LARGE_CAPACITY, RX_BUFFERS, RX_CAPACITY, SMALL_CAPACITY, TxPool,
};
use features::Features;
use header::HEADER_LEN;

const RX_QUEUE: u16 = 0;
const TX_QUEUE: u16 = 1;
const QUEUE_SIZE: u16 = 256;
/// Maximum number of resets because of protocol violations; then the device is given up.
const MAX_RESETS: u32 = 16;

/// Errors since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetErrors {
    /// Used rings corrupted by the device; each caused a reset.
    pub ring: u64,
    /// The last such error.
    pub last: Option<QueueError>,
    /// Received frames dropped because they were shorter than an Ethernet header, or in a format that was not negotiated.
    pub rx_malformed: u64,
    /// Resets because of ring errors, or at the device's request.
    pub resets: u32,
}

/// The driver.
#[derive(Debug)]
pub struct VirtioNet<P: Platform> {
    transport: Transport<P>,
    features: Features,
    info: NicInfo,
    rx: Side<InBuffer>,
    tx: Side<OutBuffer>,
    /// Buffers for received frames that are not held by anyone.
    rx_free: Vec<RxBuffer>,
    tx_pool: TxPool,
    /// Length of a frame rejected for lack of room, for which a freed buffer is awaited; 0 if none.
    tx_starved: usize,
    link_up: bool,
    config_seen: u32,
    state: State,
    errors: NetErrors,
}

#[derive(Debug)]
struct Side<B> {
    queue: SplitQueue<B>,
    doorbell: Doorbell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The device violated the protocol or requested a reset; the next call resets it.
    NeedsReset,
    /// Given up: no frames are received or sent.
    Dead,
}

impl<B: DmaBuffer> Side<B> {
    fn publish<P: Platform>(&mut self, platform: &P) {
        if self.queue.publish() {
            self.doorbell.ring(platform);
        }
    }
}

impl<P: Platform> VirtioNet<P> {
    /// Initialises the card and gives it its receive buffers.
    pub fn new(platform: P, function: PciAddress) -> Result<Self, DeviceError> {
        Self::with_features(platform, function, u64::MAX)
    }

    /// Like [`VirtioNet::new`], but uses only the optional features in `allowed` (feature bits as in §5.1.3 and
    /// §6). For tests and for measuring what a feature is worth.
    pub fn with_features(platform: P, function: PciAddress, allowed: u64) -> Result<Self, DeviceError> {
        let mut transport = Transport::open(platform, function)?;
        let features = Features::negotiate(&mut transport, allowed)?;
        let info = features.read_info(&transport)?;
        let rx_queue = transport.create_queue(RX_QUEUE, QUEUE_SIZE)?;
        let tx_queue = transport.create_queue(TX_QUEUE, QUEUE_SIZE)?;
        let tx_pool = TxPool::new(transport.platform(), features.has(features::HOST_TSO4))?;
        let rx_buffers = buffers::rx_region(transport.platform())?;
        let rx_doorbell = transport.enable_queue(RX_QUEUE, &rx_queue)?;
        let tx_doorbell = transport.enable_queue(TX_QUEUE, &tx_queue)?;
        let config_seen = transport.platform().config_changes();
        let mut card = Self {
            link_up: features.read_link(&transport),
            config_seen,
            features,
            info,
            rx: Side { queue: rx_queue, doorbell: rx_doorbell },
            tx: Side { queue: tx_queue, doorbell: tx_doorbell },
            rx_free: RxBuffer::pool(),
            tx_pool,
            tx_starved: 0,
            state: State::Running,
            errors: NetErrors::default(),
            transport,
        };
        let event_idx = card.features.has(EVENT_IDX);
        card.rx.queue.restart(event_idx, |_| ());
        card.tx.queue.restart(event_idx, |_| ());
        for buffer in rx_buffers.split(RX_CAPACITY).take(RX_BUFFERS) {
            // A device with a smaller queue gets fewer buffers.
            if card.rx.queue.push(buffer, RX_CAPACITY).is_err() {
                break;
            }
        }
        card.transport.start();
        card.rx.publish(card.transport.platform());
        Ok(card)
    }

    /// Whether the card raises interrupts; if not, it has to be polled.
    pub fn has_interrupts(&self) -> bool {
        self.transport.has_interrupts()
    }

    /// Errors since the start.
    pub fn errors(&self) -> NetErrors {
        self.errors
    }

    /// The negotiated feature bits.
    pub fn features(&self) -> u64 {
        self.features.bits()
    }

    /// Whether the card has been given up.
    pub fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    fn broken(&mut self, error: QueueError) {
        self.errors.ring += 1;
        self.errors.last = Some(error);
        self.state = State::NeedsReset;
    }

    /// Whether the card works, after a reset if necessary.
    #[inline]
    fn ready(&mut self) -> bool {
        match self.state {
            State::Running => true,
            State::NeedsReset => self.recover(),
            State::Dead => false,
        }
    }

    #[cold]
    fn recover(&mut self) -> bool {
        self.errors.resets += 1;
        let restarted = self.errors.resets <= MAX_RESETS && self.restart().is_ok();
        self.state = if restarted { State::Running } else { State::Dead };
        if !restarted {
            self.link_up = false;
            // Even if the reset fails: its buffers are never used for anything else.
            let _ = self.transport.reset();
        }
        restarted
    }

    /// Resets the card and restarts it with the same buffers. Frames in the queues are lost.
    fn restart(&mut self) -> Result<(), DeviceError> {
        let features = Features::negotiate(&mut self.transport, self.features.bits())?;
        // The layer above relies on these values: a device that changes them is unusable.
        if features != self.features || features.read_info(&self.transport)? != self.info {
            return Err(DeviceError::MissingFeature);
        }
        let event_idx = features.has(EVENT_IDX);
        let Self { rx, tx, tx_pool, transport, .. } = self;
        let mut rx_buffers = Vec::with_capacity(RX_BUFFERS);
        rx.queue.restart(event_idx, |buffer| rx_buffers.push(buffer));
        tx.queue.restart(event_idx, |buffer| tx_pool.put(buffer));
        rx.doorbell = transport.enable_queue(RX_QUEUE, &rx.queue)?;
        tx.doorbell = transport.enable_queue(TX_QUEUE, &tx.queue)?;
        for buffer in rx_buffers {
            let _ = rx.queue.push(buffer, RX_CAPACITY);
        }
        transport.start();
        rx.publish(transport.platform());
        self.link_up = self.features.read_link(&self.transport);
        Ok(())
    }

    /// Reclaims the buffers of sent frames.
    #[inline]
    fn reclaim(&mut self) {
        loop {
            match self.tx.queue.pop() {
                Ok(Some((buffer, _))) => self.tx_pool.put(buffer),
                Ok(None) => return,
                Err(error) => return self.broken(error),
            }
        }
    }

    /// Reads the device configuration again after a configuration change interrupt.
    fn look_at_config(&mut self) {
        let changes = self.transport.platform().config_changes();
        if changes == self.config_seen && self.transport.has_interrupts() {
            return;
        }
        self.config_seen = changes;
        if self.transport.needs_reset() {
            self.state = State::NeedsReset;
        } else {
            self.link_up = self.features.read_link(&self.transport);
        }
    }
}

impl<P: Platform> Nic for VirtioNet<P> {
    type RxBuffer = RxBuffer;

    fn info(&self) -> NicInfo {
        self.info
    }

    fn link_up(&self) -> bool {
        self.link_up
    }

    fn faults(&self) -> Faults {
        let NetErrors { ring, last, rx_malformed, resets } = self.errors;
        Faults { resets, ring_errors: ring, last, given_up: self.is_dead(), dropped: rx_malformed }
    }

    fn receive(&mut self) -> Option<RxFrame<RxBuffer>> {
        if !self.ready() {
            return None;
        }
        self.rx.queue.disarm();
        let mut frame = self.rx_free.pop()?;
        loop {
            match self.rx.queue.pop() {
                Ok(Some((buffer, written))) => {
                    let header = buffer.read(0).and_then(|bytes| header::read_rx(&bytes));
                    let len =
                        (written as usize).checked_sub(HEADER_LEN).filter(|&len| len >= ETHERNET_HEADER);
                    let rest = match (header, len) {
                        (Some(header), Some(len)) => match frame.fill(buffer, len) {
                            Ok(()) => {
                                let trusted = self.features.has(features::GUEST_CSUM);
                                let checksum_verified = trusted && header.checksum_verified;
                                return Some(RxFrame { buffer: frame, checksum_verified });
                            }
                            Err(buffer) => buffer,
                        },
                        _ => buffer,
                    };
                    self.errors.rx_malformed += 1;
                    let _ = self.rx.queue.push(rest, RX_CAPACITY);
                }
                Ok(None) => {
                    self.rx_free.push(frame);
                    // Once per round: the data plane ends every round of receiving here.
                    self.reclaim();
                    return None;
                }
                Err(error) => {
                    self.rx_free.push(frame);
                    self.broken(error);
                    return None;
                }
            }
        }
    }

    fn recycle(&mut self, mut buffer: RxBuffer) {
        if let Some(buffer) = buffer.take() {
            let len = buffer.capacity().min(RX_CAPACITY);
            // There is room for every buffer of this card; one of another card may not fit and is dropped.
            let _ = self.rx.queue.push(buffer, len);
        }
        // Never grows the list.
        if self.rx_free.len() < HELD_FRAMES {
            self.rx_free.push(buffer);
        }
    }

    fn tx_room(&self) -> usize {
        match self.state {
            State::Running => self.tx_pool.small().min(self.tx.queue.room()),
            _ => 0,
        }
    }

    fn tx_room_for(&self, len: usize) -> usize {
        match self.state {
            State::Running if len > SMALL_CAPACITY as usize - HEADER_LEN => {
                self.tx_pool.large().min(self.tx.queue.room())
            }
            _ => self.tx_room(),
        }
    }

    fn transmit<R>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> (R, TxOffload),
    ) -> Result<R, TxFull> {
        if !self.ready() || len < ETHERNET_HEADER {
            return Err(TxFull);
        }
        let whole = len.saturating_add(HEADER_LEN);
        if whole > LARGE_CAPACITY as usize {
            return Err(TxFull);
        }
        if self.tx_pool.is_short(whole) || self.tx.queue.room() == 0 {
            self.reclaim();
        }
        let taken = if self.tx.queue.room() == 0 { None } else { self.tx_pool.take(whole) };
        let Some(mut buffer) = taken else {
            self.tx_starved = len;
            return Err(TxFull);
        };
        let (head, frame) = buffer.as_mut_slice()[..whole].split_at_mut(HEADER_LEN);
        let (result, offload) = fill(frame);
        header::write_tx(head, frame, &self.features.allowed_offload(offload, len));
        match self.tx.queue.push(buffer, whole as u32) {
            Ok(()) => Ok(result),
            Err(buffer) => {
                self.tx_pool.put(buffer);
                Err(TxFull)
            }
        }
    }

    fn flush(&mut self) {
        if self.ready() {
            self.rx.publish(self.transport.platform());
            self.tx.publish(self.transport.platform());
            // A caller that stops receiving for lack of transmit room never reaches the reclaim in `receive`.
            if self.tx_room() == 0 {
                self.reclaim();
            }
        }
    }

    fn arm(&mut self, wait_for_room: bool) -> bool {
        self.look_at_config();
        match self.state {
            State::Dead => return true,
            State::NeedsReset => {
                self.recover();
                return false;
            }
            State::Running => {}
        }
        let before = (self.tx_room(), self.tx_pool.large());
        self.reclaim();
        if wait_for_room && before != (self.tx_room(), self.tx_pool.large()) {
            return false;
        }
        if self.tx_starved != 0 && self.tx_room_for(self.tx_starved) > 0 {
            self.tx_starved = 0;
            return false;
        }
        let mut idle = self.rx.queue.arm();
        let tx_empty = self.tx_room() == 0 || (self.info.tso4_max.is_some() && self.tx_pool.large() == 0);
        if wait_for_room || self.tx_starved != 0 || tx_empty {
            idle &= self.tx.queue.arm();
        } else {
            self.tx.queue.disarm();
        }
        idle && self.state == State::Running
    }
}
