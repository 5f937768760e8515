//! What `httparse` does not check: that every line of a head ends with CRLF.

use super::Fields;

/// The field section of a head whose lines all end with CRLF, found from where `httparse` saw the names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
    /// Where the empty line at the end begins.
    end: usize,
}

impl<'a> Lines<'a> {
    /// `None` if the head does not end with CRLF CRLF.
    #[inline]
    pub(super) fn new(head: &'a [u8]) -> Option<Self> {
        head.ends_with(b"\r\n\r\n").then(|| Self { head, end: head.len() - 2 })
    }

    /// Where the line of this field begins, or the end. `name` must be a part of the head.
    #[inline]
    pub(super) fn start(&self, header: Option<&httparse::Header<'_>>) -> usize {
        header.map_or(self.end, |h| (h.name.as_ptr() as usize).wrapping_sub(self.head.as_ptr() as usize))
    }

    /// The line before this place ends with CRLF (that it ends with LF is known).
    #[inline]
    pub(super) fn is_ended(&self, at: usize) -> bool {
        matches!(self.head.get(at.wrapping_sub(2)..at), Some([b'\r', _]))
    }

    /// The field lines from this place on.
    #[inline]
    pub(super) fn fields(&self, first: usize) -> Fields<'a> {
        Fields::new(self.head.get(first..self.end).unwrap_or_default())
    }
}
