//! Answers of our own whose content is their status in words.

use super::{Content, Decimal, Encode, Overflow, OwnField, Page, Reply};

macro_rules! phrases {
    ($($status:literal $phrase:literal;)*) => {
        /// The reason phrase of a status code (RFC 9110 §15), `Unknown` for those that are not of our making.
        pub fn phrase(status: u16) -> &'static str {
            match status {
                100 => "Continue",
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

/// An answer whose content is its status in words.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Status code.
    pub status: u16,
    /// Its fields, Content-Type among them.
    pub fields: &'a [OwnField<'a>],
    /// What the content says beside the status, if anything.
    pub detail: &'a str,
}

impl<'a> Text<'a> {
    /// What the content is.
    pub(crate) const PLAIN: OwnField<'static> = OwnField { name: "Content-Type", value: &[b"text/plain"] };
    const NO_STORE: OwnField<'static> = OwnField { name: "Cache-Control", value: &[b"no-store"] };

    /// A status and nothing else.
    pub const fn new(status: u16) -> Self {
        Self { status, fields: &[Self::PLAIN], detail: "" }
    }

    /// A status that no cache may keep, since the same request may get something else the next time.
    pub const fn refusal(status: u16) -> Self {
        Self { fields: &[Self::PLAIN, Self::NO_STORE], ..Self::new(status) }
    }

    /// The same with this in its content.
    pub const fn with_detail(self, detail: &'a str) -> Self {
        Self { detail, ..self }
    }

    /// Writes head and content.
    pub fn write(&self, page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
        let status = Decimal::new(self.status.into());
        let colon: &[u8] = if self.detail.is_empty() { b"" } else { b": " };
        let text =
            [status.as_bytes(), b" ", phrase(self.status).as_bytes(), colon, self.detail.as_bytes(), b"\n"];
        let len = text.iter().map(|part| part.len() as u64).sum();
        page.whole(&Reply { own: self.fields, ..Reply::new(self.status, Content::Length(len)) }, &text)
    }

    /// `405 Method Not Allowed` for what can be read only.
    pub const fn read_only() -> Self {
        const ALLOW: OwnField<'_> = OwnField { name: "Allow", value: &[b"GET, HEAD"] };
        Self { fields: &[Self::PLAIN, ALLOW], ..Self::new(405) }
    }
}

/// `429 Too Many Requests` with `Retry-After` (RFC 6585 §4).
pub fn too_many_requests(retry_after_secs: u64, page: &mut Page<'_, impl Encode>) -> Result<(), Overflow> {
    let seconds = Decimal::new(retry_after_secs);
    let retry = OwnField { name: "Retry-After", value: &[seconds.as_bytes()] };
    Text { fields: &[Text::PLAIN, Text::NO_STORE, retry], ..Text::new(429) }.write(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::Encoder;
    use crate::http::h1::response::{self, Parsed};
    use crate::http::response::Framing;
    use model::date::DateCache;

    fn written(to_head: bool, write: impl FnOnce(&mut Page<'_, Encoder>) -> Result<(), Overflow>) -> Vec<u8> {
        let (mut buffer, mut encoder) = ([0; 512], Encoder::of_refusal(to_head));
        let date = DateCache::new(1_795_219_200);
        let mut page = Page::new(&mut encoder, &date, &mut buffer);
        write(&mut page).unwrap();
        let len = page.len();
        buffer[..len].to_vec()
    }

    #[test]
    fn all_are_well_formed_and_dated() {
        for (&status, to_head, detail) in ALL
            .iter()
            .flat_map(|status| [(status, false, ""), (status, false, "AppOffline"), (status, true, "")])
        {
            let bytes = written(to_head, |page| Text::refusal(status).with_detail(detail).write(page));
            let Parsed::Complete { head, len } = response::parse(&bytes, to_head, bytes.len() + 1) else {
                panic!("{status}");
            };
            assert_eq!((head.status, head.phrase, head.keep_alive), (status, phrase(status), false));
            assert_eq!(head.fields.get_only("date"), Some(&b"Sat, 21 Nov 2026 00:00:00 GMT"[..]), "{status}");
            assert_eq!(head.fields.get_only("cache-control"), Some(&b"no-store"[..]), "{status}");
            match to_head {
                true => assert_eq!(bytes.len(), len, "{status}"),
                false => assert_eq!(head.framing, Framing::Length((bytes.len() - len) as u64), "{status}"),
            }
        }
    }

    #[test]
    fn too_many_requests_say_when_to_come_back() {
        for to_head in [false, true] {
            let text = String::from_utf8(written(to_head, |page| too_many_requests(17, page))).unwrap();
            assert!(text.contains("\r\nRetry-After: 17\r\n"), "{text}");
            assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
            assert_eq!(text.ends_with("429 Too Many Requests\n"), !to_head, "{text}");
        }
    }

    #[test]
    fn a_detailed_error_names_its_reason() {
        let bytes = written(false, |page| Text::refusal(503).with_detail("AppOffline").write(page));
        assert!(bytes.ends_with(b"\r\n\r\n503 Service Unavailable: AppOffline\n"));
    }
}
