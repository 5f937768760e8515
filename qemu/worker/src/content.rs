//! Removes the framing from request content, incrementally.

use crate::head::Framing;

/// Maximum length of a line between chunks (size with extensions, or a trailer field), in bytes.
const MAX_LINE: usize = 256;

/// Invalid chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// A step through received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Framing bytes to skip first.
    pub skip: usize,
    /// Content bytes after them.
    pub data: usize,
}

/// Finds the content in received bytes without storing it.
#[derive(Debug)]
pub struct ContentReader {
    state: State,
    line: heapless::Vec<u8, MAX_LINE>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    /// Before or in a chunk-size line.
    Size,
    Chunk(u64),
    /// Expecting the line feed after a chunk's data.
    ChunkEnd,
    Trailer,
    Done,
}

impl ContentReader {
    /// A reader for content with this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Size,
        };
        Self { state, line: heapless::Vec::new() }
    }

    /// Whether all content has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Examines `bytes` and accounts for the returned piece, which has at most `max` content bytes. An empty piece means that
    /// more bytes (or a larger `max`) are needed, or that the content has ended.
    pub fn next(&mut self, bytes: &[u8], max: usize) -> Result<Piece, BadChunk> {
        let mut skip = 0;
        loop {
            match self.state {
                State::Length(left) | State::Chunk(left) => {
                    let available = (bytes.len() - skip).min(max);
                    let data = usize::try_from(left).map_or(available, |left| left.min(available));
                    let left = left - data as u64;
                    self.state = match (self.state, left) {
                        (State::Chunk(_), 0) => State::ChunkEnd,
                        (State::Chunk(_), _) => State::Chunk(left),
                        (_, 0) => State::Done,
                        _ => State::Length(left),
                    };
                    return Ok(Piece { skip, data });
                }
                State::Done => return Ok(Piece { skip, data: 0 }),
                State::Size | State::ChunkEnd | State::Trailer => match bytes.get(skip) {
                    None => return Ok(Piece { skip, data: 0 }),
                    Some(&byte) => {
                        skip += 1;
                        self.line.push(byte).map_err(|_| BadChunk)?;
                        if byte == b'\n' {
                            self.state = self.end_of_line()?;
                            self.line.clear();
                        }
                    }
                },
            }
        }
    }

    fn end_of_line(&self) -> Result<State, BadChunk> {
        let empty = self.line.as_slice() == b"\r\n";
        match self.state {
            // Otherwise an empty line would be taken for size 0.
            State::Size if empty => Err(BadChunk),
            State::Size => match httparse::parse_chunk_size(&self.line) {
                Ok(httparse::Status::Complete((_, 0))) => Ok(State::Trailer),
                Ok(httparse::Status::Complete((_, n))) => Ok(State::Chunk(n)),
                _ => Err(BadChunk),
            },
            State::ChunkEnd if empty => Ok(State::Size),
            State::ChunkEnd => Err(BadChunk),
            _ if empty => Ok(State::Done),
            state => Ok(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(reader: &mut ContentReader, mut bytes: &[u8], step: usize) -> Result<Vec<u8>, BadChunk> {
        let mut out = Vec::new();
        while !bytes.is_empty() && !reader.is_done() {
            let mut window = &bytes[..bytes.len().min(step)];
            while !window.is_empty() && !reader.is_done() {
                let piece = reader.next(window, 3)?;
                out.extend_from_slice(&window[piece.skip..piece.skip + piece.data]);
                window = &window[piece.skip + piece.data..];
                bytes = &bytes[piece.skip + piece.data..];
            }
        }
        Ok(out)
    }

    #[test]
    fn chunked_content_in_pieces_of_any_size() {
        let wire = b"5\r\nhello\r\n1;name=value\r\n,\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET";
        for step in 1..wire.len() {
            let mut reader = ContentReader::new(Framing::Chunked);
            assert_eq!(decode(&mut reader, wire, step).unwrap(), b"hello,0123456789");
            assert!(reader.is_done());
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [&b"5\r\nhelloX\r\n"[..], b"zz\r\n", b"\r\n", b"11111111111111111\r\n", &[b'1'; 300]] {
            assert_eq!(decode(&mut ContentReader::new(Framing::Chunked), wire, 7), Err(BadChunk), "{wire:?}");
        }
    }

    #[test]
    fn content_of_a_given_length_ends_there() {
        let mut reader = ContentReader::new(Framing::Length(4));
        assert_eq!(decode(&mut reader, b"abcdGET", 2).unwrap(), b"abcd");
        assert!(ContentReader::new(Framing::Length(0)).is_done());
    }
}
