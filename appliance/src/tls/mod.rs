//! TLS between the TCP stream and HTTP: rustls's unbuffered connection, sans-IO.
//!
//! ```text
//!  receive buffer ──► ClientHello peeked: port, name ──► Store ──► the site's configuration ─┐
//!                 ──► Connection::process ──► plaintext ──► http                             │
//!  send buffer    ◄── Connection::encrypt ◄── gate ◄── http        rustls connection ◄───────┘
//! ```
//!
//! A record that is contiguous in the TCP receive buffer is decrypted there. Otherwise (the buffer's end, a
//! record larger than the buffer, a fragmented handshake message) it is gathered in a temporary buffer, so an
//! idle connection holds none. rustls returns plaintext in an allocation per record and encrypts through
//! another; that is the price of its interface.
//!
//! The configuration is that of the site to which the name in the ClientHello and the local port belong, by
//! the hosts of its `https://` prefixes. So versions, client certificates and resumption are per site. All
//! configurations are in one [`Store`].
//!
//! Cryptography is by *ring*. It draws random bytes from the platform (`sys_read_entropy` in the image);
//! without a source there is no store: see [`TlsError::Entropy`](model::tls::TlsError::Entropy).

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
