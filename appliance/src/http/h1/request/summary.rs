//! What the fields of a request say about it as a whole: its host, its framing, and the fate of the
//! connection.

use crate::http::h1::diagnosis;
use crate::http::h1::lines::Lines;
use crate::http::hop::{self, MAX_CONNECTION_OPTIONS};
use crate::http::request::Present;
use crate::http::syntax::{is_name, is_tchar};
use crate::http::{Fields, Framing, Refusal, RequestLimits, Version, fields, number};
use model::reason::Reason;

/// What the fields say about the request as a whole.
#[derive(Default)]
pub(super) struct Summary {
    content_length: Option<u64>,
    connection_options: usize,
    pub(super) present: Present,
}

const HOST: u32 = u32::from_le_bytes(*b"host");
const HEADER: Refusal = Refusal::new(400, Reason::Header);
pub(super) const HOSTNAME: Refusal = Refusal::new(400, Reason::Hostname);
const NUMBER: Refusal = Refusal::new(400, Reason::Number);
pub(super) const CR_LF: Refusal = Refusal::new(400, Reason::InvalidCrLf);

impl Summary {
    /// Checks the line ends and lengths of all field lines, and reads those that matter here. Returns Host,
    /// and all fields.
    #[inline(always)]
    pub(super) fn read<'a>(
        &mut self,
        window: &'a [u8],
        len: usize,
        headers: &[httparse::Header<'a>],
        limits: &RequestLimits,
    ) -> Result<(Option<&'a [u8]>, Fields<'a>), Refusal> {
        if headers.len() > limits.max_fields {
            return Err(limits.oversized(Reason::RequestLength));
        }
        let lines = window.get(..len).and_then(Lines::new).ok_or(CR_LF)?;
        let first = lines.start(headers.first());
        let mut host = None;
        for header in headers {
            if !lines.is_ended(lines.start(Some(header))) {
                return Err(CR_LF);
            }
            let name = header.name.as_bytes();
            if !matters(name) {
                continue;
            }
            let is_host = name.first_chunk().filter(|_| name.len() == 4);
            let is_host = is_host.is_some_and(|name| u32::from_le_bytes(*name) | 0x2020_2020 == HOST);
            if !is_host {
                self.field(name, header.value)?;
            } else if host.replace(header.value).is_some() {
                // More than one Host is an error, even if they agree (RFC 9112 §3.2).
                return Err(HOSTNAME);
            }
        }
        if len > limits.max_field_length && lines.longest(headers) > limits.max_field_length {
            return Err(limits.oversized(Reason::FieldLength));
        }
        Ok((host, lines.fields(first)))
    }

    /// Reads a field, other than Host, whose name [`matters`].
    #[inline(never)]
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            5 if is_name(name, b"range") => self.note(Present::RANGE),
            6 if is_name(name, b"expect") => self.expect(value),
            7 if is_name(name, b"upgrade") => self.note(Present::UPGRADE),
            8 if is_name(name, b"if-match") => self.note(Present::PRECONDITION),
            10 if is_name(name, b"connection") => self.connection(value),
            13 if is_name(name, b"if-none-match") => self.note(Present::PRECONDITION),
            14 if hop::same(name, b"content-length") => self.length(name, value),
            17 if is_name(name, b"if-modified-since") => self.note(Present::PRECONDITION),
            17 if hop::same(name, b"transfer-encoding") => self.transfer_encoding(name, value),
            19 if is_name(name, b"if-unmodified-since") => self.note(Present::PRECONDITION),
            _ => Ok(()),
        }
    }

    fn note(&mut self, field: u16) -> Result<(), Refusal> {
        self.present.insert(field);
        Ok(())
    }

    #[cold]
    fn expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for expectation in fields::elements(value) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::new(417, Reason::Header));
            }
            self.present.insert(Present::EXPECTATION);
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // What most clients send, if anything.
        if value.eq_ignore_ascii_case(b"keep-alive") && self.connection_options == 0 {
            self.connection_options = 1;
            return self.note(Present::KEEP_ALIVE);
        }
        for option in fields::elements(value) {
            self.connection_options += 1;
            if self.connection_options > MAX_CONNECTION_OPTIONS || !option.iter().all(|&b| is_tchar(b)) {
                return Err(HEADER);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.present.insert(Present::CLOSE);
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.present.insert(Present::KEEP_ALIVE);
            } else if is_end_to_end(option) {
                return Err(HEADER);
            } else {
                self.present.insert(Present::NOMINATED);
            }
        }
        Ok(())
    }

    fn length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // Servers that turn names into environment variables take Content_Length for Content-Length.
        if !is_name(name, b"content-length") {
            return Err(HEADER);
        }
        let length = number::decimal(value).ok_or(NUMBER)?;
        // A repeated length may be refused even if both agree (RFC 9112 §6.3).
        if self.content_length.replace(length).is_some() { Err(NUMBER) } else { Ok(()) }
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !is_name(name, b"transfer-encoding") || self.present.any(Present::CHUNKED) {
            return Err(HEADER);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(diagnosis::transfer_encoding(value));
        }
        self.note(Present::CHUNKED)
    }

    /// The framing of the request (RFC 9112 §6.3).
    #[inline(always)]
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.present.any(Present::CHUNKED), self.content_length) {
            (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (true, None) if version == Version::Http11 => Ok(Framing::Chunked),
            (true, _) => Err(HEADER),
        }
    }
}

/// Quick check by first letter and length: false for most names that [`Summary::read`] does not look for.
#[inline(always)]
fn matters(name: &[u8]) -> bool {
    const NAMES: [&str; 11] = [
        "host",
        "range",
        "expect",
        "upgrade",
        "if-match",
        "connection",
        "if-none-match",
        "content-length",
        "if-modified-since",
        "transfer-encoding",
        "if-unmodified-since",
    ];
    /// Bit n: a name of n bytes that begins with this letter matters.
    static LENGTHS: [u32; 32] = {
        let mut lengths = [0; 32];
        let mut i = 0;
        while i < NAMES.len() {
            lengths[(NAMES[i].as_bytes()[0] & 31) as usize] |= 1 << NAMES[i].len();
            i += 1;
        }
        lengths
    };
    name.first()
        .is_some_and(|&first| LENGTHS[usize::from(first & 31)].wrapping_shr(name.len() as u32) & 1 != 0)
}

/// Fields that a Connection option must not name (RFC 9110 §7.6.1), since removing them would change the
/// message.
fn is_end_to_end(option: &[u8]) -> bool {
    ["host", "content-length", "content-type", "content-encoding", "authorization", "cookie"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
}
