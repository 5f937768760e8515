//! Feature selection, and what follows from it (virtio 1.2 §5.1.3).
//!
//! Unused features: MRG_RXBUF without GUEST_TSO4 would only lengthen every frame's header. GUEST_TSO4 requires it and lets the
//! host pass frames of 64 KiB, which helps bulk uploads only and has not been measured. MQ needs more than one core. INDIRECT
//! saves descriptors for chains, which are not used.

use super::buffers::{ETHERNET_HEADER, LARGE_CAPACITY, RX_CAPACITY};
use super::header::HEADER_LEN;
use crate::{
    nic::{NicInfo, TxOffload},
    platform::Platform,
    transport::{DeviceError, EVENT_IDX, Transport},
};
use virtio_spec::net::F;

/// The device type (§5.1.1).
pub const DEVICE_TYPE: u16 = 1;

pub(super) const CSUM: u64 = F::CSUM.bits().to_ne() as u64;
pub(super) const GUEST_CSUM: u64 = F::GUEST_CSUM.bits().to_ne() as u64;
pub(super) const MTU: u64 = F::MTU.bits().to_ne() as u64;
pub(super) const MAC: u64 = F::MAC.bits().to_ne() as u64;
pub(super) const HOST_TSO4: u64 = F::HOST_TSO4.bits().to_ne() as u64;
pub(super) const STATUS: u64 = F::STATUS.bits().to_ne() as u64;

const WANTED: u64 = EVENT_IDX | CSUM | GUEST_CSUM | MTU | MAC | HOST_TSO4 | STATUS;

/// Offsets in the device configuration (§5.1.4).
const CONFIG_MAC: u64 = 0;
const CONFIG_STATUS: u64 = 6;
const CONFIG_MTU: u64 = 10;
const STATUS_LINK_UP: u16 = 1;

const DEFAULT_MTU: u16 = 1500;
/// Minimum MTU a device may report (§5.1.4.1).
const SMALLEST_MTU: u16 = 68;
/// Maximum that fits into a receive buffer.
const LARGEST_MTU: u16 = RX_CAPACITY as u16 - (HEADER_LEN + ETHERNET_HEADER) as u16;

/// Negotiated feature bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features(u64);

impl Features {
    pub(super) fn negotiate<P: Platform>(
        transport: &mut Transport<P>,
        allowed: u64,
    ) -> Result<Self, DeviceError> {
        let chosen = transport.negotiate(WANTED & allowed)?;
        // HOST_TSO4 requires CSUM (§5.1.3.1): if a device offers it alone, neither is chosen.
        let chosen = if chosen & HOST_TSO4 != 0 && chosen & CSUM == 0 {
            transport.negotiate(WANTED & allowed & !HOST_TSO4)?
        } else {
            chosen
        };
        if chosen & MAC == 0 { Err(DeviceError::MissingFeature) } else { Ok(Self(chosen)) }
    }

    pub(super) fn has(&self, feature: u64) -> bool {
        self.0 & feature != 0
    }

    pub(super) fn bits(&self) -> u64 {
        self.0
    }

    pub(super) fn read_info<P: Platform>(&self, transport: &Transport<P>) -> Result<NicInfo, DeviceError> {
        let mtu = if self.has(MTU) {
            let offered = u16::from_le_bytes(transport.config(CONFIG_MTU)?);
            if offered < SMALLEST_MTU {
                return Err(DeviceError::BadConfiguration);
            }
            // The device must accept a smaller MTU: frames it may not send are dropped (§5.1.4.2), as on a real network.
            offered.min(LARGEST_MTU)
        } else {
            DEFAULT_MTU
        };
        Ok(NicInfo {
            mac: transport.config(CONFIG_MAC)?,
            mtu,
            tx_checksum: self.has(CSUM),
            tso4_max: self.has(HOST_TSO4).then_some(LARGE_CAPACITY - HEADER_LEN as u32),
        })
    }

    /// Whether the link is up; always true for a device without STATUS.
    pub(super) fn read_link<P: Platform>(&self, transport: &Transport<P>) -> bool {
        !self.has(STATUS)
            || transport
                .config(CONFIG_STATUS)
                .is_ok_and(|bytes| u16::from_le_bytes(bytes) & STATUS_LINK_UP != 0)
    }

    /// Limits `offload` to what was negotiated and to checksums inside the frame.
    #[inline]
    pub(super) fn allowed_offload(&self, offload: TxOffload, len: usize) -> TxOffload {
        let inside = |start: u16, offset: u16| usize::from(start) + usize::from(offset) + 2 <= len;
        let checksum = offload.checksum.filter(|at| self.has(CSUM) && inside(at.start, at.offset));
        let tso4_segment = offload.tso4_segment.filter(|_| self.has(HOST_TSO4) && checksum.is_some());
        TxOffload { checksum, tso4_segment }
    }
}
