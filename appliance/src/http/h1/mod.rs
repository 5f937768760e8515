//! The bytes of HTTP/1.0 and HTTP/1.1 (RFC 9112).

mod body;
mod encoder;

pub(crate) use body::{Body, ContentError};
pub use encoder::Encoder;
