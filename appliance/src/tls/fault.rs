//! Errors that end a TLS connection.

/// Why a connection ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes were not TLS.
    Garbage,
    /// The first bytes were plain HTTP, to be answered in plaintext.
    PlainHttp,
    /// A handshake message was too long.
    Oversized,
    /// No site has the name that was requested.
    UnknownName,
    /// The handshake failed.
    Handshake,
    /// Protocol violation after the handshake.
    Broken,
}
