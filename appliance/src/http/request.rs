//! Parsing and strict validation of a request head (RFC 9112 §2, §3, §5, §6).
//!
//! `httparse` finds the parts. It forgives bare LF and any number of empty lines, and knows nothing of what fields
//! mean: whether its result is a request is decided here, and where two readings are possible the answer is no.

mod summary;

use super::target::{self, Authority};
use super::{Fields, Limits, Method, Refusal, Version, diagnosis};
use core::mem::MaybeUninit;
use core::num::NonZeroU16;
use model::reason::Reason;
use model::url::Scheme;
use summary::{CR_LF, HOSTNAME, Summary};
pub(crate) use summary::{MAX_CONNECTION_OPTIONS, content_length};

const BAD_REQUEST: Refusal = Refusal::new(400, Reason::BadRequest);

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
    /// It is known that more content will come than this.
    pub(crate) fn is_longer_than(self, max: u64) -> bool {
        matches!(self, Self::Length(length) if length > max)
    }
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
    /// Path percent-decoded, dot segments removed (RFC 3986 §5.2.4); starts with `/` (or is `*`). `%2F` stays as it
    /// is: an encoded slash never separates segments.
    pub path: &'a str,
    /// Where in the target its path begins.
    pub(super) path_start: usize,
    /// Where in the target its path ends: at the `?`, or at the end.
    pub(super) path_end: usize,
    /// Host as received, without port (an IPv6 literal keeps its brackets); compare without regard to case. Empty only
    /// for HTTP/1.0 without Host.
    pub host: &'a [u8],
    /// Port named in Host or in the absolute-form.
    pub port: Option<NonZeroU16>,
    /// How the content is delimited.
    pub framing: Framing,
    /// All field lines.
    pub fields: Fields<'a>,
    /// Which of the fields that other modules look for are there.
    pub(crate) present: Present,
}

/// A set of fields, of what they say, and of what was done to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(u16);

impl Present {
    /// Connection names fields.
    pub(crate) const NOMINATED: u16 = 1;
    /// Any of the fields of RFC 9110 §13.1 but If-Range.
    pub(crate) const PRECONDITION: u16 = 2;
    pub(crate) const RANGE: u16 = 4;
    pub(crate) const UPGRADE: u16 = 8;
    const CHUNKED: u16 = 16;
    /// `Connection: close`
    const CLOSE: u16 = 32;
    /// `Connection: keep-alive`
    const KEEP_ALIVE: u16 = 64;
    /// `Expect: 100-continue`
    const EXPECTATION: u16 = 128;
    /// The path had dot segments: what is forwarded must not have them.
    pub(crate) const REWRITTEN: u16 = 256;

    pub(crate) fn any(self, set: u16) -> bool {
        self.0 & set != 0
    }
}

impl<'a> RequestHead<'a> {
    /// Path as received, without the query, still percent-encoded; starts with `/` (or is `*`).
    pub fn raw_path(&self) -> &'a str {
        match self.target.get(self.path_start..self.path_end) {
            // RFC 9110 §4.2.3: an empty path is the same as "/".
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// Query without the `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.get(self.path_end + 1..)
    }

    /// The connection may be used for another request (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        let asks = self.version == Version::Http11 || self.present.any(Present::KEEP_ALIVE);
        asks && !self.present.any(Present::CLOSE)
    }

    /// The connection ends after it, as if it had asked for that.
    pub(crate) fn make_last(&mut self) {
        self.present.0 |= Present::CLOSE;
    }

    /// The client waits for 100 (Continue) before it sends content; one of HTTP/1.0 cannot (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.present.any(Present::EXPECTATION)
    }

    /// Refuses a request in absolute-form that names another scheme than the connection's (RFC 9110 §7.4).
    pub fn check_scheme(&self, scheme: Scheme) -> Result<(), Refusal> {
        match self.form {
            TargetForm::Absolute(named) if named != scheme => Err(Refusal::new(421, Reason::Url)),
            _ => Ok(()),
        }
    }
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
    /// Up to here there is no empty line.
    scanned: usize,
    /// Length of the buffer when it was last parsed.
    parsed: usize,
}

impl Progress {
    /// Is it worth parsing? At first sight, when the head may be complete, and else when the buffer has doubled,
    /// so that garbage is noticed early and all attempts together cost no more than two.
    #[inline(always)]
    fn is_due(&mut self, buf: &[u8], limit: usize) -> bool {
        if self.parsed != 0 && buf.len() < limit && buf.len() / 2 < self.parsed && !self.head_may_end(buf) {
            return false;
        }
        self.parsed = buf.len();
        true
    }

    /// Looks for an empty line in what was not scanned yet.
    #[cold]
    fn head_may_end(&mut self, buf: &[u8]) -> bool {
        let new = buf.get(self.scanned..).unwrap_or_default();
        let found = new.windows(2).any(|w| w == b"\n\n") || new.windows(3).any(|w| w == b"\n\r\n");
        self.scanned = buf.len().saturating_sub(2);
        found
    }
}

type Uninit<'a> = [MaybeUninit<httparse::Header<'a>>; Limits::MAX_FIELDS];

/// As `?`, but returning a verdict: a result of it around a whole head would have to be copied.
macro_rules! accept {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Parsed::Refused(refusal),
        }
    };
}

/// Looks for a request head at the start of `buf`.
///
/// `scratch` receives the path if it has to be decoded; with at least `limits.max_url_length + 1` bytes it always fits
/// (else the answer is 414). The verdict does not depend on how the bytes were split. It is never `Partial` when
/// `buf` holds `limits.max_request_bytes` or more.
// Inlined, so that the head is built where the caller wants it.
#[inline(always)]
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &Limits,
    scratch: &'a mut [u8],
    progress: &mut Progress,
) -> Parsed<'a> {
    if !progress.is_due(buf, limits.max_request_bytes) {
        return Parsed::Partial;
    }
    // Nothing beyond the limit is looked at, so that the verdict is the same whenever it arrives.
    let window = buf.get(..limits.max_request_bytes).unwrap_or(buf);
    let (window, skipped) = match window.first() {
        Some(b'!'..) => (window, 0),
        _ => match after_empty_line(window) {
            Some(Ok(rest)) => (rest, window.len() - rest.len()),
            Some(Err(refusal)) => return Parsed::Refused(refusal),
            None => return partial(window, buf, limits),
        },
    };
    let mut headers: Uninit<'a> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(window, &mut headers) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(window, buf, limits),
        Err(error) => return Parsed::Refused(diagnosis::refusal(window, error, limits)),
    };
    let (Some(target), Some(minor)) = (request.path, request.version) else {
        return Parsed::Refused(BAD_REQUEST);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut summary = Summary::default();
    let (host, fields) = accept!(summary.read(window, len, request.headers, limits));
    // What is usual is taken apart here: as a structure it would be moved about.
    let (method, authority, form, path, path_start, path_end, rewritten);
    match host {
        Some(host) if target.as_bytes().first() == Some(&b'/') => {
            authority = accept!(target::parse_authority(host));
            method = accept!(parse_method(&request, window, limits));
            (form, path_start) = (TargetForm::Origin, 0);
            (path, path_end, rewritten) = accept!(target::origin_form(target, limits, scratch));
        }
        host => {
            let host = accept!(host.map(target::parse_authority).transpose());
            method = accept!(parse_method(&request, window, limits));
            let parts = accept!(target::parse(target, method, limits, scratch));
            authority = accept!(unusual_authority(host, &parts, version));
            (form, path, rewritten) = (parts.form, parts.path, parts.rewritten);
            (path_start, path_end) = (parts.start, parts.end);
        }
    }
    if rewritten {
        summary.present.0 |= Present::REWRITTEN;
    }
    let framing = accept!(summary.framing(version));
    // RFC 9110 §9.3.8: TRACE has no content.
    if framing != Framing::None && method == Method::Trace {
        return Parsed::Refused(BAD_REQUEST);
    }
    Parsed::Complete {
        len: skipped + len,
        head: RequestHead {
            method,
            version,
            form,
            target,
            path,
            path_start,
            path_end,
            host: authority.host,
            port: authority.port,
            framing,
            fields,
            present: summary.present,
        },
    }
}

/// What is left after perhaps one empty line before the request line, which is forgiven (RFC 9112 §2.2; httparse would
/// forgive more). `None` if more bytes must tell.
#[cold]
fn after_empty_line(window: &[u8]) -> Option<Result<&[u8], Refusal>> {
    match window {
        [] | [b'\r'] => None,
        [b'\r', b'\n', b'\r' | b'\n', ..] => Some(Err(CR_LF)),
        [b'\r', b'\n', rest @ ..] => Some(Ok(rest)),
        [b'\r' | b'\n', ..] => Some(Err(CR_LF)),
        _ => Some(Ok(window)),
    }
}

/// More is needed, if there is room for more.
#[cold]
fn partial<'a>(window: &[u8], buf: &[u8], limits: &Limits) -> Parsed<'a> {
    if buf.len() < limits.max_request_bytes {
        return Parsed::Partial;
    }
    Parsed::Refused(if window.contains(&b'\n') {
        limits.oversized(Reason::RequestLength)
    } else {
        Refusal::new(414, Reason::UrlLength)
    })
}

/// The window begins with the method: comparing four bytes of it takes less than comparing the token.
#[inline(always)]
fn parse_method<'a>(
    request: &httparse::Request<'_, 'a>,
    window: &[u8],
    limits: &Limits,
) -> Result<Method<'a>, Refusal> {
    if window.starts_with(b"GET ") { Ok(Method::Get) } else { other_method(request.method, limits) }
}

#[inline(never)]
fn other_method<'a>(token: Option<&'a str>, limits: &Limits) -> Result<Method<'a>, Refusal> {
    let token = token.ok_or(BAD_REQUEST)?;
    Ok(match token {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        "TRACE" if limits.trace => Method::Trace,
        "CONNECT" | "TRACE" => return Err(Refusal::new(501, Reason::NotImplemented)),
        _ => return diagnosis::other_method(token),
    })
}

/// RFC 9112 §3.2, §3.3: perhaps there is no Host, or a target that names a host as well.
#[cold]
fn unusual_authority<'a>(
    host: Option<Authority<'a>>,
    target: &target::Target<'a>,
    version: Version,
) -> Result<Authority<'a>, Refusal> {
    match (host, target.authority, target.form) {
        (Some(host), Some(named), TargetForm::Absolute(scheme)) if named.same(&host, scheme) => Ok(named),
        (Some(host), None, _) => Ok(host),
        (None, named, _) if version == Version::Http10 => {
            Ok(named.unwrap_or(Authority { host: b"", port: None }))
        }
        _ => Err(HOSTNAME),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
