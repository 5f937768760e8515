//! Encoding of a response in the client's protocol: a head, content in pieces, an end, or an abort.

use super::{Overflow, Reply, Sink};
use model::date::DateCache;

/// Framing before and after a piece of content on the wire.
#[derive(Clone, Copy, Debug)]
pub struct DataFraming {
    before: [u8; Self::MAX_BEFORE],
    before_len: u8,
    /// What follows the piece.
    pub after: &'static [u8],
}

impl DataFraming {
    /// Limit on the bytes before a piece.
    pub const MAX_BEFORE: usize = 18;
    /// No framing.
    pub const NOTHING: Self = Self { before: [0; Self::MAX_BEFORE], before_len: 0, after: &[] };

    /// `before`: at most [`DataFraming::MAX_BEFORE`] bytes; the rest is cut off.
    pub fn new(before: &[u8], after: &'static [u8]) -> Self {
        let mut around = Self { after, ..Self::NOTHING };
        for (place, byte) in around.before.iter_mut().zip(before) {
            *place = *byte;
            around.before_len += 1;
        }
        around
    }

    /// What precedes the piece.
    pub fn before(&self) -> &[u8] {
        self.before.get(..usize::from(self.before_len)).unwrap_or_default()
    }
}

/// How a client learns that a response is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The connection is aborted: an orderly close could be taken for the end of the response.
    Cut,
    /// These bytes are sent, and the connection continues.
    Says(&'static [u8]),
}

/// Encodes one response in the client's protocol. Exchanges do not depend on which protocol that is.
pub trait Encode {
    /// Writes a head: any number of interim ones (1xx), then the final one. Interim heads are dropped where
    /// the protocol version lacks them.
    ///
    /// # Errors
    /// [`Overflow`] if the head does not fit.
    fn head(&mut self, reply: &Reply<'_>, date: &DateCache, out: &mut Sink<'_>) -> Result<(), Overflow>;

    /// Limit on what [`Encode::data`] and [`Encode::end`] add to one piece of content, in bytes.
    fn overhead(&self) -> usize;

    /// The framing of a piece of `len` bytes. `last`: it completes the content.
    fn data(&mut self, len: usize, last: bool) -> DataFraming;

    /// The bytes that end content whose last piece was not marked as such.
    fn end(&mut self) -> &'static [u8];

    /// Breaks off the response.
    fn reset(&mut self) -> Reset;

    /// Notes that the rest of the request content will not be read, so that nothing after it can be parsed.
    fn content_unread(&mut self);

    /// Whether the request was HEAD: [`Reply::content`] is announced but does not follow.
    fn is_head_request(&self) -> bool;
}
