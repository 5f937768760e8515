//! Interface of a network card to the layer above it.
//!
//! The data plane uses [`Nic`]; [`crate`] implements it for virtio-net, tests and the simulator for queues in memory.

use crate::transport::Faults;

/// What a card can do, fixed once it has been initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicInfo {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes, without the Ethernet header.
    pub mtu: u16,
    /// The card completes TCP and UDP checksums of frames sent with [`TxOffload::checksum`].
    pub tx_checksum: bool,
    /// Maximum length of an IPv4 TCP frame, including the Ethernet header, that the card segments itself (virtio `HOST_TSO4`);
    /// `None` if it cannot.
    pub tso4_max: Option<u32>,
}

/// A received frame. The caller owns its buffer until it is returned with [`Nic::recycle`]. The card limits how many can be held
/// at a time, at least one.
#[derive(Debug)]
pub struct RxFrame<B> {
    /// The Ethernet frame, without any device header.
    pub buffer: B,
    /// The card (or the host) has verified the TCP or UDP checksum, or vouches for it.
    pub checksum_verified: bool,
}

/// Work left to the card for a sent frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxOffload {
    /// Complete the transport checksum. The checksum field must hold the folded pseudo-header sum.
    pub checksum: Option<ChecksumOffload>,
    /// Cut the frame into segments with this many bytes of TCP payload each (IPv4 only; needs `checksum`).
    pub tso4_segment: Option<u16>,
}

/// Where the checksum of a sent frame starts and is stored (virtio 1.2 §5.1.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumOffload {
    /// Offset of the transport header in the frame, in bytes.
    pub start: u16,
    /// Offset of the checksum field from `start`, in bytes (TCP: 16, UDP: 6).
    pub offset: u16,
}

/// The transmit queue has no room; try again after [`Nic::tx_room`] reports some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxFull;

/// An Ethernet device with preallocated buffers. No call allocates, blocks or waits for the device.
pub trait Nic {
    /// Buffer of a received frame: memory that the card can no longer change.
    type RxBuffer: AsRef<[u8]> + AsMut<[u8]>;

    /// The card's properties.
    fn info(&self) -> NicInfo;

    /// Whether the link is up (always true if the card does not report it).
    fn link_up(&self) -> bool;

    /// Protocol violations of the card since the start.
    fn faults(&self) -> Faults {
        Faults::default()
    }

    /// Takes the next received frame, if there is one and not too many are held.
    fn receive(&mut self) -> Option<RxFrame<Self::RxBuffer>>;

    /// Returns a received frame's buffer.
    fn recycle(&mut self, buffer: Self::RxBuffer);

    /// How many frames [`Nic::transmit`] accepts now without [`TxFull`].
    fn tx_room(&self) -> usize;

    /// How many frames of `len` bytes [`Nic::transmit`] accepts now; for frames to be segmented, which have separate, fewer
    /// buffers.
    fn tx_room_for(&self, len: usize) -> usize {
        let _ = len;
        self.tx_room()
    }

    /// Queues one frame of `len` bytes (Ethernet header included): `fill` writes it in place and says what
    /// is left to the card. `len` is at most `mtu + 14`, or `tso4_max` for a frame to be segmented; a longer
    /// one is refused with [`TxFull`]. The device may learn of it only at [`Nic::flush`].
    fn transmit<R>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> (R, TxOffload),
    ) -> Result<R, TxFull>;

    /// Tells the device of everything queued and recycled since the last call: at most one notification per queue. Where there
    /// was no room left, frames that the device has sent meanwhile make some.
    fn flush(&mut self);

    /// Asks for an interrupt at the next received frame and, if the caller waits for it or [`Nic::transmit`] was
    /// refused, at the next frame that leaves the transmit queue. Returns false if work came in or room was freed
    /// meanwhile, in which case the caller must poll again rather than halt.
    fn arm(&mut self, wait_for_room: bool) -> bool;
}
