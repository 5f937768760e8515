//! Reads message content from a byte stream, however it is delimited.

use super::chunked::{ChunkError, Decoder};
use crate::http::{Refusal, request, response};
use alloc::boxed::Box;
use core::ops::Range;
use model::reason::Reason;

/// What remains of a message's content.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// This many bytes.
    Length(u64),
    /// Chunks, with at most `most` bytes of data left in all. Boxed: every connection has space for a body,
    /// but few are chunked.
    Chunked { decoder: Box<Decoder>, most: u64 },
    /// Everything until the stream ends.
    UntilClose,
}

/// Why content cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentError {
    /// Malformed chunks.
    Malformed,
    /// The content is, or is announced to be, longer than allowed.
    TooLarge,
}

impl ContentError {
    /// The refusal of a request with such content.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => Refusal::new(400, Reason::BadRequest),
            Self::TooLarge => Refusal::new(413, Reason::EntityTooLarge),
        }
    }
}

impl From<ChunkError> for ContentError {
    fn from(_: ChunkError) -> Self {
        Self::Malformed
    }
}

/// Result of reading a piece of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Input bytes consumed.
    pub(crate) consumed: usize,
    /// Range of these that is content.
    pub(crate) content: Range<usize>,
}

impl Body {
    pub(crate) const NONE: Self = Self::Length(0);

    /// The content of a request. A length was already compared with `most`; chunks reveal theirs only as they
    /// arrive.
    pub(crate) fn of_request(framing: request::Framing, most: u64) -> Self {
        match framing {
            request::Framing::None => Self::NONE,
            request::Framing::Length(n) => Self::Length(n),
            request::Framing::Chunked => Self::Chunked { decoder: Box::new(Decoder::new()), most },
        }
    }

    /// Checks content that has arrived without consuming it.
    pub(crate) fn check(&self, mut input: &[u8]) -> Result<(), ContentError> {
        let Self::Chunked { .. } = self else { return Ok(()) };
        let mut body = self.clone();
        while !body.is_finished() && !input.is_empty() {
            let consumed = body.read(input)?.consumed;
            input = input.get(consumed..).unwrap_or_default();
        }
        Ok(())
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Whether all content has been read. The trailer section may still follow.
    pub(crate) fn content_is_complete(&self) -> bool {
        match self {
            Self::Chunked { decoder, .. } => decoder.content_is_complete(),
            Self::Length(_) | Self::UntilClose => self.is_finished(),
        }
    }

    /// How many of `available` bytes of input may belong to the content.
    pub(crate) fn wanted(&self, available: usize) -> usize {
        match self {
            Self::Length(left) => usize::try_from(*left).map_or(available, |left| left.min(available)),
            Self::Chunked { .. } | Self::UntilClose => available,
        }
    }

    /// Reads more input. Empty input gives an empty span. The content of a response also ends at an invalid
    /// trailer section, which is left unread.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<Span, ContentError> {
        let taken = self.wanted(input.len());
        match self {
            Self::Length(left) => *left -= taken as u64,
            Self::UntilClose => {}
            Self::Chunked { decoder, most } => {
                let step = match decoder.decode(input) {
                    Err(_) if decoder.is_response() && decoder.content_is_complete() => {
                        *self = Self::NONE;
                        return Ok(Span { consumed: 0, content: 0..0 });
                    }
                    step => step?,
                };
                if decoder.total() > *most {
                    return Err(ContentError::TooLarge);
                }
                if step.finished {
                    *self = Self::NONE;
                }
                return Ok(Span { consumed: step.consumed, content: step.content });
            }
        }
        Ok(Span { consumed: taken, content: 0..taken })
    }
}

impl Body {
    /// Like [`Body::read`], for a reader that may take less than is available. `take` gets content and
    /// whether it is the last, and returns how many bytes it takes; it must take chunks whole. Returns the
    /// input bytes consumed.
    pub(crate) fn take(
        &mut self,
        input: &[u8],
        take: &mut dyn FnMut(&[u8], bool) -> usize,
    ) -> Result<usize, ContentError> {
        if let Self::Chunked { .. } = self {
            let span = self.read(input)?;
            let content = input.get(span.content).unwrap_or_default();
            let is_last = self.is_finished();
            if !content.is_empty() || is_last {
                take(content, is_last);
            }
            return Ok(span.consumed);
        }
        let wanted = self.wanted(input.len());
        let Some(content) = input.get(..wanted).filter(|content| !content.is_empty()) else { return Ok(0) };
        let is_last = matches!(self, Self::Length(left) if *left == wanted as u64);
        let taken = take(content, is_last).min(wanted);
        self.read(content.get(..taken).unwrap_or_default()).map(|span| span.consumed)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<response::Framing> for Body {
    fn from(framing: response::Framing) -> Self {
        match framing {
            response::Framing::None => Self::NONE,
            response::Framing::Length(n) => Self::Length(n),
            response::Framing::Chunked => {
                Self::Chunked { decoder: Box::new(Decoder::of_response()), most: u64::MAX }
            }
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
        let mut body = Body::of_request(request::Framing::Chunked, 3);
        let (mut input, mut content) = (&b"3\r\nabc\r\n0\r\n\r\nGET / "[..], Vec::new());
        while !body.is_finished() {
            let span = body.read(input).unwrap();
            content.extend_from_slice(&input[span.content]);
            input = &input[span.consumed..];
        }
        assert_eq!((&content[..], input), (&b"abc"[..], &b"GET / "[..]));
    }

    #[test]
    fn chunks_are_judged_as_far_as_they_are_there() {
        let body = Body::of_request(request::Framing::Chunked, 5);
        for fine in [&b""[..], b"3\r\nab", b"3\r\nabc\r\n2", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext one"] {
            assert_eq!(body.check(fine), Ok(()), "{}", fine.escape_ascii());
        }
        for broken in [&b"x"[..], b"3\r\nabcd", b"3\r\nabc\r\n2\r\nde\r\n0\r\nx\r\n"] {
            assert_eq!(body.check(broken), Err(ContentError::Malformed), "{}", broken.escape_ascii());
        }
        // Announced sizes count even before the data arrives.
        for long in [&b"6\r\n"[..], b"3\r\nabc\r\n3\r\n", b"ffffffffffffffff\r\n"] {
            assert_eq!(body.check(long), Err(ContentError::TooLarge), "{}", long.escape_ascii());
        }
        assert_eq!(Body::Length(9).check(b"anything"), Ok(()));
    }

    #[test]
    fn until_close_takes_everything_and_never_finishes_by_itself() {
        let mut body = Body::UntilClose;
        assert_eq!(body.read(b"abc").unwrap().consumed, 3);
        assert!(!body.is_finished());
    }
}
