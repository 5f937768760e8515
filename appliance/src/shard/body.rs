//! Reading a message's content from a stream of bytes, whichever way it is delimited.

use crate::http::chunked::{ChunkError, Decoder};
use crate::http::{request, response};
use core::ops::Range;

/// What remains of a message's content.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Decoder),
    /// Everything until the stream ends.
    UntilClose,
}

/// One step through the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Input bytes done with.
    pub(super) consumed: usize,
    /// Where in them content lies.
    pub(super) content: Range<usize>,
}

impl Body {
    pub(super) const NONE: Self = Self::Length(0);

    pub(super) fn is_finished(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// How much of so many bytes of input can belong to it.
    pub(super) fn wanted(&self, available: usize) -> usize {
        match self {
            Self::Length(left) => usize::try_from(*left).map_or(available, |left| left.min(available)),
            Self::Chunked(_) | Self::UntilClose => available,
        }
    }

    /// Reads on. An empty input gives an empty span.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Span, ChunkError> {
        let taken = self.wanted(input.len());
        match self {
            Self::Length(left) => *left -= taken as u64,
            Self::UntilClose => {}
            Self::Chunked(decoder) => {
                let step = decoder.decode(input)?;
                if step.finished {
                    *self = Self::NONE;
                }
                return Ok(Span { consumed: step.consumed, content: step.content });
            }
        }
        Ok(Span { consumed: taken, content: 0..taken })
    }
}

impl From<request::Framing> for Body {
    fn from(framing: request::Framing) -> Self {
        match framing {
            request::Framing::None => Self::NONE,
            request::Framing::Length(n) => Self::Length(n),
            request::Framing::Chunked => Self::Chunked(Decoder::new()),
        }
    }
}

impl From<response::Framing> for Body {
    fn from(framing: response::Framing) -> Self {
        match framing {
            response::Framing::None => Self::NONE,
            response::Framing::Length(n) => Self::Length(n),
            response::Framing::Chunked => Self::Chunked(Decoder::new()),
            response::Framing::UntilClose => Self::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_no_byte_of_the_next_message() {
        let mut body = Body::Length(5);
        assert_eq!(body.read(b"abc").unwrap(), Span { consumed: 3, content: 0..3 });
        assert!(!body.is_finished());
        assert_eq!(
            (body.wanted(9), body.read(b"deGET / ").unwrap()),
            (2, Span { consumed: 2, content: 0..2 })
        );
        assert!(body.is_finished());
        assert_eq!(body.read(b"GET / ").unwrap(), Span { consumed: 0, content: 0..0 });
    }

    #[test]
    fn chunks_end_with_the_last_one() {
        let mut body = Body::Chunked(Decoder::new());
        let (mut input, mut content) = (&b"3\r\nabc\r\n0\r\n\r\nGET / "[..], Vec::new());
        while !body.is_finished() {
            let span = body.read(input).unwrap();
            content.extend_from_slice(&input[span.content]);
            input = &input[span.consumed..];
        }
        assert_eq!((&content[..], input), (&b"abc"[..], &b"GET / "[..]));
        assert!(Body::Chunked(Decoder::new()).read(b"x\r\n").is_err());
    }

    #[test]
    fn until_close_takes_everything_and_never_finishes_by_itself() {
        let mut body = Body::UntilClose;
        assert_eq!(body.read(b"abc").unwrap().consumed, 3);
        assert!(!body.is_finished());
    }
}
