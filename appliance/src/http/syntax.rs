//! Character classes, as table lookups.

const TOKEN: u8 = 1;
const LABEL: u8 = 2;
const QUERY: u8 = 4;
const HEX: u8 = 8;
const SEGMENT: u8 = 16;
const PLAIN: u8 = 32;

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 128 {
        let b = i as u8;
        let alnum = b.is_ascii_alphanumeric();
        let mut class = 0;
        if alnum || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~') {
            class |= TOKEN;
        }
        if alnum || matches!(b, b'-' | b'_') {
            class |= LABEL;
        }
        // pchar (RFC 3986 §3.3), and what browsers send in addition: | ^ [ ] (in the query, / ? { } ` \ as
        // well).
        let pchar = alnum
            || matches!(b, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b':' | b';' | b'=' | b'@')
            || matches!(b, b'|' | b'^' | b'[' | b']');
        if pchar {
            class |= SEGMENT;
        }
        if (pchar || b == b'/') && b != b'.' {
            class |= PLAIN;
        }
        if pchar || matches!(b, b'/' | b'?' | b'{' | b'}' | b'`' | b'\\') {
            class |= QUERY;
        }
        if b.is_ascii_hexdigit() {
            class |= HEX;
        }
        table[i] = class;
        i += 1;
    }
    table
}

static CLASS: [u8; 256] = table();

/// tchar (RFC 9110 §5.6.2).
#[inline]
pub(crate) fn is_tchar(b: u8) -> bool {
    CLASS[usize::from(b)] & TOKEN != 0
}

/// The classes common to all of these bytes.
#[inline(always)]
fn common<const N: usize>(bytes: &[u8; N]) -> u8 {
    let mut common = u8::MAX;
    for &b in bytes {
        common &= CLASS[usize::from(b)];
    }
    common
}

/// The form of a host with optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostForm {
    /// Non-empty labels of letters, digits, hyphens and underscores, separated by dots; a final dot is
    /// allowed.
    Name,
    /// The same with a colon and digits.
    NameAndPort,
    /// Anything else.
    Other,
}

/// Classifies a host, reading every byte once.
#[inline(always)]
pub(crate) fn host_form(host: &[u8]) -> HostForm {
    /// States, each the offset of its row in the transition table.
    const BEFORE_LABEL: u16 = 0;
    const IN_LABEL: u16 = 256;
    const AFTER_DOT: u16 = 512;
    const AFTER_COLON: u16 = 768;
    const IN_PORT: u16 = 1024;
    const WRONG: u16 = 1280;
    static NEXT: [u16; 2048] = {
        let mut next = [WRONG; 2048];
        let mut b = 0;
        while b < 256 {
            if CLASS[b] & LABEL != 0 {
                next[BEFORE_LABEL as usize + b] = IN_LABEL;
                next[IN_LABEL as usize + b] = IN_LABEL;
                next[AFTER_DOT as usize + b] = IN_LABEL;
            }
            if (b as u8).is_ascii_digit() {
                next[AFTER_COLON as usize + b] = IN_PORT;
                next[IN_PORT as usize + b] = IN_PORT;
            }
            b += 1;
        }
        next[IN_LABEL as usize + b'.' as usize] = AFTER_DOT;
        next[IN_LABEL as usize + b':' as usize] = AFTER_COLON;
        next[AFTER_DOT as usize + b':' as usize] = AFTER_COLON;
        next
    };
    let step = |state: u16, b: &u8| NEXT[usize::from((state | u16::from(*b)) & 2047)];
    let (quads, rest) = host.as_chunks::<4>();
    let mut state = BEFORE_LABEL;
    for quad in quads {
        state = quad.iter().fold(state, step);
    }
    match rest.iter().fold(state, step) {
        IN_LABEL | AFTER_DOT => HostForm::Name,
        IN_PORT => HostForm::NameAndPort,
        _ => HostForm::Other,
    }
}

/// Whether all bytes are [plain](is_plain).
#[inline(always)]
pub(crate) fn are_plain(path: &[u8]) -> bool {
    let (quads, rest) = path.as_chunks::<4>();
    let mut classes = PLAIN;
    for quad in quads {
        classes &= common(quad);
    }
    for &b in rest {
        classes &= common(&[b]);
    }
    classes != 0
}

/// Whether a byte may stand unescaped in a query. False for `%`.
#[inline]
pub(crate) fn is_query(b: u8) -> bool {
    CLASS[usize::from(b)] & QUERY != 0
}

/// Whether a byte may stand unescaped in a path segment. False for `%`.
#[inline]
pub(crate) fn is_segment(b: u8) -> bool {
    CLASS[usize::from(b)] & SEGMENT != 0
}

/// Whether a byte may stand unescaped in a path, including the slash but not the dot.
#[inline]
pub(crate) fn is_plain(b: u8) -> bool {
    CLASS[usize::from(b)] & PLAIN != 0
}

/// Whether a byte is a hexadecimal digit.
#[inline]
pub(crate) fn is_hex(b: u8) -> bool {
    CLASS[usize::from(b)] & HEX != 0
}

/// Offset of the first occurrence of a byte. Tests eight bytes at a time: a byte of `word ^ pattern` is zero
/// where it matches, and the lowest such byte is the lowest whose high bit the subtraction sets.
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let pattern = ONES * u64::from(byte);
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let zeros = u64::from_le_bytes(*word) ^ pattern;
        let found = zeros.wrapping_sub(ONES) & !zeros & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    tail.iter().position(|&b| b == byte).map(|i| at + i)
}

/// Compares case-insensitively. `token` must consist of tchars, `lower` must be lower case.
#[inline(always)]
pub(crate) fn is_name<const N: usize>(token: &[u8], lower: &[u8; N]) -> bool {
    // The only tchars that this bit maps to a letter or hyphen are that letter or hyphen.
    token.len() == N && token.iter().zip(lower).fold(0, |differ, (a, b)| differ | ((a | 0x20) ^ b)) == 0
}

/// The value of two hexadecimal digits.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| (b as char).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let all = |f: fn(u8) -> bool| (0..=255u8).filter(|&b| f(b)).map(char::from).collect::<String>();
        assert_eq!(
            all(is_tchar),
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert_eq!(all(is_hex), "0123456789ABCDEFabcdef");
        let extra = |f: fn(u8) -> bool| {
            (0..=255u8).filter(|&b| f(b) && !b.is_ascii_alphanumeric()).map(char::from).collect::<String>()
        };
        assert_eq!(extra(is_segment), "!$&'()*+,-.:;=@[]^_|~");
        assert_eq!(extra(is_plain), "!$&'()*+,-/:;=@[]^_|~");
        assert_eq!(extra(is_query), "!$&'()*+,-./:;=?@[\\]^_`{|}~");
    }

    #[test]
    fn finding() {
        let text = b"0123456789abcdefghij";
        for (i, &b) in text.iter().enumerate() {
            assert_eq!(find(b, text), Some(i));
            assert_eq!(find(b, &text[..i]), None);
        }
        assert_eq!(find(0, b"\x01\x01\x01\x01\x01\x01\x01\x01\x00"), Some(8));
        assert_eq!(find(1, b"\x00\x02\x03\x01\x01\x80\x81\xff"), Some(3));
        assert_eq!(find(b'a', b""), None);
    }

    #[test]
    fn hosts() {
        for name in ["a", "a.b", "a.b.", "A-1_.x", "10.0.0.2", "abcd.efgh.ijk"] {
            assert_eq!(host_form(name.as_bytes()), HostForm::Name, "{name}");
            for port in ["8", "80", "8080", "65536", "012345678"] {
                assert_eq!(
                    host_form(format!("{name}:{port}").as_bytes()),
                    HostForm::NameAndPort,
                    "{name}:{port}"
                );
            }
            for end in [":", ":8a", ":80:", ":80.", "::80", "/", " ", "\u{e4}", "]"] {
                assert_eq!(host_form(format!("{name}{end}").as_bytes()), HostForm::Other, "{name}{end}");
            }
        }
        for name in [
            "", ".", ":", ":80", ".a", "a..b", "abc..d", "abcd..e", "a..", "a..:80", ".:80", "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(host_form(name.as_bytes()), HostForm::Other, "{name}");
        }
        let is_part = |b: &u8| host_form(&[b'a', *b, b'a']) == HostForm::Name;
        let all = (0..=255).filter(is_part).map(char::from).collect::<String>();
        assert_eq!(all, "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn names() {
        for b in (0..=255).filter(|&b| is_tchar(b)) {
            for lower in [b'a', b'k', b'z', b'-'] {
                assert_eq!(is_name(&[b, b], &[lower; 2]), b.eq_ignore_ascii_case(&lower), "{b:#x}");
            }
        }
        assert!(is_name(b"If-Match", b"if-match") && !is_name(b"If-Match", b"if-matc"));
    }

    #[test]
    fn pairs() {
        assert_eq!(hex_pair(b'f', b'F'), Some(255));
        assert_eq!(hex_pair(b'0', b'g'), None);
        assert_eq!(hex_pair(b'+', b'1'), None);
    }
}
