//! Parsing and strict validation of a request head (RFC 9112 §2, §3, §5, §6).
//!
//! `httparse` finds the parts. It accepts bare LF and any number of empty lines, and does not interpret
//! fields: this module decides whether the result is a valid request, and refuses it if two readings are
//! possible.

mod summary;

use super::diagnosis;
use crate::http::request::{Framing, Present, RequestHead, TargetForm};
use crate::http::target::{self, Authority};
use crate::http::{Method, Refusal, RequestLimits, Version};
use core::mem::MaybeUninit;
use model::reason::Reason;
use summary::{CR_LF, HOSTNAME, Summary};

const BAD_REQUEST: Refusal = Refusal::new(400, Reason::BadRequest);

/// Result of parsing the bytes received so far.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one request; boxing would allocate")]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A whole head.
    Complete {
        /// The head.
        head: RequestHead<'a>,
        /// Length in bytes; content or the next request begins there.
        len: usize,
    },
    /// Not a valid request. Answer, then close.
    Refused(Refusal),
}

/// Remembers what was examined, so that a head that arrives byte by byte is not parsed again for every byte.
/// Start each head with `Progress::default()`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// There is no empty line before this offset.
    scanned: usize,
    /// Length of the buffer when it was last parsed.
    parsed: usize,
}

impl Progress {
    /// Whether to parse: at first sight, when the head may be complete, and when the buffer has doubled, so
    /// that garbage is noticed early and all attempts together cost no more than two.
    #[inline(always)]
    fn is_due(&mut self, buf: &[u8], limit: usize) -> bool {
        if self.parsed != 0 && buf.len() < limit && buf.len() / 2 < self.parsed && !self.head_may_end(buf) {
            return false;
        }
        self.parsed = buf.len();
        true
    }

    /// Looks for an empty line in bytes not scanned yet.
    #[cold]
    fn head_may_end(&mut self, buf: &[u8]) -> bool {
        let mut new = buf.get(self.scanned..).unwrap_or_default();
        self.scanned = buf.len().saturating_sub(2);
        while let Some(end) = new.iter().position(|byte| *byte == b'\n') {
            new = new.get(end + 1..).unwrap_or_default();
            if matches!(new, [b'\n', ..] | [b'\r', b'\n', ..]) {
                return true;
            }
        }
        false
    }
}

type Uninit<'a> = [MaybeUninit<httparse::Header<'a>>; RequestLimits::MAX_FIELDS];

/// Like `?`, but returns a `Parsed`: a `Result` around a whole head would have to be copied.
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
/// `scratch` receives the path if it has to be decoded; `limits.max_url_length + 1` bytes always suffice
/// (otherwise the answer is 414). The result does not depend on how the bytes were split. It is never
/// `Partial` when `buf` holds `limits.max_request_bytes` or more.
// Inlined, so that the head is built in place.
#[inline(always)]
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &RequestLimits,
    scratch: &'a mut [u8],
    progress: &mut Progress,
) -> Parsed<'a> {
    if !progress.is_due(buf, limits.max_request_bytes) {
        return Parsed::Partial;
    }
    // Bytes beyond the limit are ignored, so that the result does not depend on when they arrive.
    let window = buf.get(..limits.max_request_bytes).unwrap_or(buf);
    let (window, skipped) = match window.first() {
        Some(b'!'..) => (window, 0),
        _ => match after_empty_line(window) {
            Some(Ok(rest)) => (rest, window.len() - rest.len()),
            Some(Err(refusal)) => return Parsed::Refused(refusal),
            None => return partial(window, buf, limits),
        },
    };
    let mut headers: Uninit<'a> = [const { MaybeUninit::uninit() }; RequestLimits::MAX_FIELDS];
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
    // The usual parts are handled here: as a structure they would be copied.
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
        summary.present.insert(Present::REWRITTEN);
    }
    let framing = accept!(summary.framing(version));
    // TRACE has no content (RFC 9110 §9.3.8).
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

/// Skips one empty line before the request line, as RFC 9112 §2.2 allows; httparse would skip more. `None` if
/// more bytes are needed to tell.
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

/// `Partial` if there is room for more, otherwise a refusal.
#[cold]
fn partial<'a>(window: &[u8], buf: &[u8], limits: &RequestLimits) -> Parsed<'a> {
    if buf.len() < limits.max_request_bytes {
        return Parsed::Partial;
    }
    Parsed::Refused(if window.contains(&b'\n') {
        limits.oversized(Reason::RequestLength)
    } else {
        Refusal::new(414, Reason::UrlLength)
    })
}

/// Comparing the first four bytes of the window is cheaper than comparing the token.
#[inline(always)]
fn parse_method<'a>(
    request: &httparse::Request<'_, 'a>,
    window: &[u8],
    limits: &RequestLimits,
) -> Result<Method<'a>, Refusal> {
    if window.starts_with(b"GET ") { Ok(Method::Get) } else { other_method(request.method, limits) }
}

#[inline(never)]
fn other_method<'a>(token: Option<&'a str>, limits: &RequestLimits) -> Result<Method<'a>, Refusal> {
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

/// Handles a missing Host, and a target that names a host as well (RFC 9112 §3.2, §3.3).
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
