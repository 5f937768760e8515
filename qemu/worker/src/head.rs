//! Parses request heads.

use alloc::string::String;
use alloc::vec::Vec;

/// Maximum length of a head in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Maximum number of fields.
pub const MAX_FIELDS: usize = 96;

/// How the length of request content is determined (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, or no content (0).
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A parsed request head.
#[derive(Clone, Debug)]
pub struct Head {
    /// Request method.
    pub method: String,
    /// Request target as sent.
    pub target: String,
    /// Minor version: 0 or 1.
    pub minor: u8,
    /// All fields in order, values as Latin-1.
    pub fields: Vec<(String, String)>,
    /// Framing of the content.
    pub framing: Framing,
    /// Whether the connection stays open after this exchange.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the content.
    pub expects_continue: bool,
}

/// Why a head was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1, or ambiguous.
    Bad,
    /// Longer than [`MAX_HEAD`], or with more than [`MAX_FIELDS`] fields.
    TooLarge,
}

/// Parses the head at the start of `bytes`: `None` if it is incomplete, otherwise the head and its length.
pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(n)) => n,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(HeadError::TooLarge);
        }
        Err(_) => return Err(HeadError::Bad),
    };
    let minor = request.version.ok_or(HeadError::Bad)?;
    let fields: Vec<_> = request.headers.iter().map(|h| (String::from(h.name), latin1(h.value))).collect();
    let connection = |option| has_token(&fields, "connection", option);
    Ok(Some((
        Head {
            method: request.method.ok_or(HeadError::Bad)?.into(),
            target: request.path.ok_or(HeadError::Bad)?.into(),
            minor,
            framing: framing(&fields)?,
            keep_alive: !connection("close") && (minor == 1 || connection("keep-alive")),
            expects_continue: minor == 1 && has_token(&fields, "expect", "100-continue"),
            fields,
        },
        len,
    )))
}

impl Head {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

fn framing(fields: &[(String, String)]) -> Result<Framing, HeadError> {
    let values = |name: &'static str| {
        fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    };
    let mut lengths = values("content-length");
    match (values("transfer-encoding").next(), lengths.next()) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(length)) if lengths.next().is_none() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| HeadError::Bad)
        }
        _ => Err(HeadError::Bad),
    }
}

fn has_token(fields: &[(String, String)], name: &str, token: &str) -> bool {
    fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .flat_map(|(_, v)| v.split(','))
        .any(|t| t.trim().eq_ignore_ascii_case(token))
}

fn latin1(value: &[u8]) -> String {
    value.iter().copied().map(char::from).collect()
}
