//! The chunked transfer coding (RFC 9112 §7.1).

mod extension;

use crate::http::syntax;
use core::ops::Range;
use extension::Extension;

/// Ends a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk with an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Limit on the digits of a chunk size, leading zeros included.
const MAX_SIZE_DIGITS: u8 = 16;
/// Limit on the extensions of one chunk, in bytes. They are ignored (RFC 9112 §7.1.1).
const MAX_EXTENSION: u16 = 256;
/// Limit on all extensions of a message, in bytes: one-byte chunks must not carry unreasonable amounts of
/// framing.
const MAX_EXTENSIONS: u32 = 16 * 1024;
/// Limit on the trailer section, in bytes.
const MAX_TRAILER: u16 = 4 * 1024;
/// Length of the longest name in [`FORBIDDEN_TRAILERS`]: no more of a name need be kept.
const NAME_LEN: usize = 20;

/// Fields forbidden as trailers because they affect framing, routing or authentication (RFC 9110 §6.5.1). `_`
/// is compared as `-`.
const FORBIDDEN_TRAILERS: [&[u8]; 14] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"expect",
    b"host",
    b"proxy-authorization",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
];

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

/// Result of one call of [`Decoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of input consumed, both framing and content.
    pub consumed: usize,
    /// Range of the input that is content; may be empty. `content.end <= consumed`.
    pub content: Range<usize>,
    /// The last chunk and the trailer section were read. Bytes after `consumed` belong to the next message.
    pub finished: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the first digit of a size.
    #[default]
    SizeStart,
    Size,
    Extension(Extension),
    /// After the CR of the size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    Finished,
}

/// Incremental decoder. The result does not depend on how the input is split.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    digits: u8,
    /// Length so far of this chunk's extensions, or of the trailer section.
    line: u16,
    extensions: u32,
    name: [u8; NAME_LEN],
    name_len: u8,
    /// Bytes of this chunk still to come.
    left: u64,
    total: u64,
    /// Decodes a response, whose trailers are all dropped.
    response: bool,
}

impl Decoder {
    /// A decoder at the start of a message's content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Like [`Decoder::new`], for a response: no trailer is forbidden, since none is passed on (RFC 9110
    /// §6.5.1), and an invalid trailer section only affects the connection, see [`Decoder::content_is_complete`].
    pub fn of_response() -> Self {
        Self { response: true, ..Self::default() }
    }

    /// Whether this decodes a response.
    pub fn is_response(&self) -> bool {
        self.response
    }

    /// Whether the last chunk was read: the content is complete, whatever follows in the trailer section (RFC
    /// 9112 §8).
    pub fn content_is_complete(&self) -> bool {
        use State::{EndLf, Finished, TrailerLf, TrailerName, TrailerStart, TrailerValue};
        matches!(self.state, TrailerStart | TrailerName | TrailerValue | TrailerLf | EndLf | Finished)
    }

    /// Decodes until there is a span of content, or the input or the content ends. To be called again with
    /// the rest of the input unless `finished` is set. After an error, nothing more may be read.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkError> {
        let mut at = 0;
        while let Some(&b) = input.get(at) {
            if self.state == State::Data {
                let available = (input.len() - at) as u64;
                let span = self.left.min(available);
                self.left -= span;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                let end = at + span as usize;
                return Ok(Decoded { consumed: end, content: at..end, finished: false });
            }
            if self.state == State::Finished {
                break;
            }
            self.framing(b)?;
            at += 1;
        }
        Ok(Decoded { consumed: at, content: at..at, finished: self.state == State::Finished })
    }

    /// Processes one byte that is not content.
    fn framing(&mut self, b: u8) -> Result<(), ChunkError> {
        self.state = match self.state {
            State::SizeStart => {
                (self.left, self.digits, self.line) = (0, 0, 0);
                self.digit(b)?
            }
            State::Size => match b {
                b'\r' => State::SizeLf,
                b';' => self.extension(Extension::Start)?,
                b'\n' => return Err(ChunkError::LineEnd),
                _ => self.digit(b)?,
            },
            State::Extension(extension) => match extension.next(b)? {
                None => State::SizeLf,
                Some(next) => self.extension(next)?,
            },
            State::SizeLf if b != b'\n' => return Err(ChunkError::LineEnd),
            State::SizeLf if self.left == 0 => {
                self.line = 0;
                State::TrailerStart
            }
            State::SizeLf => {
                self.total = self.total.checked_add(self.left).ok_or(ChunkError::Overflow)?;
                State::Data
            }
            State::DataCr if b == b'\r' => State::DataLf,
            State::DataLf if b == b'\n' => State::SizeStart,
            State::DataCr | State::DataLf => return Err(ChunkError::LineEnd),
            State::TrailerStart if b == b'\r' => State::EndLf,
            State::TrailerStart => {
                self.name_len = 0;
                self.trailer_name(b)?
            }
            State::TrailerName => self.trailer_name(b)?,
            State::TrailerValue => match b {
                b'\r' => self.trailer(State::TrailerLf)?,
                b'\n' => return Err(ChunkError::LineEnd),
                b'\t' | b' '..=b'~' | 0x80.. => self.trailer(State::TrailerValue)?,
                _ => return Err(ChunkError::Trailer),
            },
            State::TrailerLf if b == b'\n' => State::TrailerStart,
            State::EndLf if b == b'\n' => State::Finished,
            State::TrailerLf | State::EndLf => return Err(ChunkError::LineEnd),
            // Not reached from `decode`.
            State::Data | State::Finished => self.state,
        };
        Ok(())
    }

    fn digit(&mut self, b: u8) -> Result<State, ChunkError> {
        let digit = hex(b).ok_or(ChunkError::Size)?;
        // Sixteen digits fit 64 bits exactly.
        if self.digits == MAX_SIZE_DIGITS {
            return Err(ChunkError::Overflow);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self, next: Extension) -> Result<State, ChunkError> {
        self.line += 1;
        self.extensions += 1;
        if self.line > MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
            return Err(ChunkError::Extension);
        }
        Ok(State::Extension(next))
    }

    fn trailer(&mut self, next: State) -> Result<State, ChunkError> {
        self.line += 1;
        if self.line > MAX_TRAILER { Err(ChunkError::Trailer) } else { Ok(next) }
    }

    fn trailer_name(&mut self, b: u8) -> Result<State, ChunkError> {
        if b == b':' {
            let name = self.name.get(..usize::from(self.name_len)).unwrap_or_default();
            if name.is_empty() || (!self.response && FORBIDDEN_TRAILERS.contains(&name)) {
                return Err(ChunkError::Trailer);
            }
            return self.trailer(State::TrailerValue);
        }
        if !syntax::is_tchar(b) {
            return Err(if b == b'\n' { ChunkError::LineEnd } else { ChunkError::Trailer });
        }
        if let Some(slot) = self.name.get_mut(usize::from(self.name_len)) {
            *slot = if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
            self.name_len += 1;
        }
        self.trailer(State::TrailerName)
    }

    /// Content bytes announced so far, including the whole of the current chunk.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether content and trailer section are complete.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }
}

fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// The size line of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHeader {
    /// For a chunk of `len` bytes. `len` must not be 0, which would end the content: see [`LAST_CHUNK`].
    pub fn new(len: u64) -> Self {
        let mut bytes = *b"0000000000000000\r\n";
        let mut rest = len;
        let mut start = 16;
        while rest != 0 {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
        }
        Self { bytes, start: start.min(15) as u8 }
    }

    /// Size in hexadecimal and CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
