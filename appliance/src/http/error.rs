//! Answers of our own, and what all heads end with.

use super::{Overflow, Sink, Version};
use model::date::DateCache;

/// `100 Continue`, the interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

macro_rules! phrases {
    ($($status:literal $phrase:literal;)*) => {
        /// The reason phrase of a status code (RFC 9110 §15), `Unknown` for those that are not of our making.
        pub fn phrase(status: u16) -> &'static str {
            match status {
                200 => "OK",
                204 => "No Content",
                206 => "Partial Content",
                301 => "Moved Permanently",
                304 => "Not Modified",
                308 => "Permanent Redirect",
                $($status => $phrase,)*
                _ => "Unknown",
            }
        }

        #[cfg(test)]
        const ALL: &[u16] = &[$($status),*];
    };
}

phrases! {
    400 "Bad Request";
    403 "Forbidden";
    404 "Not Found";
    405 "Method Not Allowed";
    412 "Precondition Failed";
    413 "Content Too Large";
    414 "URI Too Long";
    416 "Range Not Satisfiable";
    417 "Expectation Failed";
    421 "Misdirected Request";
    429 "Too Many Requests";
    431 "Request Header Fields Too Large";
    500 "Internal Server Error";
    501 "Not Implemented";
    502 "Bad Gateway";
    503 "Service Unavailable";
    504 "Gateway Timeout";
    505 "HTTP Version Not Supported";
}

/// What the content of an HTTP request to a port for HTTPS is told.
pub const PLAIN_HTTP: &str = "plain HTTP was sent to an HTTPS port, expected https";

/// An answer of our own whose content is its status in words.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    /// Field lines beside those that every answer has, each with its CRLF.
    pub fields: &'a [u8],
    /// Those of the site, such as Strict-Transport-Security.
    pub site_fields: &'a [u8],
    /// What the content says beside the status, if anything.
    pub detail: &'a str,
    /// The request was HEAD: no content.
    pub to_head: bool,
    /// The client's version.
    pub version: Version,
    /// The connection may live on.
    pub keep_alive: bool,
}

impl<'a> Answer<'a> {
    /// An error response, after which the connection is closed.
    pub const fn refusal(status: u16, to_head: bool) -> Self {
        let (fields, version) = (b"Cache-Control: no-store\r\n", Version::Http11);
        Self { status, fields, site_fields: b"", detail: "", to_head, version, keep_alive: false }
    }

    /// The same with this in its content.
    pub const fn with_detail(self, detail: &'a str) -> Self {
        Self { detail, ..self }
    }

    /// Writes head and content.
    pub fn write(&self, date: &DateCache, out: &mut Sink<'_>) -> Result<(), Overflow> {
        let phrase = phrase(self.status);
        let detail = if self.detail.is_empty() { 0 } else { 2 + self.detail.len() };
        out.put(b"HTTP/1.1 ")?;
        out.put_decimal(u64::from(self.status))?;
        out.put(b" ")?;
        out.put(phrase.as_bytes())?;
        out.put(b"\r\nContent-Type: text/plain\r\nContent-Length: ")?;
        // Three digits, a blank, the phrase, colon and blank before what else is said, and a line end.
        out.put_decimal((4 + phrase.len() + detail + 1) as u64)?;
        out.put(b"\r\n")?;
        out.put(self.fields)?;
        out.put(self.site_fields)?;
        end_head(Some(date), self.version, self.keep_alive, out)?;
        if self.to_head {
            return Ok(());
        }
        out.put_decimal(u64::from(self.status))?;
        out.put(b" ")?;
        out.put(phrase.as_bytes())?;
        if detail > 0 {
            out.put(b": ")?;
            out.put(self.detail.as_bytes())?;
        }
        out.put(b"\n")
    }
}

/// `429 Too Many Requests` with `Retry-After` (RFC 6585 §4).
pub fn too_many_requests(
    retry_after_secs: u64,
    to_head: bool,
    site_fields: &[u8],
    date: &DateCache,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    let mut line = [0; 64];
    let mut fields = Sink::new(&mut line);
    fields.put(Answer::refusal(429, to_head).fields)?;
    fields.put(b"Retry-After: ")?;
    fields.put_decimal(retry_after_secs)?;
    fields.put(b"\r\n")?;
    Answer { fields: fields.written(), site_fields, ..Answer::refusal(429, to_head) }.write(date, out)
}

/// The status of a response head that we wrote, 0 if it is none.
pub fn status_of(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|digits| core::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The end of every head but interim ones: Date (RFC 9110 §6.6.1) unless the head has one, what becomes of the connection
/// (RFC 9112 §9.3), and the empty line.
#[inline]
pub(super) fn end_head(
    date: Option<&DateCache>,
    version: Version,
    keep_alive: bool,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    if let Some(date) = date {
        out.put(date.line())?;
    }
    out.put(match (version, keep_alive) {
        (Version::Http11, true) => b"\r\n",
        (Version::Http10, true) => b"Connection: keep-alive\r\n\r\n",
        (_, false) => b"Connection: close\r\n\r\n",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::{self, Framing, Parsed};

    fn written(write: impl FnOnce(&DateCache, &mut Sink<'_>) -> Result<(), Overflow>) -> Vec<u8> {
        let mut buffer = [0; 512];
        let mut out = Sink::new(&mut buffer);
        write(&DateCache::new(1_795_219_200), &mut out).unwrap();
        out.written().to_vec()
    }

    #[test]
    fn all_are_well_formed_and_dated() {
        for (&status, to_head, detail) in ALL
            .iter()
            .flat_map(|status| [(status, false, ""), (status, false, "AppOffline"), (status, true, "")])
        {
            let bytes =
                written(|date, out| Answer::refusal(status, to_head).with_detail(detail).write(date, out));
            let Parsed::Complete { head, len } = response::parse(&bytes, to_head, bytes.len() + 1) else {
                panic!("{status}");
            };
            assert_eq!((head.status, head.phrase, head.keep_alive), (status, phrase(status), false));
            assert_eq!(head.fields.get_only("date"), Some(&b"Sat, 21 Nov 2026 00:00:00 GMT"[..]), "{status}");
            match to_head {
                true => assert_eq!(bytes.len(), len, "{status}"),
                false => assert_eq!(head.framing, Framing::Length((bytes.len() - len) as u64), "{status}"),
            }
        }
    }

    #[test]
    fn too_many_requests_say_when_to_come_back() {
        for to_head in [false, true] {
            let text = written(|date, out| too_many_requests(17, to_head, b"", date, out));
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("\r\nRetry-After: 17\r\nDate: Sat, "), "{text}");
            assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
            assert_eq!(text.ends_with("429 Too Many Requests\n"), !to_head, "{text}");
        }
    }

    #[test]
    fn a_detailed_error_names_its_reason() {
        let bytes =
            written(|date, out| Answer::refusal(503, false).with_detail("AppOffline").write(date, out));
        assert!(bytes.ends_with(b"\r\n\r\n503 Service Unavailable: AppOffline\n"));
    }
}
