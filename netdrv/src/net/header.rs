//! The header before every frame (virtio 1.2 §5.1.6, `virtio_net_hdr`).

use crate::nic::TxOffload;
use virtio_spec::net::{Hdr, HdrF, HdrGso};

/// Length with VERSION_1, whether or not buffers are merged.
pub(super) const HEADER_LEN: usize = size_of::<Hdr>();

const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;

/// Content of a received header.
#[derive(Clone, Copy, Debug)]
pub(super) struct RxHeader {
    /// The host has checked the transport checksum, or the frame never left the host and has none yet: either way
    /// it need not be verified (§5.1.6.4.1).
    pub(super) checksum_verified: bool,
}

/// Parses a received header; `None` if it uses a feature that was not negotiated.
#[inline]
pub(super) fn read_rx(header: &[u8; HEADER_LEN]) -> Option<RxHeader> {
    let (flags, gso) = (header[FLAGS], header[GSO_TYPE]);
    if gso != u8::from(HdrGso::None) {
        return None;
    }
    let good = HdrF::DATA_VALID.bits() | HdrF::NEEDS_CSUM.bits();
    Some(RxHeader { checksum_verified: flags & good != 0 })
}

/// Writes the header of a frame to send (§5.1.6.2). For segmentation, the length of the frame's headers is taken from its TCP
/// data offset.
#[inline]
pub(super) fn write_tx(head: &mut [u8], frame: &[u8], offload: &TxOffload) {
    let mut header = [0u8; HEADER_LEN];
    if let Some(checksum) = offload.checksum {
        header[FLAGS] = HdrF::NEEDS_CSUM.bits();
        header[6..8].copy_from_slice(&checksum.start.to_le_bytes());
        header[8..10].copy_from_slice(&checksum.offset.to_le_bytes());
        if let Some(segment) = offload.tso4_segment {
            let start = usize::from(checksum.start);
            let tcp_header = frame.get(start + 12).map_or(20, |&byte| usize::from(byte >> 4) * 4);
            let headers = start + tcp_header;
            // A single segment is an ordinary frame.
            if frame.len() > headers + usize::from(segment) && segment != 0 {
                header[GSO_TYPE] = HdrGso::Tcpv4.into();
                header[2..4].copy_from_slice(&(headers as u16).to_le_bytes());
                header[4..6].copy_from_slice(&segment.to_le_bytes());
            }
        }
    }
    head.copy_from_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::ChecksumOffload;

    fn written(frame: &[u8], offload: TxOffload) -> [u8; HEADER_LEN] {
        let mut head = [0xee; HEADER_LEN];
        write_tx(&mut head, frame, &offload);
        head
    }

    #[test]
    fn nothing_left_to_the_card_is_all_zeros() {
        assert_eq!(written(&[0; 60], TxOffload::default()), [0; HEADER_LEN]);
    }

    #[test]
    fn segmentation_names_header_length_and_segment() {
        let mut frame = [0u8; 4000];
        frame[34 + 12] = 8 << 4;
        let checksum = Some(ChecksumOffload { start: 34, offset: 16 });
        let head = written(&frame, TxOffload { checksum, tso4_segment: Some(1448) });
        assert_eq!(head, [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
        // A frame that is one segment only has its checksum completed.
        let head = written(&frame[..1000], TxOffload { checksum, tso4_segment: Some(1448) });
        assert_eq!(head, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]);
    }

    #[test]
    fn segmented_frames_are_refused_on_receive() {
        let mut buffer = [0; HEADER_LEN];
        assert!(read_rx(&buffer).is_some_and(|header| !header.checksum_verified));
        buffer[0] = 2;
        assert!(read_rx(&buffer).is_some_and(|header| header.checksum_verified));
        buffer[1] = 1;
        assert!(read_rx(&buffer).is_none());
    }
}
