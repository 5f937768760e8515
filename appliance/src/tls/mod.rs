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
//! a source there is no store: see [`TlsError::Entropy`](model::tls::TlsError::Entropy).

mod alert;
mod certificate;
mod client;
mod clock;
mod connection;
mod fault;
mod hello;
mod keys;
pub mod link;
mod processor;
mod store;
mod ticket;

pub use certificate::{check, validity};
pub use client::{ClientCertificate, ClientStatus, NO_CERTIFICATE};
pub use clock::WallClock;
pub use connection::{Ended, MAX_RECORD_OVERHEAD, ServerTls};
pub use fault::Fault;
pub use keys::Keys;
pub use processor::missing_features;
pub use store::Store;

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod tests;
