//! The client side of an exchange: takes the response and supplies the request content.

use crate::http::Refusal;
use crate::http::h1::ContentError;

/// Why no more request content will arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentEnd {
    /// The client has closed its sending direction.
    Closed,
    /// The bytes are not valid content, or exceed the limit.
    Invalid(ContentError),
}

impl ContentEnd {
    /// The refusal for a request whose content is incomplete.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Closed => Refusal::new(400, model::reason::Reason::ConnectionDropped),
            Self::Invalid(error) => error.refusal(),
        }
    }
}

/// The client as an exchange sees it: the connection's protocol, bandwidth control and socket behind one
/// interface.
pub(crate) trait Client {
    /// Accepts all of `bytes`: sends what it may and holds the rest. `follows`: number of bytes known to come
    /// after them, a hint for packet boundaries.
    fn send(&mut self, bytes: &[u8], follows: usize);

    /// Whether bytes given to [`Client::send`] are still held. Nothing else can be sent meanwhile.
    fn is_blocked(&self) -> bool;

    /// How many of `wanted` bytes may be sent now.
    fn room(&mut self, wanted: usize) -> usize;

    /// Sends bytes within the [room](Client::room) granted.
    fn write(&mut self, bytes: &[u8]);

    /// Whether each [`Client::write`] has a fixed cost (a TLS record), so that adjacent pieces are better
    /// merged first.
    fn prefers_merged_writes(&self) -> bool;

    /// Shows `take` the next piece of request content, at most `most` bytes, and whether it is the last one;
    /// `take` returns how many bytes it consumed. It must consume chunked content whole. Returns the number
    /// of bytes consumed, 0 if none are available.
    fn content(
        &mut self,
        most: usize,
        take: &mut dyn FnMut(&[u8], bool) -> usize,
    ) -> Result<usize, ContentEnd>;

    /// Whether all content has been read.
    fn content_ended(&self) -> bool;

    /// Treats all further bytes from the client as content: the connection has switched protocols.
    fn switch_protocol(&mut self);
}
