//! Finds out why a head was refused: the slow path behind [`super::request`], where exact reasons are worth
//! the cost.
//!
//! A result may only depend on bytes up to the one at which `httparse` stopped, so that it is the same
//! however the head was split.

use crate::http::syntax::is_tchar;
use crate::http::{Method, Refusal, RequestLimits, fields};
use model::reason::Reason;

const BAD_REQUEST: Refusal = Refusal::new(400, Reason::BadRequest);
const VERB: Refusal = Refusal::new(400, Reason::Verb);

/// Length of the longest method that is forwarded, in bytes.
const MAX_METHOD: usize = 32;

/// Turns an error of `httparse` into a refusal.
#[cold]
pub(crate) fn refusal(window: &[u8], error: httparse::Error, limits: &RequestLimits) -> Refusal {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => header(window),
        httparse::Error::NewLine => Refusal::new(400, Reason::InvalidCrLf),
        httparse::Error::TooManyHeaders => limits.oversized(Reason::RequestLength),
        httparse::Error::Version => version(window),
        httparse::Error::Token => token(window),
        httparse::Error::Status => BAD_REQUEST,
    }
}

/// Refuses the method or the target.
fn token(window: &[u8]) -> Refusal {
    let method_end = window.iter().position(|&b| !is_tchar(b)).unwrap_or(window.len());
    if method_end == 0 || window.get(method_end) != Some(&b' ') {
        return VERB;
    }
    let target = window.get(method_end + 1..).unwrap_or_default();
    match target.iter().find(|&&b| b <= b' ' || b == 0x7f) {
        // "GET /" and a line end: HTTP/0.9, or no request line at all.
        Some(b'\r' | b'\n') => BAD_REQUEST,
        _ => Refusal::new(400, Reason::Url),
    }
}

fn version(window: &[u8]) -> Refusal {
    match window.split(|&b| b == b' ').nth(2) {
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]) => {
            Refusal::new(505, Reason::VersionNotSupported)
        }
        _ => BAD_REQUEST,
    }
}

/// Refuses a field line with a bare CR in its value, or with an invalid byte.
fn header(window: &[u8]) -> Refusal {
    let bare_cr = window.split(|&b| b == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|&b| b == b':');
        let (name, value) = line.split_at_checked(colon.unwrap_or(line.len())).unwrap_or_default();
        if matches!(colon, None | Some(0)) || !name.iter().all(|&b| is_tchar(b)) {
            return Some(false);
        }
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        value.iter().find(|&&b| (b < b' ' && b != b'\t') || b == 0x7f).map(|&b| b == b'\r')
    });
    Refusal::new(400, if bare_cr == Some(true) { Reason::InvalidCrLf } else { Reason::Header })
}

/// Parses an unknown method: a letter, then letters, digits, hyphens, dots and underscores, like all
/// registered methods. RFC 9110 §9.1 allows any token, but `01234567GET` is a fragment of something else.
/// Methods are case-sensitive: `get` is not GET, but a server behind the appliance may think so.
#[cold]
pub(crate) fn other_method(token: &str) -> Result<Method<'_>, Refusal> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = token.starts_with(|c: char| c.is_ascii_alphabetic()) && token.bytes().all(is_part);
    if !is_name || token.len() > MAX_METHOD || KNOWN.iter().any(|known| token.eq_ignore_ascii_case(known)) {
        return Err(VERB);
    }
    Ok(Method::Other(token))
}

/// Refuses a Transfer-Encoding other than `chunked`: 400 if chunked is not last or is repeated, otherwise an
/// unknown coding (RFC 9112 §6.1).
#[cold]
pub(crate) fn transfer_encoding(value: &[u8]) -> Refusal {
    let header = Refusal::new(400, Reason::Header);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = fields::elements(value);
    match codings.clone().last() {
        None => return header,
        Some(last) if !is_chunked(last) && codings.clone().any(is_chunked) => return header,
        _ => {}
    }
    let known_only = codings.all(is_chunked);
    if known_only { header } else { Refusal::new(501, Reason::NotImplemented) }
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
