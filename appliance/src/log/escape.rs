//! Escaping of values in log lines, so that no client can forge a line or a field.

use alloc::vec::Vec;

/// W3C extended and HTTPERR: `-` if empty; blanks, control and non-ASCII characters become `+`.
pub(super) fn w3c(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return out.push(b'-');
    }
    out.extend(value.iter().map(|&b| if b.is_ascii_graphic() { b } else { b'+' }));
}

/// A quoted JSON string (RFC 8259 §7). Invalid UTF-8 becomes U+FFFD.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for b in chunk.valid().bytes() {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
                0..0x20 | 0x7f => {
                    out.extend_from_slice(&[
                        b'\\',
                        b'u',
                        b'0',
                        b'0',
                        HEX[usize::from(b >> 4)],
                        HEX[usize::from(b & 15)],
                    ]);
                }
                _ => out.push(b),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        let escaped = |f: fn(&[u8], &mut Vec<u8>), value: &[u8]| {
            let mut out = Vec::new();
            f(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped(w3c, b""), "-");
        assert_eq!(escaped(w3c, b"a b\r\nGET\t\x7f\xc3\xa4"), "a+b++GET++++");
        assert_eq!(escaped(json, b"a\"b\\\r\n\x7f"), r#""a\"b\\\u000d\u000a\u007f""#);
        assert_eq!(escaped(json, b"\xc3\xa4\xff"), "\"\u{e4}\u{fffd}\"");
    }

    proptest! {
        #[test]
        fn nothing_begins_another_line_or_field(value: Vec<u8>) {
            let (mut plain, mut quoted) = (Vec::new(), Vec::new());
            w3c(&value, &mut plain);
            json(&value, &mut quoted);
            prop_assert!(!plain.is_empty() && plain.iter().all(u8::is_ascii_graphic));
            prop_assert!(quoted.iter().all(|&b| b >= b' ' && b != 0x7f));
            let inner = &quoted[1..quoted.len() - 1];
            let mut escaped = false;
            for &b in inner {
                prop_assert!(escaped || b != b'"');
                escaped = !escaped && b == b'\\';
            }
            prop_assert!(!escaped && core::str::from_utf8(&quoted).is_ok());
        }
    }
}
