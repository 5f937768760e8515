//! The packet header (virtio 1.2 §5.10.6, `virtio_vsock_hdr`).

use crate::stream::VsockAddr;
use virtio_spec::vsock::{Hdr, Op, Type};

/// Its length; the payload follows in the same buffer.
pub(super) const HEADER_LEN: usize = size_of::<Hdr>();

/// Shutdown flags (§5.10.6.6): the sender will receive no more, or send no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
pub(super) const SHUTDOWN_SEND: u32 = 2;
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// A header in native byte order, copied out of shared memory before anything in it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: VsockAddr,
    pub(super) destination: VsockAddr,
    pub(super) len: u32,
    pub(super) stream_type: bool,
    /// `None` for an unknown operation.
    pub(super) op: Option<Op>,
    pub(super) flags: u32,
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
}

impl Header {
    /// A packet without payload or flags.
    pub(super) fn new(op: Op, source: VsockAddr, destination: VsockAddr) -> Self {
        Self {
            source,
            destination,
            len: 0,
            stream_type: true,
            op: Some(op),
            flags: 0,
            buf_alloc: 0,
            fwd_cnt: 0,
        }
    }

    /// Parses a header. `None` if a context identifier is invalid (§5.10.4: the upper 32 bits are reserved and zero).
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if word(4) != 0 || word(12) != 0 {
            return None;
        }
        Some(Self {
            source: VsockAddr { cid: word(0), port: word(16) },
            destination: VsockAddr { cid: word(8), port: word(20) },
            len: word(24),
            stream_type: half(28) == Type::Stream as u16,
            op: Op::try_from(half(30)).ok(),
            flags: word(32),
            buf_alloc: word(36),
            fwd_cnt: word(40),
        })
    }

    /// Writes the header to the front of `bytes`, which must be at least [`HEADER_LEN`] long.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        let mut out = [0u8; HEADER_LEN];
        let mut put = |at: usize, value: u32| out[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, self.source.cid);
        put(8, self.destination.cid);
        put(16, self.source.port);
        put(20, self.destination.port);
        put(24, self.len);
        let kind = if self.stream_type { Type::Stream as u32 } else { 0 };
        put(28, kind | self.op.map_or(0, |op| op as u32) << 16);
        put(32, self.flags);
        put(36, self.buf_alloc);
        put(40, self.fwd_cnt);
        bytes[..HEADER_LEN].copy_from_slice(&out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(cids: (u32, u32), ports: (u32, u32), len: u32, op in 0u16..8, rest: (u32, u32, u32)) {
            let header = Header {
                source: VsockAddr { cid: cids.0, port: ports.0 },
                destination: VsockAddr { cid: cids.1, port: ports.1 },
                len,
                stream_type: true,
                op: Op::try_from(op).ok(),
                flags: rest.0,
                buf_alloc: rest.1,
                fwd_cnt: rest.2,
            };
            let mut bytes = [0; HEADER_LEN];
            header.write(&mut bytes);
            prop_assert_eq!(Header::read(&bytes), Some(header));
        }

        #[test]
        fn never_panics(bytes: [u8; HEADER_LEN]) {
            let _ = Header::read(&bytes);
        }
    }

    #[test]
    fn matches_the_layout_of_virtio_spec() {
        let header = Header {
            len: 5,
            flags: 6,
            buf_alloc: 7,
            fwd_cnt: 8,
            ..Header::new(Op::Rw, VsockAddr { cid: 1, port: 2 }, VsockAddr { cid: 3, port: 4 })
        };
        let mut bytes = [0; HEADER_LEN];
        header.write(&mut bytes);
        // SAFETY: Hdr is packed plain data of this size.
        let spec: Hdr = unsafe { core::mem::transmute(bytes) };
        let Hdr { src_cid, dst_cid, src_port, dst_port, len, type_, op, flags, buf_alloc, fwd_cnt } = spec;
        assert_eq!([src_cid.to_ne(), dst_cid.to_ne()], [1, 3]);
        assert_eq!([src_port.to_ne(), dst_port.to_ne(), len.to_ne(), flags.to_ne()], [2, 4, 5, 6]);
        assert_eq!([buf_alloc.to_ne(), fwd_cnt.to_ne()], [7, 8]);
        assert_eq!([type_.to_ne(), op.to_ne()], [1, 5]);
    }
}
