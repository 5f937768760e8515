//! Sources of responses. An exchange pulls from a source only what the client has room for.

use super::client::Client;
use crate::http::{Overflow, Refusal, Reply};

/// Result of feeding request content to a source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FeedProgress {
    /// Whether any byte moved.
    pub(crate) moved: bool,
    /// The source waits for content, so the client should be sent `100 Continue` if it expects that.
    pub(crate) wants_content: bool,
    /// The client has closed its side, which ends a response without an end of its own (a tunnel).
    pub(crate) finished: bool,
}

/// Result of asking for a response head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeadProgress {
    /// Not available yet.
    Nothing,
    /// Not available yet, but bytes moved.
    Moved,
    /// An interim head was written; more heads follow.
    Interim,
    /// The final head was written.
    Final(Option<Hold>),
    /// There will be no head.
    Failed(Refusal),
}

/// Asks that the start of a response be held back, because it may still be [replayed](Lost::Retry) from
/// elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Length of the content in bytes, if known.
    pub(crate) length: Option<u64>,
}

/// What a source can be pulled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Nothing now.
    Nothing,
    /// This many bytes, framing included.
    Bytes(usize),
    /// The end of the content.
    End,
    /// Nothing any more: the end was pulled.
    Finished,
}

/// Result of one pull.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PullProgress {
    Nothing,
    Moved,
    /// The content ended without a last piece.
    Ended,
    Failed(Refusal),
}

/// What to do about a source that cannot continue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// Wait: the response starts over from elsewhere.
    Retry,
    /// Fail: there will be no response.
    Fail(Refusal),
}

/// The source of one response. `Cx`: the context that its methods need.
pub(crate) trait Source<Cx> {
    /// Takes request content as far as the source wants it.
    fn feed(&mut self, client: &mut impl Client, cx: &mut Cx) -> Result<FeedProgress, Refusal>;

    /// Passes the next head to `write`, which returns the length of the written head in bytes.
    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut Cx,
    ) -> HeadProgress;

    /// What there is to [pull](Source::pull).
    fn ready(&self, cx: &Cx) -> Ready;

    /// Passes at most `room` bytes of content to `put`, and whether they are the last.
    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), cx: &mut Cx) -> PullProgress;

    /// Whether a source that has nothing available is lost. `begun`: a part of the response was sent to the
    /// client.
    fn lost(&mut self, begun: bool, cx: &mut Cx) -> Option<Lost>;

    /// Ends the source after the whole response was sent.
    fn finish(&mut self, cx: &mut Cx);

    /// Ends the source early: the response is no longer wanted.
    fn abandon(&mut self, cx: &mut Cx);
}

/// Content in memory, whose head was written already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory(&'static [u8]);

impl Memory {
    pub(crate) const fn new(content: &'static [u8]) -> Self {
        Self(content)
    }
}

impl<Cx> Source<Cx> for Memory {
    fn feed(&mut self, _: &mut impl Client, _: &mut Cx) -> Result<FeedProgress, Refusal> {
        Ok(FeedProgress::default())
    }

    fn head(&mut self, _: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>, _: &mut Cx) -> HeadProgress {
        HeadProgress::Nothing
    }

    fn ready(&self, _: &Cx) -> Ready {
        if self.0.is_empty() { Ready::Finished } else { Ready::Bytes(self.0.len()) }
    }

    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), _: &mut Cx) -> PullProgress {
        let (piece, rest) = self.0.split_at(room.min(self.0.len()));
        put(piece, rest.is_empty());
        self.0 = rest;
        PullProgress::Moved
    }

    fn lost(&mut self, _: bool, _: &mut Cx) -> Option<Lost> {
        None
    }

    fn finish(&mut self, _: &mut Cx) {}

    fn abandon(&mut self, _: &mut Cx) {}
}
