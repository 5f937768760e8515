//! Generated responses that contain their status as text.

use super::{Content, Decimal, Encode, Overflow, OwnField, Reply, ResponseWriter};

macro_rules! phrases {
    ($($status:literal $phrase:literal;)*) => {
        /// The reason phrase of a status code (RFC 9110 §15); `Unknown` for codes that Weir does not
        /// generate.
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

/// Detail text for an HTTP request on an HTTPS port.
pub const PLAIN_HTTP: &str = "plain HTTP was sent to an HTTPS port, expected https";

/// A response that contains its status as text.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Status code.
    pub status: u16,
    /// Header fields, Content-Type included.
    pub fields: &'a [OwnField<'a>],
    /// Additional text, may be empty.
    pub detail: &'a str,
}

impl<'a> Text<'a> {
    /// The Content-Type.
    pub(crate) const PLAIN: OwnField<'static> = OwnField { name: "Content-Type", value: &[b"text/plain"] };
    const NO_STORE: OwnField<'static> = OwnField { name: "Cache-Control", value: &[b"no-store"] };

    /// A status without details.
    pub const fn new(status: u16) -> Self {
        Self { status, fields: &[Self::PLAIN], detail: "" }
    }

    /// A status that must not be cached, since the same request may be answered differently next time.
    pub const fn refusal(status: u16) -> Self {
        Self { fields: &[Self::PLAIN, Self::NO_STORE], ..Self::new(status) }
    }

    /// Adds a detail text.
    pub const fn with_detail(self, detail: &'a str) -> Self {
        Self { detail, ..self }
    }

    /// Writes head and content.
    pub fn write(&self, writer: &mut ResponseWriter<'_, impl Encode>) -> Result<(), Overflow> {
        let status = Decimal::new(self.status.into());
        let colon: &[u8] = if self.detail.is_empty() { b"" } else { b": " };
        let text =
            [status.as_bytes(), b" ", phrase(self.status).as_bytes(), colon, self.detail.as_bytes(), b"\n"];
        let len = text.iter().map(|part| part.len() as u64).sum();
        writer.whole(&Reply { own: self.fields, ..Reply::new(self.status, Content::Length(len)) }, &text)
    }

    /// `405 Method Not Allowed` for a read-only resource.
    pub const fn read_only() -> Self {
        const ALLOW: OwnField<'_> = OwnField { name: "Allow", value: &[b"GET, HEAD"] };
        Self { fields: &[Self::PLAIN, ALLOW], ..Self::new(405) }
    }
}

/// `429 Too Many Requests` with `Retry-After` (RFC 6585 §4).
pub fn too_many_requests(
    retry_after_secs: u64,
    writer: &mut ResponseWriter<'_, impl Encode>,
) -> Result<(), Overflow> {
    let seconds = Decimal::new(retry_after_secs);
    let retry = OwnField { name: "Retry-After", value: &[seconds.as_bytes()] };
    Text { fields: &[Text::PLAIN, Text::NO_STORE, retry], ..Text::new(429) }.write(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::Encoder;
    use crate::http::h1::response::{self, Parsed};
    use crate::http::response::Framing;
    use model::date::DateCache;

    fn written(
        is_head: bool,
        write: impl FnOnce(&mut ResponseWriter<'_, Encoder>) -> Result<(), Overflow>,
    ) -> Vec<u8> {
        let (mut buffer, mut encoder) = ([0; 512], Encoder::of_refusal(is_head));
        let date = DateCache::new(1_795_219_200);
        let mut writer = ResponseWriter::new(&mut encoder, &date, &mut buffer);
        write(&mut writer).unwrap();
        let len = writer.len();
        buffer[..len].to_vec()
    }

    #[test]
    fn all_are_well_formed_and_dated() {
        for (&status, is_head, detail) in ALL
            .iter()
            .flat_map(|status| [(status, false, ""), (status, false, "AppOffline"), (status, true, "")])
        {
            let bytes = written(is_head, |writer| Text::refusal(status).with_detail(detail).write(writer));
            let Parsed::Complete { head, len } = response::parse(&bytes, is_head, bytes.len() + 1) else {
                panic!("{status}");
            };
            assert_eq!((head.status, head.phrase, head.keep_alive), (status, phrase(status), false));
            assert_eq!(head.fields.get_only("date"), Some(&b"Sat, 21 Nov 2026 00:00:00 GMT"[..]), "{status}");
            assert_eq!(head.fields.get_only("cache-control"), Some(&b"no-store"[..]), "{status}");
            match is_head {
                true => assert_eq!(bytes.len(), len, "{status}"),
                false => assert_eq!(head.framing, Framing::Length((bytes.len() - len) as u64), "{status}"),
            }
        }
    }

    #[test]
    fn too_many_requests_has_retry_after() {
        for is_head in [false, true] {
            let text = String::from_utf8(written(is_head, |writer| too_many_requests(17, writer))).unwrap();
            assert!(text.contains("\r\nRetry-After: 17\r\n"), "{text}");
            assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
            assert_eq!(text.ends_with("429 Too Many Requests\n"), !is_head, "{text}");
        }
    }

    #[test]
    fn a_detailed_error_names_its_reason() {
        let bytes = written(false, |writer| Text::refusal(503).with_detail("AppOffline").write(writer));
        assert!(bytes.ends_with(b"\r\n\r\n503 Service Unavailable: AppOffline\n"));
    }
}
