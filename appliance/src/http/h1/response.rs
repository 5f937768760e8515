//! Strict parsing of a worker's response head (RFC 9112 §4, §6.3).

use super::lines::Lines;
use crate::http::hop::MAX_CONNECTION_OPTIONS;
use crate::http::response::{Framing, MAX_FIELDS, ResponseHead, ResponseLimits, has_no_content};
use crate::http::{Version, fields, number, syntax, upgrade};
use core::mem::MaybeUninit;

/// What is wrong with a worker's response. The client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not a status line.
    StatusLine,
    /// A status code below 100, or an unrequested 101.
    Status,
    /// A malformed field, a bare CR or LF, a line folding.
    Field,
    /// Contradictory or unknown framing.
    Framing,
    /// Longer than the limit, or too many fields.
    TooLarge,
}

/// Result of parsing the bytes received so far.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one response; boxing would allocate")]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A whole head.
    Complete {
        /// The head.
        head: ResponseHead<'a>,
        /// Its length in bytes.
        len: usize,
    },
    /// Not a response that can be passed on.
    Invalid(ResponseError),
}

/// What matters of the request for parsing the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    /// The request is HEAD: no content follows.
    pub is_head: bool,
    /// Protocols it asked to switch to, as sent to the worker; if empty, 101 is invalid.
    pub upgrade: &'a [u8],
}

/// Like [`parse_for`], for a request without Upgrade. `is_head`: it was HEAD.
pub fn parse(buf: &[u8], is_head: bool, max_bytes: usize) -> Parsed<'_> {
    let bounds = ResponseLimits { bytes: max_bytes, ..ResponseLimits::default() };
    parse_for(buf, RequestInfo { is_head, upgrade: &[] }, bounds)
}

/// Looks for a response head at the start of `buf`. Never `Partial` when `buf` holds `bounds.bytes` or more.
pub fn parse_for<'a>(buf: &'a [u8], request: RequestInfo<'_>, bounds: ResponseLimits) -> Parsed<'a> {
    match parse_now(buf, request, bounds) {
        Ok(Some((head, len))) => Parsed::Complete { head, len },
        Ok(None) => Parsed::Partial,
        Err(error) => Parsed::Invalid(error),
    }
}

fn parse_now<'a>(
    buf: &'a [u8],
    request: RequestInfo<'_>,
    bounds: ResponseLimits,
) -> Result<Option<(ResponseHead<'a>, usize)>, ResponseError> {
    let window = buf.get(..bounds.bytes).unwrap_or(buf);
    // httparse would skip empty lines.
    if window.first().is_some_and(|&b| b != b'H') {
        return Err(ResponseError::StatusLine);
    }
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        window,
        headers.get_mut(..bounds.fields).unwrap_or_default(),
    );
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if buf.len() < bounds.bytes => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(ResponseError::TooLarge);
        }
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(ResponseError::Field),
        Err(_) => return Err(ResponseError::StatusLine),
    };
    let (Some(minor), Some(status)) = (response.version, response.code) else {
        return Err(ResponseError::StatusLine);
    };
    // 101 turns the link into a tunnel.
    if status < 100 || (status == 101 && request.upgrade.is_empty()) {
        return Err(ResponseError::Status);
    }
    let lines = window.get(..len).and_then(Lines::new).ok_or(ResponseError::Field)?;
    let first = lines.start(response.headers.first());
    let mut summary = Summary::default();
    let mut headers = response.headers.iter();
    let mut all_ended = lines.is_ended(first);
    while let Some(header) = headers.next() {
        all_ended &= lines.is_ended(lines.start(headers.as_slice().first()));
        summary.field(header.name.as_bytes(), header.value)?;
    }
    if !all_ended {
        return Err(ResponseError::Field);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let framing = summary.framing(version, status, request.is_head)?;
    let head = ResponseHead {
        status,
        phrase: response.reason.unwrap_or_default(),
        version,
        framing,
        content_length: summary.content_length.filter(|_| !summary.chunked && !summary.bad_framing),
        keep_alive: framing != Framing::UntilClose
            && !summary.close
            && (version == Version::Http11 || summary.keep_alive),
        fields: lines.fields(first),
        expects_no_surplus: summary.expects_no_surplus(status, request.is_head),
        has_date: summary.has_date,
        nominates: summary.nominates,
        upgrade: None,
    };
    if !head.is_upgrade() {
        return Ok(Some((head, len)));
    }
    // 101 must name the protocol switched to (RFC 9110 §15.2.2), which must have been requested (§7.8).
    let upgrade = head.fields.get_only("upgrade").ok_or(ResponseError::Field)?;
    if !upgrade::is_answer(request.upgrade, upgrade) {
        return Err(ResponseError::Field);
    }
    Ok(Some((ResponseHead { upgrade: Some(upgrade), keep_alive: false, ..head }, len)))
}

#[derive(Default)]
struct Summary {
    content_length: Option<u64>,
    chunked: bool,
    /// Malformed or contradictory framing fields.
    bad_framing: bool,
    close: bool,
    keep_alive: bool,
    has_date: bool,
    nominates: bool,
    connection_options: usize,
}

impl Summary {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), ResponseError> {
        let is = |lower: &[u8]| name.eq_ignore_ascii_case(lower);
        match name.len() {
            4 if is(b"date") => self.has_date = true,
            10 if is(b"connection") => self.connection(value)?,
            14 if is(b"content-length") => {
                let length = number::decimal(value);
                self.bad_framing |= length.is_none() || self.content_length.is_some();
                self.content_length = length;
            }
            17 if is(b"transfer-encoding") => {
                // Only chunked, and only once: other codings are not supported.
                self.bad_framing |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        for option in fields::elements(value) {
            self.connection_options += 1;
            if self.connection_options > MAX_CONNECTION_OPTIONS
                || !option.iter().all(|&b| syntax::is_tchar(b))
            {
                return Err(ResponseError::Field);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.nominates = true;
            }
        }
        Ok(())
    }

    /// Whether nothing suggests that the worker sends more than the response.
    fn expects_no_surplus(&self, status: u16, is_head: bool) -> bool {
        let unframed = self.content_length.is_none() && !self.chunked && !self.bad_framing;
        match has_no_content(status) {
            true => unframed,
            false => !is_head || (self.content_length == Some(0) && !self.chunked && !self.bad_framing),
        }
    }

    /// The framing of the response (RFC 9112 §6.3).
    fn framing(&self, version: Version, status: u16, is_head: bool) -> Result<Framing, ResponseError> {
        if is_head || has_no_content(status) {
            return Ok(Framing::None);
        }
        let contradicts = self.chunked && (self.content_length.is_some() || version == Version::Http10);
        if self.bad_framing || contradicts {
            return Err(ResponseError::Framing);
        }
        Ok(match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        })
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
