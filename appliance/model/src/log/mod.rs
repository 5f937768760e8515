//! Definitions for both ends of the log stream.

mod field;

pub use field::Field;

/// Kind of a line: its first byte on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Access log.
    Access = b'a',
    /// Error log.
    Error = b'e',
    /// Contains a decimal number of lines that were dropped for lack of room.
    Dropped = b'd',
}
