//! An in-memory network card that does the offloaded work of a real one.

use netdrv::nic::{Nic, NicInfo, RxFrame, TxFull, TxOffload};
use std::collections::VecDeque;

/// The appliance's hardware address.
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const TX_SLOTS: usize = 64;

/// Frames waiting in both directions.
pub struct SimNic {
    info: NicInfo,
    received: VecDeque<Vec<u8>>,
    /// Buffers for transmitted frames, so that sending allocates as little as with a real card.
    spare: Vec<Vec<u8>>,
    /// Received frames that have been handled. Not freed here, where the appliance's heap use is measured.
    recycled: Vec<Vec<u8>>,
    pub sent: VecDeque<Vec<u8>>,
}

impl SimNic {
    /// A card with or without checksum and segmentation offload.
    pub fn new(offload: bool) -> Self {
        let tso4_max = offload.then_some(16 << 10);
        let info = NicInfo { mac: MAC, mtu: 1500, tx_checksum: offload, tso4_max };
        let spare = (0..2 * TX_SLOTS).map(|_| Vec::with_capacity(16 << 10)).collect();
        Self {
            info,
            received: VecDeque::with_capacity(4096),
            spare,
            recycled: Vec::with_capacity(4096),
            sent: VecDeque::with_capacity(2 * TX_SLOTS),
        }
    }

    /// Frees the handled frames.
    pub fn free_recycled(&mut self) {
        self.recycled.clear();
    }

    /// A transmitted frame has arrived, so its buffer can be reused.
    pub fn take_back(&mut self, frame: Vec<u8>) {
        if self.spare.len() < 2 * TX_SLOTS {
            self.spare.push(frame);
        }
    }

    /// A frame arrives.
    pub fn deliver(&mut self, frame: Vec<u8>) {
        self.received.push_back(frame);
    }
}

impl Nic for SimNic {
    type RxBuffer = Vec<u8>;

    fn info(&self) -> NicInfo {
        self.info
    }

    fn link_up(&self) -> bool {
        true
    }

    fn receive(&mut self) -> Option<RxFrame<Vec<u8>>> {
        Some(RxFrame { buffer: self.received.pop_front()?, checksum_verified: false })
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.recycled.push(frame);
    }

    fn tx_room(&self) -> usize {
        TX_SLOTS - self.sent.len().min(TX_SLOTS)
    }

    fn transmit<R>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> (R, TxOffload),
    ) -> Result<R, TxFull> {
        let max = self.info.tso4_max.map_or(1514, |max| max as usize);
        if self.tx_room() == 0 || len > max {
            return Err(TxFull);
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.resize(len, 0);
        let (result, offload) = fill(&mut frame);
        assert!(offload.tso4_segment.is_some() || len <= 1514, "an oversized frame without segmentation");
        match offload.tso4_segment {
            Some(segment) => self.sent.extend(cut(&frame, usize::from(segment))),
            None => {
                if let Some(checksum) = offload.checksum {
                    complete(&mut frame, checksum.start.into(), checksum.offset.into());
                }
                self.sent.push_back(frame);
            }
        }
        Ok(result)
    }

    fn flush(&mut self) {}

    fn arm(&mut self, _: bool) -> bool {
        self.received.is_empty()
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Completes a checksum whose field contains the pseudo-header sum (virtio 1.2 §5.1.6.2).
fn complete(frame: &mut [u8], start: usize, offset: usize) {
    let checksum = !fold(sum(&frame[start..]));
    frame[start + offset..start + offset + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Segments an IPv4 TCP frame like a card with HOST_TSO4.
fn cut(frame: &[u8], segment: usize) -> Vec<Vec<u8>> {
    let ip = 14;
    let tcp = ip + usize::from(frame[ip] & 15) * 4;
    let payload = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    let seq = u32::from_be_bytes(frame[tcp + 4..tcp + 8].try_into().expect("four bytes"));
    let pieces: Vec<&[u8]> = frame[payload..].chunks(segment).collect();
    let last = pieces.len() - 1;
    let mut offset = 0u32;
    pieces
        .iter()
        .enumerate()
        .map(|(i, piece)| {
            let mut out = [&frame[..payload], piece].concat();
            let ip_len = (out.len() - ip) as u16;
            out[ip + 2..ip + 4].copy_from_slice(&ip_len.to_be_bytes());
            out[ip + 10..ip + 12].fill(0);
            let header = !fold(sum(&out[ip..tcp]));
            out[ip + 10..ip + 12].copy_from_slice(&header.to_be_bytes());
            out[tcp + 4..tcp + 8].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
            if i != last {
                out[tcp + 13] &= !0b1001; // FIN and PSH belong to the last segment
            }
            let pseudo = sum(&out[ip + 12..ip + 20]) + 6 + (out.len() - tcp) as u64;
            out[tcp + 16..tcp + 18].copy_from_slice(&fold(pseudo).to_be_bytes());
            complete(&mut out, tcp, 16);
            offset = offset.wrapping_add(piece.len() as u32);
            out
        })
        .collect()
}
