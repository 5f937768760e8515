//! A worker's response head, parsed as strictly as a request (RFC 9112 §4, §6.3).

use super::lines::Lines;
use crate::http::hop::MAX_CONNECTION_OPTIONS;
use crate::http::response::{Bounds, Framing, MAX_FIELDS, ResponseHead, has_no_content};
use crate::http::{Version, fields, number, syntax, upgrade};
use core::mem::MaybeUninit;

/// What is wrong with a worker's response. The client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not a status line.
    StatusLine,
    /// A status code below 100, or 101, which nobody asked for.
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

/// What the request was, as far as it decides on what may answer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// HEAD: no content follows.
    pub head: bool,
    /// The protocols it asked to change to, as the worker was told them; empty: 101 is no answer.
    pub upgrade: &'a [u8],
}

/// As [`parse_answer`], for a request that asked for no change of protocol. `to_head`: it was HEAD.
pub fn parse(buf: &[u8], to_head: bool, max_bytes: usize) -> Parsed<'_> {
    let bounds = Bounds { bytes: max_bytes, ..Bounds::default() };
    parse_answer(buf, Asked { head: to_head, upgrade: &[] }, bounds)
}

/// Looks for a response head at the start of `buf`. Never `Partial` when `buf` holds `bounds.bytes` or more.
pub fn parse_answer<'a>(buf: &'a [u8], asked: Asked<'_>, bounds: Bounds) -> Parsed<'a> {
    match parse_now(buf, asked, bounds) {
        Ok(Some((head, len))) => Parsed::Complete { head, len },
        Ok(None) => Parsed::Partial,
        Err(error) => Parsed::Invalid(error),
    }
}

fn parse_now<'a>(
    buf: &'a [u8],
    asked: Asked<'_>,
    bounds: Bounds,
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
    // 101 turns the link into something else than HTTP.
    if status < 100 || (status == 101 && asked.upgrade.is_empty()) {
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
    let framing = summary.framing(version, status, asked.head)?;
    let head = ResponseHead {
        status,
        phrase: response.reason.unwrap_or_default(),
        version,
        framing,
        content_length: summary.content_length.filter(|_| !summary.chunked && !summary.misframed),
        keep_alive: framing != Framing::UntilClose
            && !summary.close
            && (version == Version::Http11 || summary.keep_alive),
        fields: lines.fields(first),
        ends_there: summary.ends_there(status, asked.head),
        has_date: summary.has_date,
        nominates: summary.nominates,
        upgrade: None,
    };
    if !head.is_upgrade() {
        return Ok(Some((head, len)));
    }
    // RFC 9110 §15.2.2: it has to say what it changed to, which has to be something that it was asked for (§7.8).
    let upgrade = head.fields.get_only("upgrade").ok_or(ResponseError::Field)?;
    if !upgrade::is_answer(asked.upgrade, upgrade) {
        return Err(ResponseError::Field);
    }
    Ok(Some((ResponseHead { upgrade: Some(upgrade), keep_alive: false, ..head }, len)))
}

#[derive(Default)]
struct Summary {
    content_length: Option<u64>,
    chunked: bool,
    /// Framing fields that are malformed or contradict each other.
    misframed: bool,
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
                self.misframed |= length.is_none() || self.content_length.is_some();
                self.content_length = length;
            }
            17 if is(b"transfer-encoding") => {
                // Only chunked, and only once: anything else is not ours to take apart.
                self.misframed |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
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

    /// Nothing lets expect that the worker sends more than the response.
    fn ends_there(&self, status: u16, to_head: bool) -> bool {
        let unframed = self.content_length.is_none() && !self.chunked && !self.misframed;
        match has_no_content(status) {
            true => unframed,
            false => !to_head || (self.content_length == Some(0) && !self.chunked && !self.misframed),
        }
    }

    /// RFC 9112 §6.3
    fn framing(&self, version: Version, status: u16, to_head: bool) -> Result<Framing, ResponseError> {
        if to_head || has_no_content(status) {
            return Ok(Framing::None);
        }
        let contradicts = self.chunked && (self.content_length.is_some() || version == Version::Http10);
        if self.misframed || contradicts {
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
