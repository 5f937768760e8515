//! Responses of our own: complete bytes, ready to send.

use super::{Overflow, Refusal, Sink};

/// `100 Continue`, the interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

macro_rules! responses {
    ($($status:literal $phrase:literal $len:literal;)*) => {
        /// The complete bytes of an error response: status line, fields, `Connection: close` and a small text as
        /// content. Statuses that are not of our making are answered as 500. Without `Date`, which RFC 9110 §6.6.1
        /// leaves out of 5xx responses and of those sent without a clock: the bytes are constant.
        pub fn response(status: u16) -> &'static [u8] {
            match status {
                $($status => concat!(
                    "HTTP/1.1 ", $status, " ", $phrase,
                    "\r\nContent-Type: text/plain\r\nContent-Length: ", $len,
                    "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
                    $status, " ", $phrase, "\n"
                ).as_bytes(),)*
                _ => response(500),
            }
        }

        /// The reason phrase of a status code (RFC 9110 §15), `Unknown` for those that are not of our making.
        pub fn phrase(status: u16) -> &'static str {
            match status {
                200 => "OK",
                204 => "No Content",
                206 => "Partial Content",
                301 => "Moved Permanently",
                304 => "Not Modified",
                $($status => $phrase,)*
                _ => "Unknown",
            }
        }

        #[cfg(test)]
        const ALL: &[u16] = &[$($status),*];
    };
}

// Length: three digits, a blank, the phrase and a line end.
responses! {
    400 "Bad Request" 16;
    403 "Forbidden" 14;
    404 "Not Found" 14;
    405 "Method Not Allowed" 23;
    408 "Request Timeout" 20;
    411 "Length Required" 20;
    412 "Precondition Failed" 24;
    413 "Content Too Large" 22;
    414 "URI Too Long" 17;
    416 "Range Not Satisfiable" 26;
    417 "Expectation Failed" 23;
    421 "Misdirected Request" 24;
    429 "Too Many Requests" 22;
    431 "Request Header Fields Too Large" 36;
    500 "Internal Server Error" 26;
    501 "Not Implemented" 20;
    502 "Bad Gateway" 16;
    503 "Service Unavailable" 24;
    504 "Gateway Timeout" 20;
    505 "HTTP Version Not Supported" 31;
}

/// `429 Too Many Requests` with `Retry-After` (RFC 6585 §4); to HEAD, without content.
pub fn too_many_requests(retry_after_secs: u64, to_head: bool, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let whole = response(429);
    let head = response_to_head(429);
    out.put(head.strip_suffix(b"\r\n").unwrap_or(head))?;
    out.put(b"Retry-After: ")?;
    out.put_decimal(retry_after_secs)?;
    out.put(b"\r\n\r\n")?;
    if to_head { Ok(()) } else { out.put(whole.get(head.len()..).unwrap_or_default()) }
}

/// Writes an error response that names the reason in its content (503 verbosity `full`).
pub fn write_detailed(refusal: Refusal, to_head: bool, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let (phrase, reason) = (phrase(refusal.status), refusal.reason.as_str());
    out.put(b"HTTP/1.1 ")?;
    out.put_decimal(u64::from(refusal.status))?;
    out.put(b" ")?;
    out.put(phrase.as_bytes())?;
    out.put(b"\r\nContent-Type: text/plain\r\nContent-Length: ")?;
    // Three digits, a blank, the phrase, colon and blank, the reason and a line end.
    out.put_decimal((4 + phrase.len() + 2 + reason.len() + 1) as u64)?;
    out.put(b"\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n")?;
    if to_head {
        return Ok(());
    }
    out.put_decimal(u64::from(refusal.status))?;
    for part in [b" ", phrase.as_bytes(), b": ", reason.as_bytes(), b"\n"] {
        out.put(part)?;
    }
    Ok(())
}

/// The status of a response head that we wrote, 0 if it is none.
pub fn status_of(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|digits| core::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// As [`response`], without the content: the answer to HEAD.
pub fn response_to_head(status: u16) -> &'static [u8] {
    let whole = response(status);
    let end = whole.windows(4).position(|w| w == b"\r\n\r\n").map_or(whole.len(), |at| at + 4);
    whole.get(..end).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::{self, Framing, Parsed};

    #[test]
    fn all_are_well_formed() {
        for &status in ALL {
            let bytes = response(status);
            let Parsed::Complete { head, len } = response::parse(bytes, false, bytes.len() + 1) else {
                panic!("{status}");
            };
            assert_eq!((head.status, head.phrase, head.keep_alive), (status, phrase(status), false));
            assert_eq!(head.framing, Framing::Length((bytes.len() - len) as u64), "{status}");
            assert_eq!(response_to_head(status).len(), len);
        }
    }

    #[test]
    fn too_many_requests_say_when_to_come_back() {
        let mut buf = [0; 300];
        for to_head in [false, true] {
            let mut out = Sink::new(&mut buf);
            too_many_requests(17, to_head, &mut out).unwrap();
            let text = core::str::from_utf8(out.written()).unwrap();
            assert!(text.contains("\r\nRetry-After: 17\r\n\r\n"), "{text}");
            assert_eq!(text.ends_with("429 Too Many Requests\n"), !to_head, "{text}");
        }
    }

    #[test]
    fn a_detailed_error_names_its_reason() {
        let mut buffer = [0; 512];
        let mut out = Sink::new(&mut buffer);
        write_detailed(Refusal::new(503, crate::reason::Reason::AppOffline), false, &mut out).unwrap();
        let bytes = out.written();
        let Parsed::Complete { head, len } = response::parse(bytes, false, bytes.len() + 1) else { panic!() };
        assert_eq!(head.framing, Framing::Length((bytes.len() - len) as u64));
        assert_eq!(&bytes[len..], b"503 Service Unavailable: AppOffline\n");
    }

    #[test]
    fn every_status_we_send_is_there() {
        let sent = [400, 403, 404, 405, 408, 411, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505];
        assert!(sent.iter().all(|s| ALL.contains(s)));
        assert_eq!(response(418), response(500));
    }
}
