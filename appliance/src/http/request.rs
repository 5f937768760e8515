//! Parsing and strict validation of a request head (RFC 9112 §2, §3, §5, §6).

use super::{Fields, Limits, Method, Refusal, Version};
use crate::site::Scheme;

/// How the content of a request is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No content.
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// The form of the request target (RFC 9112 §3.2). Authority-form belongs to CONNECT, which is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`, with the scheme it named.
    Absolute(Scheme),
    /// `*`, only with OPTIONS. The path is `*`.
    Asterisk,
}

/// A request head in which nothing is ambiguous.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Method.
    pub method: Method<'a>,
    /// Version.
    pub version: Version,
    /// Form of the request target.
    pub form: TargetForm,
    /// Request target as received.
    pub target: &'a str,
    /// Path as received, without the query, still percent-encoded; starts with `/` (or is `*`).
    pub raw_path: &'a str,
    /// Path percent-decoded, dot segments removed (RFC 3986 §5.2.4); starts with `/` (or is `*`). `%2F` stays as it
    /// is: an encoded slash never separates segments.
    pub path: &'a str,
    /// Query without the `?`.
    pub query: Option<&'a str>,
    /// Host as received, without port (an IPv6 literal keeps its brackets); compare without regard to case. Empty only
    /// for HTTP/1.0 without Host.
    pub host: &'a str,
    /// Port named in Host or in the absolute-form.
    pub port: Option<u16>,
    /// How the content is delimited.
    pub framing: Framing,
    /// The connection may be used for another request (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The client waits for 100 (Continue) before it sends content (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// All field lines.
    pub fields: Fields<'a>,
    /// Which of the fields that [`super::serve`] looks at are there.
    pub(crate) present: u16,
    /// The path had dot segments: what is forwarded must not have them.
    pub(crate) rewritten: bool,
}

/// The verdict on the bytes received so far.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one request; boxing would allocate")]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A whole head.
    Complete {
        /// The head.
        head: RequestHead<'a>,
        /// Bytes of the buffer it took; content or the next request begins there.
        len: usize,
    },
    /// Not a request we serve. Answer, then close.
    Refused(Refusal),
}

/// Remembers what was looked at, so that a head dripping in byte by byte is not parsed anew with every byte.
/// Make a new one (`Progress::default()`) for each head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    scanned: usize,
    parsed: usize,
}

/// Looks for a request head at the start of `buf`.
///
/// `scratch` receives the path if it has to be decoded; with at least `limits.max_url_length` bytes it always fits
/// (else the answer is 414). The verdict does not depend on how the bytes were split.
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &Limits,
    scratch: &'a mut [u8],
    progress: &mut Progress,
) -> Parsed<'a> {
    let _ = (buf, limits, scratch, progress.scanned, progress.parsed);
    todo!()
}
