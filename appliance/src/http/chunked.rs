//! The chunked transfer coding (RFC 9112 §7.1).

use core::ops::Range;

/// Ends a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk with an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What is wrong with chunked content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// The size is not a hexadecimal number.
    Size,
    /// The size, or the sum of all sizes, does not fit 64 bits.
    Overflow,
    /// A bare CR or LF, or chunk data not followed by CRLF.
    LineEnd,
    /// A malformed or too long chunk extension.
    Extension,
    /// A malformed, forbidden or too long trailer section.
    Trailer,
}

/// What one call of [`Decoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with (framing and content).
    pub consumed: usize,
    /// Where in the input content lies; may be empty. `content.end <= consumed`.
    pub content: Range<usize>,
    /// The last chunk and the trailer section were read; bytes after `consumed` belong to the next message.
    pub finished: bool,
}

/// Incremental decoder. The same content comes out however the input is split.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    total: u64,
}

impl Decoder {
    /// A decoder at the start of a message's content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on until there is a span of content, the input ends, or the content does. Call again with the rest of the
    /// input while `consumed` does not reach its end and it is not `finished`. After an error nothing more may
    /// be read.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkError> {
        let _ = input;
        todo!()
    }

    /// Bytes of content so far.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// The line before a chunk's data.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHeader {
    /// For a chunk of `len` bytes. `len` must not be 0: that would end the content (see [`LAST_CHUNK`]).
    pub fn new(len: u64) -> Self {
        let _ = len;
        todo!()
    }

    /// Size in hexadecimal and CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or_default()
    }
}
