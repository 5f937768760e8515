//! Where responses come from. A source is pulled: it gives what the client has room for, when there is room.

use super::client::Client;
use crate::http::{Overflow, Refusal, Reply};

/// What a source took of a request's content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fed {
    /// Something moved.
    pub(crate) moved: bool,
    /// Content is wanted, and the client may wait to be told so.
    pub(crate) asks: bool,
    /// The client has ended, and so does a response that has no other end.
    pub(crate) over: bool,
}

/// What became of the head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Headed {
    /// It is not there yet.
    Nothing,
    /// Nor now, but something moved.
    Moved,
    /// One was written that others follow.
    Interim,
    /// The final one was written.
    Final(Option<Hold>),
    /// There will be none.
    Failed(Refusal),
}

/// A response may still be [lost](Lost::Again) and come anew from elsewhere: its beginning is held back for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Its content's, in bytes, where it is known.
    pub(crate) length: Option<u64>,
}

/// What there is of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Nothing now.
    Nothing,
    /// So many bytes, framing included.
    Bytes(usize),
    /// Its end.
    End,
    /// Nothing any more.
    Finished,
}

/// What one pull did.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pulled {
    Nothing,
    Moved,
    /// Content has ended without a last piece.
    Ended,
    Failed(Refusal),
}

/// A source that will not go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// The response begins again, from elsewhere.
    Again,
    /// There will be no other.
    For(Refusal),
}

/// A source of one response. `Cx` is what it works with.
pub(crate) trait Source<Cx> {
    /// Takes what it wants of the request's content.
    fn feed(&mut self, client: &mut impl Client, cx: &mut Cx) -> Result<Fed, Refusal>;

    /// Gives the next head to `write`, which says how many bytes that is for the client.
    fn head(&mut self, write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>, cx: &mut Cx) -> Headed;

    /// Looks what there is to [pull](Source::pull).
    fn ready(&self, cx: &Cx) -> Ready;

    /// Gives content of at most `room` bytes to `put`, and whether it is the last.
    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), cx: &mut Cx) -> Pulled;

    /// Nothing can be had of it now: whether that will stay so. `begun`: the client has got a part of the response.
    fn lost(&mut self, begun: bool, cx: &mut Cx) -> Option<Lost>;

    /// The response went out whole.
    fn finish(&mut self, cx: &mut Cx);

    /// Nobody wants the response any more.
    fn abandon(&mut self, cx: &mut Cx);
}

/// Content that is in memory, whose head was written already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory(&'static [u8]);

impl Memory {
    pub(crate) const fn new(content: &'static [u8]) -> Self {
        Self(content)
    }
}

impl<Cx> Source<Cx> for Memory {
    fn feed(&mut self, _: &mut impl Client, _: &mut Cx) -> Result<Fed, Refusal> {
        Ok(Fed::default())
    }

    fn head(&mut self, _: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>, _: &mut Cx) -> Headed {
        Headed::Nothing
    }

    fn ready(&self, _: &Cx) -> Ready {
        if self.0.is_empty() { Ready::Finished } else { Ready::Bytes(self.0.len()) }
    }

    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), _: &mut Cx) -> Pulled {
        let (piece, rest) = self.0.split_at(room.min(self.0.len()));
        put(piece, rest.is_empty());
        self.0 = rest;
        Pulled::Moved
    }

    fn lost(&mut self, _: bool, _: &mut Cx) -> Option<Lost> {
        None
    }

    fn finish(&mut self, _: &mut Cx) {}

    fn abandon(&mut self, _: &mut Cx) {}
}
