//! Responses of our own: complete bytes, ready to send.

/// The complete bytes of an error response: status line, fields, `Connection: close` and a small text as content.
/// Statuses we never send are answered as 500. Without `Date`: it may stand in front of a clock.
pub fn response(status: u16) -> &'static [u8] {
    let _ = status;
    todo!()
}

/// The reason phrase of a status code (RFC 9110 §15), `Unknown` for those we never send.
pub fn phrase(status: u16) -> &'static str {
    let _ = status;
    todo!()
}

/// `100 Continue`, the interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
