//! A request head as a value: target, framing, and what the fields say about the request as a whole.

use super::{Fields, Method, Refusal, RequestLimits, Version};
use core::num::NonZeroU16;
use model::reason::Reason;
use model::url::Scheme;

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

impl Framing {
    /// Whether content is announced to be longer than `max` bytes.
    pub(crate) fn is_longer_than(self, max: u64) -> bool {
        matches!(self, Self::Length(length) if length > max)
    }
}

/// The form of the request target (RFC 9112 §3.2). Authority-form is for CONNECT, which is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`, with the scheme named.
    Absolute(Scheme),
    /// `*`, only with OPTIONS. The path is `*`.
    Asterisk,
}

/// An unambiguous request head.
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
    /// Path, percent-decoded and without dot segments (RFC 3986 §5.2.4); starts with `/`, or is `*`. `%2F` is
    /// kept: an encoded slash never separates segments.
    pub path: &'a str,
    /// Offset of the path in the target.
    pub(super) path_start: usize,
    /// Offset of the path's end in the target: the `?`, or the end.
    pub(super) path_end: usize,
    /// Host as received, without port, an IPv6 literal with its brackets; to be compared case-insensitively.
    /// Empty only for HTTP/1.0 without Host.
    pub host: &'a [u8],
    /// Port from Host or the absolute-form target.
    pub port: Option<NonZeroU16>,
    /// How the content is delimited.
    pub framing: Framing,
    /// All field lines.
    pub fields: Fields<'a>,
    /// Which fields of interest to other modules are present.
    pub(crate) present: Present,
}

/// A set of flags: fields present, what they say, and what was done to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(u16);

impl Present {
    /// Connection names fields.
    pub(crate) const NOMINATED: u16 = 1;
    /// Any of the fields of RFC 9110 §13.1 except If-Range.
    pub(crate) const PRECONDITION: u16 = 2;
    pub(crate) const RANGE: u16 = 4;
    pub(crate) const UPGRADE: u16 = 8;
    pub(super) const CHUNKED: u16 = 16;
    /// `Connection: close`
    pub(super) const CLOSE: u16 = 32;
    /// `Connection: keep-alive`
    pub(super) const KEEP_ALIVE: u16 = 64;
    /// `Expect: 100-continue`
    pub(super) const EXPECTATION: u16 = 128;
    /// The path had dot segments, which must not be forwarded.
    pub(crate) const REWRITTEN: u16 = 256;

    pub(crate) fn any(self, set: u16) -> bool {
        self.0 & set != 0
    }

    #[inline(always)]
    pub(super) fn insert(&mut self, set: u16) {
        self.0 |= set;
    }
}

impl<'a> RequestHead<'a> {
    /// Path as received, still percent-encoded, without the query; starts with `/`, or is `*`.
    pub fn raw_path(&self) -> &'a str {
        match self.target.get(self.path_start..self.path_end) {
            // An empty path is equivalent to "/" (RFC 9110 §4.2.3).
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// Query without the `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.get(self.path_end + 1..)
    }

    /// Whether the connection may be used for another request (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        let asks = self.version == Version::Http11 || self.present.any(Present::KEEP_ALIVE);
        asks && !self.present.any(Present::CLOSE)
    }

    /// Has the connection end after this request, as if the client had asked for it.
    pub(crate) fn make_last(&mut self) {
        self.present.insert(Present::CLOSE);
    }

    /// Whether the client waits for 100 (Continue) before it sends content. Not in HTTP/1.0 (RFC 9110
    /// §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.present.any(Present::EXPECTATION)
    }

    /// Refuses an absolute-form target whose scheme is not the connection's (RFC 9110 §7.4).
    pub fn check_scheme(&self, scheme: Scheme) -> Result<(), Refusal> {
        match self.form {
            TargetForm::Absolute(named) if named != scheme => Err(Refusal::new(421, Reason::Url)),
            _ => Ok(()),
        }
    }

    /// Checks a head of `len` bytes that was parsed with wider limits. Does not check the query again.
    pub(crate) fn check_limits(&self, limits: &RequestLimits, len: usize) -> Result<(), Refusal> {
        if self.method == Method::Trace && !limits.trace {
            return Err(Refusal::new(501, Reason::NotImplemented));
        }
        if len > limits.max_request_bytes {
            return Err(limits.oversized(Reason::RequestLength));
        }
        if self.target.len() > limits.max_url_length {
            return Err(Refusal::new(414, Reason::UrlLength));
        }
        let (mut count, mut longest) = (0, 0);
        for field in self.fields {
            count += 1;
            longest = longest.max(field.line_len());
        }
        if count > limits.max_fields {
            return Err(limits.oversized(Reason::RequestLength));
        }
        if longest > limits.max_field_length {
            return Err(limits.oversized(Reason::FieldLength));
        }
        if !limits.fit_segments(self.path) {
            return Err(Refusal::new(400, Reason::Url));
        }
        Ok(())
    }
}
