//! What an exchange asks of a protocol: a head, content in pieces, an end, and how to break off.

use super::{Overflow, Reply, Sink};
use model::date::DateCache;

/// What stands around a piece of content on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    before: [u8; Self::MAX_BEFORE],
    before_len: u8,
    /// What comes after it.
    pub after: &'static [u8],
}

impl Around {
    /// The most that stands before a piece, in bytes.
    pub const MAX_BEFORE: usize = 18;
    /// Nothing.
    pub const NOTHING: Self = Self { before: [0; Self::MAX_BEFORE], before_len: 0, after: &[] };

    /// `before`: at most [`Around::MAX_BEFORE`] bytes, the rest is cut off.
    pub fn new(before: &[u8], after: &'static [u8]) -> Self {
        let mut around = Self { after, ..Self::NOTHING };
        for (place, byte) in around.before.iter_mut().zip(before) {
            *place = *byte;
            around.before_len += 1;
        }
        around
    }

    /// What comes before it.
    pub fn before(&self) -> &[u8] {
        self.before.get(..usize::from(self.before_len)).unwrap_or_default()
    }
}

/// How a client learns that a response is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Its connection is cut: an orderly end could be taken for the response's.
    Cut,
    /// By these bytes; the connection goes on.
    Says(&'static [u8]),
}

/// Writes one response in the bytes of the client's protocol. Nothing that an exchange does depends on which one that is.
pub trait Encode {
    /// Writes a head: any number of interim ones (1xx), then the final one. Nothing is written where the protocol version has
    /// no such heads.
    ///
    /// # Errors
    /// [`Overflow`] if there is no room for it.
    fn head(&mut self, reply: &Reply<'_>, date: &DateCache, out: &mut Sink<'_>) -> Result<(), Overflow>;

    /// The most that [`Encode::data`] and [`Encode::end`] add to one piece of content, in bytes.
    fn overhead(&self) -> usize;

    /// What stands around a piece of content of so many bytes. `last`: content is complete with it.
    fn data(&mut self, len: usize, last: bool) -> Around;

    /// What says that content is complete, where no piece was the last.
    fn end(&mut self) -> &'static [u8];

    /// The response breaks off.
    fn reset(&mut self) -> Reset;

    /// The rest of the request's content will not be read: what comes after it cannot be told apart from it.
    fn content_unread(&mut self);

    /// The request was HEAD: [`Reply::content`] is announced and does not follow.
    fn is_to_head(&self) -> bool;
}
