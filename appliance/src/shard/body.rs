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

    /// Reads on. An empty input gives an empty span.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Span, ChunkError> {
        let taken = match self {
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= n as u64;
                n
            }
            Self::UntilClose => input.len(),
            Self::Chunked(decoder) => {
                let step = decoder.decode(input)?;
                if step.finished {
                    *self = Self::NONE;
                }
                return Ok(Span { consumed: step.consumed, content: step.content });
            }
        };
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
