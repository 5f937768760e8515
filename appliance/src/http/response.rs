//! A worker's response head: parsed as strictly as a request, and written for the client (RFC 9112 §4, §6.3).

use super::{Fields, Overflow, Sink, Version};
use crate::date::DateCache;

/// How the content of a worker's response is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No content follows (HEAD, 1xx, 204, 304, or a length of 0).
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Up to the end of the stream.
    UntilClose,
}

/// A worker's response head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Status code, 100 to 599.
    pub status: u16,
    /// Reason phrase as received.
    pub phrase: &'a str,
    /// Version the worker speaks.
    pub version: Version,
    /// How the content is delimited.
    pub framing: Framing,
    /// The Content-Length field, which HEAD and 304 responses carry without content.
    pub content_length: Option<u64>,
    /// The link may be used for another request after this response.
    pub keep_alive: bool,
    /// All field lines.
    pub fields: Fields<'a>,
    pub(crate) has_date: bool,
}

impl ResponseHead<'_> {
    /// An interim response (1xx): another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// What is wrong with a worker's response. The client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not a status line.
    StatusLine,
    /// A status code outside 100 to 599, or 101, which nobody asked for.
    Status,
    /// A malformed field, a bare CR or LF, a line folding.
    Field,
    /// Contradictory or unknown framing.
    Framing,
    /// Longer than the buffer, or too many fields.
    TooLarge,
}

/// The verdict on the bytes received so far.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one response; boxing would allocate")]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A whole head.
    Complete {
        /// The head.
        head: ResponseHead<'a>,
        /// Bytes of the buffer it took.
        len: usize,
    },
    /// Not a response we pass on.
    Invalid(ResponseError),
}

/// Looks for a response head at the start of `buf`. `to_head`: it answers a HEAD request. Never `Partial` when `buf`
/// holds `max_bytes` or more.
pub fn parse(buf: &[u8], to_head: bool, max_bytes: usize) -> Parsed<'_> {
    let _ = (buf, to_head, max_bytes);
    todo!()
}

/// What the client's request says about how to answer.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client's version.
    pub version: Version,
    /// The request was HEAD.
    pub to_head: bool,
    /// The client's connection may live on.
    pub keep_alive: bool,
}

/// How the content must be sent to the client after the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `None`: send nothing. `Length`: as it comes. `Chunked`: see [`super::chunked`]. `UntilClose`: as it comes, then
    /// close.
    pub framing: Framing,
    /// The connection may live on after the response.
    pub keep_alive: bool,
}

/// Writes the head for the client: status line, end-to-end fields, Date if missing, framing and `Connection`.
/// Interim responses are written as they are, without framing (do not send them to HTTP/1.0 clients).
pub fn write_response(
    head: &ResponseHead<'_>,
    client: Client,
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<Delivery, Overflow> {
    let _ = (head, client, date, out);
    todo!()
}
