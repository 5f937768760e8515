//! The demo application: a small HTTP/1.1 server on vsock streams.
//!
//! It takes the place of a user's own application, and the end-to-end tests measure Weir against it: its content can be checked
//! byte for byte ([`pattern`]), and it streams uploads back and counts them. It has one event loop and no threads; each stream
//! has two small buffers, whatever the size of request or response.
//!
//! | target | response |
//! |---|---|
//! | `/api/hello` | one line of text |
//! | `/api/echo` | the request's content with its `Content-Type`, in the request's framing |
//! | `/api/bytes/N` | the first N bytes of [`pattern`] |
//! | `/api/sleep/MS` | one line, after MS milliseconds (at most [`handler::MAX_SLEEP_MS`]) |
//! | `/api/headers` | the head of the request as JSON |
//! | `/api/discard` | length and CRC-32 (IEEE) of the content as JSON |
//!
//! [`server::Server`] only needs a [`netdrv::stream::StreamTransport`], so everything also runs on the host.
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
