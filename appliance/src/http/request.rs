//! Parsing and strict validation of a request head (RFC 9112 §2, §3, §5, §6).
//!
//! `httparse` finds the parts. It forgives bare LF and any number of empty lines, and knows nothing of what fields
//! mean: whether its result is a request is decided here, and where two readings are possible the answer is no.

use super::lines::Lines;
use super::syntax::is_name;
use super::target::{self, Authority};
use super::{Fields, Limits, Method, Reason, Refusal, Version, diagnosis};
use crate::site::Scheme;
use core::mem::MaybeUninit;

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
    /// Path as received, without the query, still percent-encoded; starts with `/` (or is `*`).
    pub raw_path: &'a str,
    /// Path percent-decoded, dot segments removed (RFC 3986 §5.2.4); starts with `/` (or is `*`). `%2F` stays as it
    /// is: an encoded slash never separates segments.
    pub path: &'a str,
    /// Query without the `?`.
    pub query: Option<&'a str>,
    /// Host as received, without port (an IPv6 literal keeps its brackets); compare without regard to case. Empty only
    /// for HTTP/1.0 without Host.
    pub host: &'a [u8],
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
    /// Which of the fields that other modules look for are there.
    pub(crate) present: Present,
    /// The path had dot segments: what is forwarded must not have them.
    pub(crate) rewritten: bool,
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(u8);

impl Present {
    /// Connection names fields.
    pub(crate) const NOMINATED: u8 = 1;
    /// Any of the fields of RFC 9110 §13.1 but If-Range.
    pub(crate) const PRECONDITION: u8 = 2;
    pub(crate) const RANGE: u8 = 4;
    pub(crate) const UPGRADE: u8 = 8;

    pub(crate) fn any(self, set: u8) -> bool {
        self.0 & set != 0
    }
}

impl<'a> RequestHead<'a> {
    /// The protocols the client would change to (RFC 9110 §7.8), if it asks in a way that can be passed on: a GET without
    /// content whose Connection names Upgrade.
    pub fn upgrade(&self) -> Option<&'a [u8]> {
        if !self.present.any(Present::UPGRADE) || !self.present.any(Present::NOMINATED) {
            return None;
        }
        let asks = self.method == Method::Get
            && self.version == Version::Http11
            && self.framing == Framing::None
            && self.fields.elements("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        self.fields.get_only("upgrade").filter(|value| asks && !value.is_empty())
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
    fn is_due(&mut self, buf: &[u8], limit: usize) -> bool {
        if self.parsed != 0 && buf.len() < limit && buf.len() / 2 < self.parsed && !self.head_may_end(buf) {
            return false;
        }
        self.parsed = buf.len();
        true
    }

    /// Looks for an empty line in what was not scanned yet.
    fn head_may_end(&mut self, buf: &[u8]) -> bool {
        let new = buf.get(self.scanned..).unwrap_or_default();
        let found = new.windows(2).any(|w| w == b"\n\n") || new.windows(3).any(|w| w == b"\n\r\n");
        self.scanned = buf.len().saturating_sub(2);
        found
    }
}

/// Looks for a request head at the start of `buf`.
///
/// `scratch` receives the path if it has to be decoded; with at least `limits.max_url_length + 1` bytes it always fits
/// (else the answer is 414). The verdict does not depend on how the bytes were split. It is never `Partial` when
/// `buf` holds `limits.max_request_bytes` or more.
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &Limits,
    scratch: &'a mut [u8],
    progress: &mut Progress,
) -> Parsed<'a> {
    if !progress.is_due(buf, limits.max_request_bytes) {
        return Parsed::Partial;
    }
    parse_now(buf, limits, scratch)
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

// Inlined, so that the head is built where the caller wants it.
#[inline(always)]
fn parse_now<'a>(buf: &'a [u8], limits: &Limits, scratch: &'a mut [u8]) -> Parsed<'a> {
    // Nothing beyond the limit is looked at, so that the verdict is the same whenever it arrives.
    let window = buf.get(..limits.max_request_bytes).unwrap_or(buf);
    // RFC 9112 §2.2: one empty line before the request line is forgiven. httparse would forgive more.
    let skipped = match window {
        [b'\r', b'\n', ..] => 2,
        [] | [b'\r'] => return partial(window, buf, limits),
        _ => 0,
    };
    let window = window.get(skipped..).unwrap_or_default();
    if matches!(window, [b'\r' | b'\n', ..]) {
        return Parsed::Refused(CR_LF);
    }
    let mut headers: Uninit<'a> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(window, &mut headers) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(window, buf, limits),
        Err(error) => return Parsed::Refused(diagnosis::refusal(window, error, limits)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Parsed::Refused(BAD_REQUEST);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut summary = Summary::default();
    let fields = accept!(summary.read(window, len, request.headers, limits));
    let method = accept!(parse_method(method, limits));
    let target_parts = accept!(target::parse(target, method, limits, scratch));
    let authority = accept!(summary.authority(version, &target_parts));
    let framing = accept!(summary.framing(version));
    // RFC 9110 §9.3.8: TRACE has no content.
    if method == Method::Trace && framing != Framing::None {
        return Parsed::Refused(BAD_REQUEST);
    }
    Parsed::Complete {
        len: skipped + len,
        head: RequestHead {
            method,
            version,
            form: target_parts.form,
            target,
            raw_path: target_parts.raw_path,
            path: target_parts.path,
            query: target_parts.query,
            host: authority.host,
            port: authority.port,
            framing,
            keep_alive: !summary.close && (version == Version::Http11 || summary.keep_alive),
            // RFC 9110 §10.1.1: an HTTP/1.0 client cannot expect it.
            expects_continue: summary.expects_continue && version == Version::Http11,
            fields,
            present: summary.present,
            rewritten: target_parts.rewritten,
        },
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

#[inline(always)]
fn parse_method<'a>(token: &'a str, limits: &Limits) -> Result<Method<'a>, Refusal> {
    Ok(match token {
        "GET" => Method::Get,
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

/// What the fields say about the request as a whole.
#[derive(Default)]
struct Summary<'a> {
    host: Option<Authority<'a>>,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    connection_options: usize,
    present: Present,
}

/// Options that one head may list in Connection; more are a way to make us compare names.
pub(crate) const MAX_CONNECTION_OPTIONS: usize = 16;

const BAD_REQUEST: Refusal = Refusal::new(400, Reason::BadRequest);
const HEADER: Refusal = Refusal::new(400, Reason::Header);
const HOSTNAME: Refusal = Refusal::new(400, Reason::Hostname);
const NUMBER: Refusal = Refusal::new(400, Reason::Number);
const CR_LF: Refusal = Refusal::new(400, Reason::InvalidCrLf);

impl<'a> Summary<'a> {
    /// Checks the line ends and lengths of all field lines and reads those that matter here.
    #[inline(always)]
    fn read(
        &mut self,
        window: &'a [u8],
        len: usize,
        headers: &[httparse::Header<'a>],
        limits: &Limits,
    ) -> Result<Fields<'a>, Refusal> {
        if headers.len() > limits.max_fields {
            return Err(limits.oversized(Reason::RequestLength));
        }
        let lines = window.get(..len).and_then(Lines::new).ok_or(CR_LF)?;
        let first = lines.start(headers.first());
        if !lines.is_ended(first) {
            return Err(CR_LF);
        }
        let mut start = first;
        let mut headers = headers.iter();
        while let Some(header) = headers.next() {
            let next = lines.start(headers.as_slice().first());
            if !lines.is_ended(next) {
                return Err(CR_LF);
            }
            if next.wrapping_sub(start) > limits.max_field_length.saturating_add(2) {
                return Err(limits.oversized(Reason::FieldLength));
            }
            self.field(header.name.as_bytes(), header.value)?;
            start = next;
        }
        Ok(lines.fields(first))
    }

    #[inline(always)]
    fn field(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        // Most fields are told apart by their length.
        match name.len() {
            4 if is_name(name, b"host") => self.host(value),
            5 if is_name(name, b"range") => self.note(Present::RANGE),
            6 if is_name(name, b"expect") => self.expect(value),
            7 if is_name(name, b"upgrade") => self.note(Present::UPGRADE),
            8 if is_name(name, b"if-match") => self.note(Present::PRECONDITION),
            10 if is_name(name, b"connection") => self.connection(value),
            13 if is_name(name, b"if-none-match") => self.note(Present::PRECONDITION),
            14 if same_but_underscore(name, b"content-length") => self.length(name, value),
            17 if is_name(name, b"if-modified-since") => self.note(Present::PRECONDITION),
            17 if same_but_underscore(name, b"transfer-encoding") => self.transfer_encoding(name, value),
            19 if is_name(name, b"if-unmodified-since") => self.note(Present::PRECONDITION),
            _ => Ok(()),
        }
    }

    fn note(&mut self, field: u8) -> Result<(), Refusal> {
        self.present.0 |= field;
        Ok(())
    }

    #[inline(always)]
    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        let authority = target::parse_authority(value)?;
        // RFC 9112 §3.2: more than one Host is an error, even if they agree.
        if self.host.replace(authority).is_some() { Err(HOSTNAME) } else { Ok(()) }
    }

    #[cold]
    fn expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for expectation in super::fields::elements(value) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::new(417, Reason::Header));
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // What most clients send, if they send it at all.
        if value.eq_ignore_ascii_case(b"keep-alive") && self.connection_options == 0 {
            self.connection_options = 1;
            self.keep_alive = true;
            return Ok(());
        }
        for option in super::fields::elements(value) {
            self.connection_options += 1;
            if self.connection_options > MAX_CONNECTION_OPTIONS
                || !option.iter().all(|&b| super::syntax::is_tchar(b))
            {
                return Err(HEADER);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if is_end_to_end(option) {
                return Err(HEADER);
            } else {
                self.present.0 |= Present::NOMINATED;
            }
        }
        Ok(())
    }

    fn length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // Content_Length means Content-Length to servers that turn names into environment variables.
        if name.contains(&b'_') {
            return Err(HEADER);
        }
        let length = content_length(value).ok_or(NUMBER)?;
        // RFC 9112 §6.3 lets us refuse a repeated length even if both agree.
        if self.content_length.replace(length).is_some() { Err(NUMBER) } else { Ok(()) }
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.contains(&b'_') || self.chunked {
            return Err(HEADER);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(diagnosis::transfer_encoding(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// RFC 9112 §6.3
    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.chunked, self.content_length) {
            (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (true, None) if version == Version::Http11 => Ok(Framing::Chunked),
            (true, _) => Err(HEADER),
        }
    }

    /// RFC 9112 §3.2, §3.3
    #[inline(always)]
    fn authority(&self, version: Version, target: &target::Target<'a>) -> Result<Authority<'a>, Refusal> {
        match (self.host, target.form) {
            (Some(host), TargetForm::Origin | TargetForm::Asterisk) => Ok(host),
            _ => self.unusual_authority(version, target),
        }
    }

    fn unusual_authority(
        &self,
        version: Version,
        target: &target::Target<'a>,
    ) -> Result<Authority<'a>, Refusal> {
        match (self.host, target.authority, target.form) {
            (Some(host), Some(named), TargetForm::Absolute(scheme)) if named.same(&host, scheme) => Ok(named),
            (None, named, _) if version == Version::Http10 => {
                Ok(named.unwrap_or(Authority { host: b"", port: None }))
            }
            _ => Err(HOSTNAME),
        }
    }
}

/// Equal in any case, `_` counting as `-`.
fn same_but_underscore(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name.iter().zip(lower).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

/// Fields that a Connection option must not name (RFC 9110 §7.6.1): removing them would change what the message means.
fn is_end_to_end(option: &[u8]) -> bool {
    ["host", "content-length", "content-type", "content-encoding", "authorization", "cookie"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
}

/// A Content-Length value: digits only (RFC 9110 §8.6), and a number that fits 64 bits.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |n, &b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
