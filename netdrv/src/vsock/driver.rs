//! The device below the streams: queues and buffers, resets, and the event queue.

use super::packet::HEADER_LEN;
use super::{
    FIRST_EPHEMERAL_PORT, MAX_LISTENERS, MAX_RESETS, State, VirtioVsock, VsockErrors,
    queues::{Queues, Side},
    table::Table,
    transmit::Sender,
};
use crate::{
    dma::{DmaBuffer, InBuffer},
    platform::{PciAddress, Platform},
    queue::QueueError,
    transport::{DeviceError, EVENT_IDX, Transport},
};
use alloc::vec::Vec;
use virtio_spec::vsock::{EventId, F};

const RX_QUEUE: u16 = 0;
const TX_QUEUE: u16 = 1;
const EVENT_QUEUE: u16 = 2;
const QUEUE_SIZE: u16 = 128;
const EVENT_QUEUE_SIZE: u16 = 8;

/// Receive buffers: header and up to 16,340 bytes of payload each.
const RX_BUFFERS: usize = 16;
const RX_CAPACITY: u32 = 16 * 1024;
const EVENT_BUFFERS: usize = 4;
const EVENT_CAPACITY: u32 = 64;
/// `struct virtio_vsock_event` is one le32 (§5.10.6.7).
const EVENT_LEN: u32 = 4;

const STREAM: u64 = F::STREAM.bits().to_ne() as u64;

fn buffers<P: Platform>(platform: &P, count: usize, size: u32) -> Result<Vec<InBuffer>, DeviceError> {
    let region = platform.dma_alloc(count * size as usize).ok_or(DeviceError::NoMemory)?;
    Ok(region.split(size).take(count).collect())
}

/// Creates a queue; the device uses it only once started.
fn side<P: Platform, B: DmaBuffer>(
    index: u16,
    size: u16,
    event_idx: bool,
    transport: &mut Transport<P>,
) -> Result<Side<B>, DeviceError> {
    let mut queue = transport.create_queue(index, size)?;
    let doorbell = transport.enable_queue(index, &queue)?;
    queue.restart(event_idx, |_| ());
    Ok(Side { queue, doorbell })
}

impl<P: Platform> VirtioVsock<P> {
    /// Initialises the device and gives it its receive buffers.
    pub fn new(platform: P, function: PciAddress) -> Result<Self, DeviceError> {
        Self::with_features(platform, function, u64::MAX)
    }

    /// Like [`VirtioVsock::new`], but uses only the optional features in `allowed`.
    pub fn with_features(platform: P, function: PciAddress, allowed: u64) -> Result<Self, DeviceError> {
        let mut transport = Transport::open(platform, function)?;
        let features = transport.negotiate((EVENT_IDX | STREAM) & allowed)?;
        let cid = read_cid(&transport)?;
        let event_idx = features & EVENT_IDX != 0;
        let mut queues = Queues {
            rx: side(RX_QUEUE, QUEUE_SIZE, event_idx, &mut transport)?,
            tx: side(TX_QUEUE, QUEUE_SIZE, event_idx, &mut transport)?,
            events: side(EVENT_QUEUE, EVENT_QUEUE_SIZE, event_idx, &mut transport)?,
        };
        for buffer in buffers(transport.platform(), RX_BUFFERS, RX_CAPACITY)? {
            let _ = queues.rx.queue.push(buffer, RX_CAPACITY);
        }
        for buffer in buffers(transport.platform(), EVENT_BUFFERS, EVENT_CAPACITY)? {
            let _ = queues.events.queue.push(buffer, EVENT_CAPACITY);
        }
        let sender = Sender::new(transport.platform())?;
        transport.start();
        queues.publish(transport.platform());
        let now_ns = transport.platform().now_ns();
        Ok(Self {
            config_seen: transport.platform().config_changes(),
            // Varies, so that a peer that outlived our last boot does not mistake this one for it.
            next_port: FIRST_EPHEMERAL_PORT | (now_ns as u32 & 0xffff) << 8,
            transport,
            features,
            cid,
            queues,
            sender,
            table: Table::new(),
            listeners: Vec::with_capacity(MAX_LISTENERS),
            now_ns,
            state: State::Running,
            errors: VsockErrors::default(),
        })
    }

    pub(super) fn broken(&mut self, error: QueueError) {
        self.errors.ring += 1;
        self.errors.last = Some(error);
        self.state = State::NeedsReset;
    }

    /// Resets a device that violated the protocol or requested it. All streams are lost.
    #[cold]
    pub(super) fn recover(&mut self) {
        self.drop_all_streams();
        self.errors.resets += 1;
        if self.errors.resets <= MAX_RESETS && self.restart().is_ok() {
            self.state = State::Running;
        } else {
            self.state = State::Dead;
            // Even if the reset fails: its buffers are never used for anything else.
            let _ = self.transport.reset();
        }
    }

    fn restart(&mut self) -> Result<(), DeviceError> {
        let features = self.transport.negotiate(self.features)?;
        if features != self.features {
            return Err(DeviceError::MissingFeature);
        }
        self.cid = read_cid(&self.transport)?;
        let event_idx = features & EVENT_IDX != 0;
        let Self { queues, sender, transport, .. } = self;
        queues.tx.queue.restart(event_idx, |buffer| sender.put(buffer));
        queues.tx.doorbell = transport.enable_queue(TX_QUEUE, &queues.tx.queue)?;
        let mut kept = Vec::with_capacity(RX_BUFFERS);
        for (index, side) in [(RX_QUEUE, &mut queues.rx), (EVENT_QUEUE, &mut queues.events)] {
            side.queue.restart(event_idx, |buffer| kept.push(buffer));
            side.doorbell = transport.enable_queue(index, &side.queue)?;
            for mut buffer in kept.drain(..) {
                buffer.clear(HEADER_LEN);
                let len = buffer.capacity();
                let _ = side.queue.push(buffer, len);
            }
        }
        self.transport.start();
        self.queues.publish(self.transport.platform());
        Ok(())
    }

    /// Handles the event queue (§5.10.6.7).
    pub(super) fn take_events(&mut self) {
        self.queues.events.queue.disarm();
        loop {
            match self.queues.events.queue.pop() {
                Ok(Some((buffer, written))) => {
                    let id = buffer.read(0).map(u32::from_le_bytes);
                    let len = buffer.capacity();
                    let _ = self.queues.events.queue.push(buffer, len);
                    if written >= EVENT_LEN && id == Some(EventId::TransportReset as u32) {
                        self.drop_all_streams();
                        // The context identifier may have changed (§5.10.6.7.1).
                        match read_cid(&self.transport) {
                            Ok(cid) => self.cid = cid,
                            Err(_) => self.state = State::NeedsReset,
                        }
                    } else {
                        self.errors.malformed += 1;
                    }
                }
                Ok(None) => return,
                Err(error) => return self.broken(error),
            }
        }
    }

    /// Handles a configuration change, if an interrupt reported one.
    pub(super) fn look_at_config(&mut self) {
        let changes = self.transport.platform().config_changes();
        let changed = changes != self.config_seen || !self.transport.has_interrupts();
        self.config_seen = changes;
        if changed && self.state == State::Running && self.transport.needs_reset() {
            self.state = State::NeedsReset;
        }
    }
}

/// Our context identifier (§5.10.4); 0 to 2 and the all-ones wildcard are never a guest's.
fn read_cid<P: Platform>(transport: &Transport<P>) -> Result<u32, DeviceError> {
    match u32::try_from(u64::from_le_bytes(transport.config(0)?)) {
        Ok(cid @ 3..=0xffff_fffe) => Ok(cid),
        _ => Err(DeviceError::BadConfiguration),
    }
}
