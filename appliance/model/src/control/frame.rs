//! Frames of the control connection, for both ends.

use super::message::{FRAME_HEAD, FRAME_MAX, PREAMBLE};
use alloc::vec::Vec;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::{Zeroize as _, Zeroizing};

/// Why a control connection cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The peer does not speak this protocol.
    NotWeir,
    /// The peer speaks this version of the protocol.
    Version(u16),
    /// A frame of this many bytes, which exceeds [`FRAME_MAX`].
    TooLong(u32),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotWeir => f.write_str("the peer does not speak Weir's control protocol"),
            Self::Version(version) => {
                write!(
                    f,
                    "the peer speaks version {version} of the control protocol, this is {}",
                    super::VERSION
                )
            }
            Self::TooLong(len) => write!(f, "a frame of {len} bytes, expected at most {FRAME_MAX}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Reassembles messages from a byte stream. Holds at most one frame and the bytes last passed to
/// [`Decoder::push`]. Held bytes are overwritten afterwards, since they may include private keys.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    greeted: bool,
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let mut larger = Vec::with_capacity(needed.next_power_of_two());
            larger.extend_from_slice(&self.buffer);
            core::mem::replace(&mut self.buffer, larger).zeroize();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Number of bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next message; `None` if it is incomplete. The inner `None` is a message that cannot be decoded,
    /// which does not affect later ones.
    pub fn next_message<M: DeserializeOwned>(&mut self) -> Result<Option<Option<M>>, FrameError> {
        if !self.greeted {
            let known = self.buffer.len().min(PREAMBLE.len());
            if self.buffer[..known.min(4)] != PREAMBLE[..known.min(4)] {
                return Err(FrameError::NotWeir);
            }
            let Some((preamble, _)) = self.buffer.split_first_chunk::<{ PREAMBLE.len() }>() else {
                return Ok(None);
            };
            if *preamble != PREAMBLE {
                return Err(FrameError::Version(u16::from_le_bytes([preamble[4], preamble[5]])));
            }
            self.buffer.drain(..PREAMBLE.len());
            self.greeted = true;
        }
        let Some((head, rest)) = self.buffer.split_first_chunk::<FRAME_HEAD>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head);
        if len as usize > FRAME_MAX {
            return Err(FrameError::TooLong(len));
        }
        let Some(payload) = rest.get(..len as usize) else { return Ok(None) };
        let message = match postcard::take_from_bytes(payload) {
            Ok((message, [])) => Some(message),
            _ => None,
        };
        let end = FRAME_HEAD + len as usize;
        if end == self.buffer.len() {
            self.buffer.zeroize();
        } else {
            self.buffer[..end].zeroize();
            self.buffer.drain(..end);
        }
        Ok(Some(message))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

/// Appends a message as a frame. False, with nothing appended, if it is longer than [`FRAME_MAX`].
pub fn encode(message: &impl Serialize, out: &mut Vec<u8>) -> bool {
    let Ok(payload) = postcard::to_allocvec(message).map(Zeroizing::new) else { return false };
    let Some(len) = u32::try_from(payload.len()).ok().filter(|len| *len as usize <= FRAME_MAX) else {
        return false;
    };
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&payload);
    true
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ask, Request};
    use super::*;
    use crate::id::PoolId;
    use std::vec;

    fn stream() -> (Vec<Ask>, Vec<u8>) {
        let asks = vec![
            Ask { id: 1, request: Request::Supervise },
            Ask { id: 70_000, request: Request::Pools(PoolId(3)) },
            Ask { id: 3, request: Request::Status },
        ];
        let mut bytes = PREAMBLE.to_vec();
        assert!(asks.iter().all(|ask| encode(ask, &mut bytes)));
        (asks, bytes)
    }

    #[test]
    fn messages_survive_any_cut() {
        let (asks, bytes) = stream();
        for cut in 0..=bytes.len() {
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(piece);
                while let Some(message) = decoder.next_message::<Ask>().unwrap() {
                    got.push(message.unwrap());
                }
            }
            assert_eq!(got, asks);
            assert_eq!(decoder.held(), 0);
        }
    }

    #[test]
    fn errors_are_distinguished() {
        let next = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            decoder.next_message::<Ask>()
        };
        assert_eq!(next(b"GET / HTTP/1.1"), Err(FrameError::NotWeir));
        assert_eq!(next(b"G"), Err(FrameError::NotWeir), "at the first byte");
        assert_eq!(next(b"WEIR\x02\x01"), Err(FrameError::Version(0x102)));
        let frame = |len: u32, payload: &[u8]| [&PREAMBLE[..], &len.to_le_bytes(), payload].concat();
        assert_eq!(next(&frame(FRAME_MAX as u32 + 1, &[])), Err(FrameError::TooLong(FRAME_MAX as u32 + 1)));
        assert_eq!(next(&frame(FRAME_MAX as u32, &[0; 10])), Ok(None));
        assert_eq!(next(&frame(0, &[])), Ok(Some(None)), "empty");
        assert_eq!(next(&frame(2, &[1, 99])), Ok(Some(None)), "no such request");
        assert_eq!(next(&frame(4, &[1, 0, 0, 0])), Ok(Some(None)), "something behind the message");
    }

    #[test]
    fn arbitrary_bytes_give_a_result() {
        proptest::proptest!(|(bytes: Vec<u8>, greeted: bool)| {
            let mut decoder = Decoder::default();
            if greeted {
                decoder.push(&PREAMBLE);
            }
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_message::<Ask>() {}
        });
    }
}
