//! Chunk extensions (RFC 9112 §7.1.1): parsed, so that nothing can hide in them, then ignored.
//!
//! ```text
//! *( ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] BWS )
//! ```
//!
//! Blanks before the first semicolon, which the grammar allows, are refused: a parser that takes them for the
//! end of the size would read a different message.

use super::ChunkError;
use crate::http::syntax::is_tchar;

/// State of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// After a semicolon.
    Start,
    Name,
    /// After blanks that follow a name.
    AfterName,
    /// After the equals sign.
    Equals,
    Token,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quotation mark.
    Closed,
    /// After blanks that follow a value.
    AfterValue,
}

impl Extension {
    /// Processes a byte. `None` after the CR that ends the line.
    pub(super) fn next(self, b: u8) -> Result<Option<Self>, ChunkError> {
        let is_text = |b: u8| matches!(b, b'\t' | b' '..=b'~' | 0x80..);
        Ok(Some(match (self, b) {
            (_, b'\n') => return Err(ChunkError::LineEnd),
            (Self::Name | Self::Token | Self::Closed, b'\r') => return Ok(None),
            (Self::Start, b' ' | b'\t') => Self::Start,
            (Self::Start | Self::Name, _) if is_tchar(b) => Self::Name,
            (Self::Name | Self::AfterName, b' ' | b'\t') => Self::AfterName,
            (Self::Name | Self::AfterName, b'=') => Self::Equals,
            (Self::Equals, b' ' | b'\t') => Self::Equals,
            (Self::Equals, b'"') => Self::Quoted,
            (Self::Equals | Self::Token, _) if is_tchar(b) => Self::Token,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, _) if is_text(b) => Self::Quoted,
            (Self::Token | Self::Closed | Self::AfterValue, b' ' | b'\t') => Self::AfterValue,
            (Self::Name | Self::AfterName | Self::Token | Self::Closed | Self::AfterValue, b';') => {
                Self::Start
            }
            _ => return Err(ChunkError::Extension),
        }))
    }
}
