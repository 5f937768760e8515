//! Why a head was refused: the slow path behind [`super::request`], where exact reasons are worth their cost.

use super::{Method, Reason, Refusal};

const VERB: Refusal = Refusal::new(400, Reason::Verb);

/// The longest method that is passed on.
const MAX_METHOD: usize = 32;

/// What is wrong with a request target that ends with this byte.
#[cold]
pub(crate) fn target(end: u8) -> Refusal {
    match end {
        // "GET /" and a line end: HTTP/0.9, or something that is no request line at all.
        b'\r' | b'\n' => Refusal::new(400, Reason::BadRequest),
        _ => Refusal::new(400, Reason::Url),
    }
}

/// A method we do not know by name. Methods are case-sensitive (RFC 9110 §9.1): `get` is not GET, but some server
/// behind us may think so.
#[cold]
pub(crate) fn other_method(token: &[u8]) -> Result<Method<'_>, Refusal> {
    let token = core::str::from_utf8(token).map_err(|_| VERB)?;
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    if token.len() > MAX_METHOD || KNOWN.iter().any(|known| token.eq_ignore_ascii_case(known)) {
        return Err(VERB);
    }
    Ok(Method::Other(token))
}

/// A Transfer-Encoding that is not `chunked`: an error if chunked is not last or not alone of its kind, and else a
/// coding that we do not know (RFC 9112 §6.1).
#[cold]
pub(crate) fn transfer_encoding(value: &[u8]) -> Refusal {
    let header = Refusal::new(400, Reason::Header);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = super::fields::elements(value);
    match codings.clone().last() {
        None => return header,
        Some(last) if !is_chunked(last) && codings.clone().any(is_chunked) => return header,
        _ => {}
    }
    let known_only = codings.all(is_chunked);
    if known_only { header } else { Refusal::new(501, Reason::NotImplemented) }
}
