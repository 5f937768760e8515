//! What both ends of the log stream have to know.

mod field;

pub use field::Field;

/// What a line is: its first byte on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Of the access log.
    Access = b'a',
    /// Of the error log.
    Error = b'e',
    /// A decimal number: so many lines found no room.
    Dropped = b'd',
}
