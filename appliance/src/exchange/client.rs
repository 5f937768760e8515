//! The client of an exchange: where its response goes, and where its request's content comes from.

use crate::http::Refusal;
use crate::http::h1::ContentError;

/// Why there is no more content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoContent {
    /// The client has ended its side.
    Ended,
    /// What it sent is not content, or too much of it.
    Wrong(ContentError),
}

impl NoContent {
    /// What becomes of a request whose content is not complete.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Ended => Refusal::new(400, model::reason::Reason::ConnectionDropped),
            Self::Wrong(error) => error.refusal(),
        }
    }
}

/// What an exchange sees of its client. Behind it are the connection's protocol, bandwidth control, and the socket.
pub(crate) trait Client {
    /// Takes all of it: sends what may go, holds the rest. `follows`: how many bytes come after it, as far as is known.
    fn send(&mut self, bytes: &[u8], follows: usize);

    /// Something that was given to [`Client::send`] is held: nothing else can go.
    fn is_blocked(&self) -> bool;

    /// How many of `wanted` bytes may go now.
    fn room(&mut self, wanted: usize) -> usize;

    /// Sends bytes for which there is [room](Client::room).
    fn write(&mut self, bytes: &[u8]);

    /// Each [`Client::write`] costs something, so that what belongs together is better put together first.
    fn is_costly(&self) -> bool;

    /// Shows the next piece of the request's content, at most so many bytes of it, and whether it is the last, to `take`, which
    /// says how many bytes it takes. Content whose length was not announced it has to take whole. Returns how many bytes were
    /// done with: 0 if nothing is there.
    fn content(
        &mut self,
        most: usize,
        take: &mut dyn FnMut(&[u8], bool) -> usize,
    ) -> Result<usize, NoContent>;

    /// All content was read.
    fn content_ended(&self) -> bool;

    /// The protocol has changed: whatever comes from now on is content.
    fn content_is_open(&mut self);
}
