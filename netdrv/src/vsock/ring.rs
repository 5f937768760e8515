//! The receive buffer of a stream: a ring of bytes.

use super::RECEIVE_BUFFER;
use alloc::{boxed::Box, vec::Vec};

/// Maximum number of unused buffers kept for new streams.
const SPARE_BUFFERS: usize = 32;

/// Bytes received and not yet consumed. Without a buffer it is always empty.
#[derive(Debug, Default)]
pub(super) struct ReceiveRing {
    buffer: Option<Box<[u8]>>,
    start: usize,
    len: usize,
}

impl ReceiveRing {
    pub(super) fn with_buffer(buffer: Box<[u8]>) -> Self {
        Self { buffer: Some(buffer), start: 0, len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The contiguous front part; empty only if there are no bytes.
    #[inline]
    pub(super) fn front(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start..(self.start + self.len).min(buffer.len())],
            None => &[],
        }
    }

    /// Drops `n` bytes from the front, at most what [`ReceiveRing::front`] shows.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        self.len -= n;
        self.start += n;
        // An empty ring restarts at 0, so that the next bytes are contiguous.
        if self.len == 0 || self.buffer.as_ref().is_none_or(|buffer| self.start == buffer.len()) {
            self.start = 0;
        }
    }

    /// Appends `len` bytes. `copy` writes them piece by piece and is given the offset of each in the data. False, with nothing
    /// appended, if there is too little room or `copy` fails.
    #[inline]
    pub(super) fn append(&mut self, len: usize, mut copy: impl FnMut(usize, &mut [u8]) -> bool) -> bool {
        let Some(buffer) = &mut self.buffer else { return len == 0 };
        let size = buffer.len();
        if len > size - self.len {
            return false;
        }
        let at = match self.start + self.len {
            at if at >= size => at - size,
            at => at,
        };
        let first = len.min(size - at);
        if !copy(0, &mut buffer[at..at + first]) || !(first == len || copy(first, &mut buffer[..len - first]))
        {
            return false;
        }
        self.len += len;
        true
    }

    pub(super) fn into_buffer(self) -> Option<Box<[u8]>> {
        self.buffer
    }
}

/// Unused receive buffers.
#[derive(Debug)]
pub(super) struct BufferPool(Vec<Box<[u8]>>);

impl BufferPool {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(SPARE_BUFFERS))
    }

    /// A buffer; `None` if memory is short.
    pub(super) fn take(&mut self) -> Option<Box<[u8]>> {
        if let Some(buffer) = self.0.pop() {
            return Some(buffer);
        }
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(RECEIVE_BUFFER as usize).ok()?;
        buffer.resize(RECEIVE_BUFFER as usize, 0);
        Some(buffer.into_boxed_slice())
    }

    pub(super) fn put(&mut self, buffer: Box<[u8]>) {
        if self.0.len() < SPARE_BUFFERS {
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn behaves_like_a_queue(steps in prop::collection::vec((any::<bool>(), 0usize..40), 1..200)) {
            let mut ring = ReceiveRing::with_buffer(vec![0; 64].into_boxed_slice());
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (append, n) in steps {
                if append {
                    let data: Vec<u8> = (0..n).map(|_| { next = next.wrapping_add(1); next }).collect();
                    let fits = model.len() + n <= 64;
                    let copy = |at: usize, piece: &mut [u8]| {
                        piece.copy_from_slice(&data[at..at + piece.len()]);
                        true
                    };
                    prop_assert_eq!(ring.append(data.len(), copy), fits);
                    if fits { model.extend(data); }
                } else {
                    let n = n.min(ring.front().len());
                    ring.consume(n);
                    model.drain(..n);
                }
                let front = ring.front();
                prop_assert_eq!(front.is_empty(), model.is_empty());
                prop_assert!(front.iter().eq(model.iter().take(front.len())));
            }
        }
    }
}
