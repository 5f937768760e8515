//! The lines of a head, in one pass from left to right (RFC 9112 §2.2, §3, §4, §5). Nothing is forgiven here: a line
//! ends with CRLF, names and values hold what the grammar lets them, and no line is continued.
//!
//! A verdict depends only on bytes up to the one that decides it, so that it is the same however a head was split.

use super::{Version, fields, syntax};

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// More bytes are needed.
    Partial,
    /// A CR or LF that is no part of a CRLF.
    CrLf,
    /// A byte that may not be there.
    Byte,
    /// Something else than HTTP in the place of the version.
    Protocol,
    /// Another version than 1.0 and 1.1.
    Version,
}

/// One line of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `name: value`, white space around the value removed.
    Field { name: &'a [u8], value: &'a [u8] },
    /// The empty line.
    End,
}

/// The line that begins at `at`, and where the next one begins.
#[inline(always)]
pub(super) fn line(head: &[u8], at: usize) -> Result<(Line<'_>, usize), Fault> {
    let colon = end_of_token(head, at);
    match head.get(colon) {
        Some(b':') if colon > at => {}
        Some(b'\r' | b'\n') if colon == at => return Ok((Line::End, crlf(head, at)?)),
        None => return Err(Fault::Partial),
        Some(_) => return Err(Fault::Byte),
    }
    let end = end_of_text(head, colon + 1);
    let next = match head.get(end) {
        Some(b'\r' | b'\n') => crlf(head, end)?,
        None => return Err(Fault::Partial),
        Some(_) => return Err(Fault::Byte),
    };
    let name = head.get(at..colon).unwrap_or_default();
    let value = fields::trim(head.get(colon + 1..end).unwrap_or_default());
    Ok((Line::Field { name, value }, next))
}

/// Where the token (RFC 9110 §5.6.2) that begins at `at` ends.
#[inline(always)]
pub(super) fn end_of_token(head: &[u8], at: usize) -> usize {
    let mut end = at;
    while let Some(&b) = head.get(end)
        && syntax::is_tchar(b)
    {
        end += 1;
    }
    end
}

/// Where text (RFC 9110 §5.5: blanks, tabs, visible and non-ASCII characters) that begins at `at` ends.
#[inline(always)]
pub(super) fn end_of_text(head: &[u8], at: usize) -> usize {
    let mut end = at;
    loop {
        end += syntax::find_below::<0x20>(head.get(end..).unwrap_or_default());
        if head.get(end) != Some(&b'\t') {
            return end;
        }
        end += 1;
    }
}

/// Where the visible and non-ASCII characters that begin at `at` end.
#[inline(always)]
pub(super) fn end_of_visible(head: &[u8], at: usize) -> usize {
    at + syntax::find_below::<0x21>(head.get(at..).unwrap_or_default())
}

/// Behind the CRLF that begins at `at`.
#[inline(always)]
pub(super) fn crlf(head: &[u8], at: usize) -> Result<usize, Fault> {
    match head.get(at..) {
        Some([b'\r', b'\n', ..]) => Ok(at + 2),
        Some([] | [b'\r']) | None => Err(Fault::Partial),
        _ => Err(Fault::CrLf),
    }
}

/// As [`version`], with the CRLF behind it.
#[inline(always)]
pub(super) fn version_line(head: &[u8], at: usize) -> Result<(Version, usize), Fault> {
    if head.get(at..at + 10) == Some(b"HTTP/1.1\r\n") {
        return Ok((Version::Http11, at + 10));
    }
    let (version, end) = version(head, at)?;
    Ok((version, crlf(head, end)?))
}

/// `HTTP/1.0` or `HTTP/1.1` (RFC 9112 §2.3), and where it ends.
#[inline(always)]
pub(super) fn version(head: &[u8], at: usize) -> Result<(Version, usize), Fault> {
    match head.get(at..at + 8) {
        Some(b"HTTP/1.1") => Ok((Version::Http11, at + 8)),
        Some(b"HTTP/1.0") => Ok((Version::Http10, at + 8)),
        _ => Err(not_a_version(head.get(at..).unwrap_or_default())),
    }
}

#[cold]
fn not_a_version(bytes: &[u8]) -> Fault {
    const PREFIX: &[u8] = b"HTTP/";
    match bytes.iter().zip(b"HTTP/1.1").position(|(a, b)| a != b) {
        None => Fault::Partial,
        Some(at) if at < PREFIX.len() => Fault::Protocol,
        Some(at) if at == PREFIX.len() && !bytes.get(at).is_some_and(u8::is_ascii_digit) => Fault::Protocol,
        Some(_) => Fault::Version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<(Line<'_>, usize), Fault> {
        let whole = line(text, 0);
        for cut in 0..text.len() {
            let front = line(&text[..cut], 0);
            assert!(front == whole || front == Err(Fault::Partial), "{} at {cut}", text.escape_ascii());
        }
        whole
    }

    #[test]
    fn lines() {
        let field = |name, value, next| Ok((Line::Field { name, value }, next));
        assert_eq!(read(b"A: b\r\n"), field(b"A", b"b", 6));
        assert_eq!(read(b"a:\t b\tc \xff \r\nx"), field(b"a", b"b\tc \xff", 12));
        assert_eq!(read(b"!#$:\r\n"), field(b"!#$", b"", 6));
        assert_eq!(read(b"a: 0123456789abcdef\r\n"), field(b"a", b"0123456789abcdef", 21));
        assert_eq!(read(b"\r\n"), Ok((Line::End, 2)));
        for (text, fault) in [
            (&b""[..], Fault::Partial),
            (b"\r", Fault::Partial),
            (b"a: b\r", Fault::Partial),
            (b"\rx", Fault::CrLf),
            (b"\n", Fault::CrLf),
            (b"a: b\n", Fault::CrLf),
            (b"a: b\rc\r\n", Fault::CrLf),
            (b": b\r\n", Fault::Byte),
            (b"a : b\r\n", Fault::Byte),
            (b" a: b\r\n", Fault::Byte),
            (b"a\r\n", Fault::Byte),
            (b"a: b\0\r\n", Fault::Byte),
            (b"a: 01234567\x7f\r\n", Fault::Byte),
            (b"a: \x1f", Fault::Byte),
        ] {
            assert_eq!(read(text), Err(fault), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn versions() {
        for (text, expected) in [
            ("HTTP/1.1", Ok((Version::Http11, 8))),
            ("HTTP/1.0\r\n", Ok((Version::Http10, 8))),
            ("", Err(Fault::Partial)),
            ("HTTP/1.", Err(Fault::Partial)),
            ("http/1.1", Err(Fault::Protocol)),
            ("HTTP/x.1", Err(Fault::Protocol)),
            ("HTTP 1.1", Err(Fault::Protocol)),
            ("HTTP/2", Err(Fault::Version)),
            ("HTTP/1.2", Err(Fault::Version)),
            ("HTTP/1\r\n", Err(Fault::Version)),
        ] {
            assert_eq!(version(text.as_bytes(), 0), expected, "{text:?}");
        }
    }
}
