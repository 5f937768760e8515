//! Checks that every line of a head ends with CRLF, which `httparse` does not.

use crate::http::Fields;

/// The field section of a head, located by the names that `httparse` found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
}

impl<'a> Lines<'a> {
    /// `None` if the head does not end with CRLF CRLF.
    #[inline]
    pub(super) fn new(head: &'a [u8]) -> Option<Self> {
        head.ends_with(b"\r\n\r\n").then_some(Self { head })
    }

    /// Offset of the empty line at the end.
    #[inline]
    fn end(self) -> usize {
        self.head.len() - 2
    }

    /// Offset of the line of this field, or of the end. `header.name` must be part of the head.
    #[inline]
    pub(super) fn start(self, header: Option<&httparse::Header<'_>>) -> usize {
        header.map_or(self.end(), |h| (h.name.as_ptr() as usize).wrapping_sub(self.head.as_ptr() as usize))
    }

    /// Whether the line before this offset ends with CRLF. That it ends with LF is known.
    #[inline]
    pub(super) fn is_ended(self, at: usize) -> bool {
        self.head.get(at.wrapping_sub(2)) == Some(&b'\r')
    }

    /// Length of the longest field line, without its CRLF.
    #[cold]
    pub(super) fn longest(self, headers: &[httparse::Header<'_>]) -> usize {
        let ends = (1..=headers.len()).map(|next| self.start(headers.get(next)));
        let lengths = headers.iter().zip(ends).map(|(h, end)| end.wrapping_sub(self.start(Some(h)) + 2));
        lengths.max().unwrap_or(0)
    }

    /// The field lines from this offset on.
    #[inline]
    pub(super) fn fields(self, first: usize) -> Fields<'a> {
        Fields::new(self.head.get(first..self.end()).unwrap_or_default())
    }
}
