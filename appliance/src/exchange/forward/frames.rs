//! Finds the boundaries of WebSocket frames (RFC 6455 §5.2).

/// A close frame with status 1001, going away (§7.4.1), unmasked as a server sends it.
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// The same frame as a client sends it, masked with `key` (§5.3).
pub(super) fn going_away_masked(key: u32) -> [u8; 8] {
    let [fin, len, high, low] = GOING_AWAY;
    let [a, b, c, d] = key.to_be_bytes();
    [fin, len | MASKED, a, b, c, d, high ^ a, low ^ b]
}

const MASKED: u8 = 0x80;
/// The longest header: two bytes, eight of length, four of masking key.
const HEADER_MAX: usize = 14;

/// Tracks the frames in one direction of a connection. Keeps nothing of the payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameTracker {
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// Payload bytes of the current frame still to come.
    payload_left: u64,
}

impl FrameTracker {
    /// Whether the stream is at a frame boundary.
    pub(super) fn at_boundary(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// Advances over the next bytes of the stream.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let n = bytes.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                self.payload_left -= n as u64;
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            if let Some(place) = self.header.get_mut(self.header_len) {
                *place = first;
            }
            self.header_len += 1;
            if self.header_len >= 2 && self.header_len >= self.whole_header() {
                self.payload_left = self.payload_len();
                self.header_len = 0;
            }
        }
    }

    /// Length of the header, given its first two bytes.
    fn whole_header(&self) -> usize {
        let key = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        key + match self.header[1] & !MASKED {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_len(&self) -> u64 {
        let [_, len, rest @ ..] = &self.header;
        let [a, b, c, d, e, f, g, h, ..] = *rest;
        match len & !MASKED {
            126 => u16::from_be_bytes([a, b]).into(),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            len => len.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(masked: bool, len: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut out = vec![0x82];
        match len {
            0..126 => out.push(mask | len as u8),
            126..65_536 => {
                out.push(mask | 126);
                out.extend((len as u16).to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(vec![0xff; len + if masked { 4 } else { 0 }]);
        out
    }

    proptest! {
        /// However the stream is cut, boundaries are found exactly where frames end.
        #[test]
        fn ends_are_found(lens in prop::collection::vec(prop_oneof![0_usize..200, 65_500_usize..65_600], 1..6), masked: bool, piece in 1_usize..70_000) {
            let frames: Vec<Vec<u8>> = lens.iter().map(|&len| frame(masked, len)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |end, f| { *end += f.len(); Some(*end) }).collect();
            let (all, mut follower, mut at) = (frames.concat(), FrameTracker::default(), 0);
            prop_assert!(follower.at_boundary());
            for part in all.chunks(piece) {
                follower.advance(part);
                at += part.len();
                prop_assert_eq!(follower.at_boundary(), ends.contains(&at));
            }
        }

        #[test]
        fn arbitrary_bytes_can_be_tracked(bytes: Vec<u8>) {
            FrameTracker::default().advance(&bytes);
        }
    }

    #[test]
    fn a_masked_close_frame_says_the_same() {
        let [fin, len, a, b, _, _, x, y] = going_away_masked(0x0102_0304);
        assert_eq!([fin, len & !MASKED, x ^ a, y ^ b], GOING_AWAY);
        let mut follower = FrameTracker::default();
        follower.advance(&going_away_masked(7));
        follower.advance(&GOING_AWAY);
        assert!(follower.at_boundary());
    }
}
