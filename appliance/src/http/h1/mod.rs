//! The wire format of HTTP/1.0 and HTTP/1.1 (RFC 9112): strict parsing of heads and content, and writing.

mod body;
pub mod chunked;
mod client;
mod diagnosis;
mod encoder;
pub mod forward;
mod host;
mod lines;
pub mod request;
pub mod response;

pub(crate) use body::{Body, ContentError};
pub use encoder::Encoder;
