//! What ends a TLS connection.

/// Why a connection is over before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not begin with TLS.
    Garbage,
    /// It began with plain HTTP, which is to be answered in the clear.
    PlainHttp,
    /// A handshake message was too long.
    Oversized,
    /// No site answers to the name it asked for.
    UnknownName,
    /// The handshake failed.
    Handshake,
    /// The protocol was broken after the handshake.
    Broken,
}
