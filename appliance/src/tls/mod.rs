//! TLS between the TCP stream and HTTP: rustls's unbuffered connection, sans-IO.
//!
//! ```text
//!  receive buffer ──► ClientHello peeked: port, name ──► Store ──► the site's configuration ─┐
//!                 ──► Connection::process ──► plaintext ──► http                             │
//!  send buffer    ◄── Connection::encrypt ◄── gate ◄── http        rustls connection ◄───────┘
//! ```
//!
//! A record that lies in one piece in the TCP receive buffer is decrypted there. What does not (the buffer's end, a record
//! larger than the buffer, a fragmented handshake message) is gathered in a buffer that exists only meanwhile, so an idle
//! connection holds none. rustls hands plaintext out in an allocation per record and encrypts through another; that is
//! the price of its interface.
//!
//! Which configuration applies is the site's that the name in the ClientHello and the local port lead to, by the hosts of
//! its `https://` prefixes. Versions, client certificates and resumption are therefore the site's own. Everything that a
//! connection can be given is in one [`Store`], which is replaced as a whole when certificates change.
//!
//! *ring* does the cryptography. It draws its random bytes from the platform (`sys_read_entropy` in the image), and without
//! a source there is no store: see [`TlsError::Entropy`].

mod alert;
mod certificate;
mod client;
mod clock;
mod connection;
mod error;
mod hello;
mod keys;
pub mod link;
mod processor;
mod store;
mod ticket;

pub use certificate::{check, validity};
pub use client::{ClientCertificate, ClientStatus, NO_CERTIFICATE};
pub use clock::WallClock;
pub use connection::{Ended, Fault, MAX_RECORD_OVERHEAD, ServerTls};
pub use error::TlsError;
pub use keys::Keys;
pub use processor::missing_features;
pub use store::Store;

use serde::{Deserialize, Serialize};

/// What happened to TLS connections, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Handshakes completed, resumed ones included.
    pub handshakes: u64,
    /// Of those, resumed ones.
    pub resumed: u64,
    /// Of all, TLS 1.2.
    pub tls12: u64,
    /// Handshakes that failed for what the client sent or offered.
    pub failed: u64,
    /// Connections that began with something else than TLS.
    pub garbage: u64,
    /// Of those, plain HTTP, answered with a 400 that says so.
    pub plain_http: u64,
    /// Handshake messages larger than allowed.
    pub oversized: u64,
    /// Names no site answers to.
    pub unknown_name: u64,
    /// Handshakes that took too long.
    pub timed_out: u64,
    /// Handshakes that gave way to newer ones.
    pub evicted: u64,
    /// Connections refused because the memory for TLS was used up.
    pub refused: u64,
    /// Established connections that broke the protocol: altered records, renegotiation.
    pub broken: u64,
    /// Requests whose host belongs to another site than the handshake's name: 421.
    pub misdirected: u64,
    /// Requests answered 403 because of the client's certificate.
    pub client_certificates_refused: u64,
}

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod tests;
