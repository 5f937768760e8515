//! The demo's application: an HTTP/1.1 server on vsock streams, small enough to be read in one sitting.
//!
//! It stands where a user's own application would stand, and it is what the end-to-end tests measure Weir against: it
//! answers with content that can be checked byte for byte ([`pattern`]), streams uploads back, and counts them. One
//! event loop, no threads; each stream costs two small buffers whatever the size of its request or response.
//!
//! | target | answer |
//! |---|---|
//! | `/api/hello` | one line of text |
//! | `/api/echo` | the request's content with its `Content-Type`, in the request's framing |
//! | `/api/bytes/N` | the first N bytes of [`pattern`] |
//! | `/api/sleep/MS` | one line, after MS milliseconds (at most [`handler::MAX_SLEEP_MS`]) |
//! | `/api/headers` | the head of the request as JSON |
//! | `/api/discard` | reads the content, answers its length and CRC-32 (IEEE) as JSON |
//!
//! [`server::Server`] needs nothing but a [`netdrv::stream::StreamTransport`], so all of it runs on the host as well.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod connection;
pub mod content;
pub mod handler;
pub mod head;
pub mod pattern;
pub mod server;

/// The vsock port that the demo worker listens on.
pub const PORT: u32 = 80;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
