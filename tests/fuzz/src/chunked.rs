//! Chunked content: decoding does not depend on how it is split, and our own encoding decodes to itself.

use crate::input::Input;
use appliance::http::h1::chunked::{CHUNK_END, ChunkError, ChunkHeader, Decoder, LAST_CHUNK};

/// Decodes content that arrives in pieces; returns it with the number of bytes used, or `None` if it is incomplete.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
    let (mut decoder, mut content, mut used) = (Decoder::new(), Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() {
            let step = decoder.decode(piece)?;
            assert!(step.content.end <= step.consumed && step.consumed <= piece.len());
            assert!(step.consumed > 0 || step.finished, "no progress");
            content.extend_from_slice(&piece[step.content]);
            used += step.consumed;
            piece = &piece[step.consumed..];
            if step.finished {
                return Ok((content, Some(used)));
            }
        }
    }
    Ok((content, None))
}

/// Chunked content after one byte, the size of the pieces it arrives in.
pub fn chunked(data: &[u8]) {
    let mut choice = Input::new(data);
    let size = usize::from(choice.byte()) + 1;
    let input = choice.rest();
    let whole = decode([input].into_iter());
    assert_eq!(decode(input.chunks(size)), whole, "in pieces of {size}");
    assert_eq!(decode(input.chunks(1)), whole, "byte by byte");
    let Ok((content, Some(used))) = whole else { return };
    assert!(input[..used].ends_with(b"\r\n\r\n"));
    let mut encoded = Vec::new();
    for chunk in content.chunks(size) {
        encoded.extend_from_slice(ChunkHeader::new(chunk.len() as u64).as_bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(CHUNK_END);
    }
    encoded.extend_from_slice(LAST_CHUNK);
    let len = encoded.len();
    assert_eq!(decode([&encoded[..]].into_iter()), Ok((content, Some(len))));
}
