//! Masks anything in a message that could be a key.
//!
//! Every message to a terminal, a log or the serial line passes [`mask`], wherever it comes from. PEM private keys, runs of
//! base64 or hexadecimal characters, and lists of bytes become `(masked)`. Code that handles secrets must not quote them in the
//! first place; this is the safety net.

use core::fmt::{self, Write};

const MASKED: &str = "(masked)";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// Number of consecutive letters and digits examined at a time.
const WINDOW: usize = 32;
/// Minimum number of changes between character classes (digit, lower case, upper case) among them for random data: in base64 and
/// hexadecimal more than half of the positions change, in words and paths few do.
const CHANGES: usize = 11;
/// Minimum number of consecutive decimal or hexadecimal bytes.
const NUMBERS: usize = 12;

/// Writes `text` with possible keys masked.
pub fn mask(text: &str, out: &mut dyn Write) -> fmt::Result {
    let mut rest = text;
    let mut shown = 0;
    while shown < rest.len() {
        let bytes = rest.as_bytes().get(shown..).unwrap_or_default();
        let found = if bytes.starts_with(BEGIN) {
            pem(bytes)
        } else if shown == 0 || !rest.as_bytes().get(shown - 1).is_some_and(|b| is_code(*b)) {
            numbers(bytes).max(code(bytes))
        } else {
            0
        };
        if found > 0 {
            out.write_str(rest.get(..shown).unwrap_or_default())?;
            out.write_str(MASKED)?;
            rest = rest.get(shown + found..).unwrap_or_default();
            shown = 0;
        } else {
            // Only beginnings of characters are examined; masked text is ASCII or extends to the end.
            shown += 1;
            while !rest.is_char_boundary(shown) {
                shown += 1;
            }
        }
    }
    out.write_str(rest)
}

/// Displays text as [`mask`] writes it.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'a>(pub &'a str);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        mask(self.0, f)
    }
}

/// Maximum length of a line in bytes, as it is not allocated; longer lines are truncated.
const LINE: usize = 1024;

/// A line formatted without allocating, to be masked as a whole.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    /// Formats `arguments`.
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; LINE], len: 0 };
        // Fails only if the line is full.
        let _ = line.write_fmt(arguments);
        line
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(LINE - self.len);
        let (end, piece) = (self.len + fits, text.as_bytes().get(..fits).unwrap_or_default());
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(piece);
        self.len = end;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.bytes.get(..self.len).unwrap_or_default();
        mask(core::str::from_utf8(written).unwrap_or_default(), f)
    }
}

/// Length of a PEM section: up to its end line, or to the end of the text.
fn pem(bytes: &[u8]) -> usize {
    let Some(end) = bytes.windows(END.len()).position(|w| w == END) else { return bytes.len() };
    let label = bytes.get(end + END.len()..).unwrap_or_default();
    match label.windows(5).position(|w| w == b"-----") {
        Some(at) => end + END.len() + at + 5,
        None => bytes.len(),
    }
}

/// Length of a run of characters that are not words; 0 if there is none.
fn code(bytes: &[u8]) -> usize {
    let len = bytes.iter().position(|b| !is_code(*b)).unwrap_or(bytes.len());
    let run = bytes.get(..len).unwrap_or_default();
    // Whether the class changes between consecutive letters and digits.
    let changes = || {
        let next = run.get(1..).unwrap_or_default();
        run.iter()
            .zip(next)
            .filter(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
            .map(|(a, b)| kind(*a) != kind(*b))
    };
    let mut inside = 0;
    let mut leaving = changes();
    for (number, change) in changes().enumerate() {
        inside += usize::from(change);
        if number + 1 >= WINDOW {
            if inside >= CHANGES {
                return len;
            }
            inside -= usize::from(leaving.next().unwrap_or_default());
        }
    }
    0
}

/// Length of a list of decimal or hexadecimal bytes with short separators; 0 if there is none.
fn numbers(bytes: &[u8]) -> usize {
    let (mut at, mut end, mut count) = (0, 0, 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let prefix = if rest.starts_with(b"0x") { 2 } else { 0 };
        let digits = rest.iter().skip(prefix).take_while(|b| b.is_ascii_hexdigit()).count();
        if !(1..=3).contains(&digits) {
            break;
        }
        count += 1;
        end = at + prefix + digits;
        let rest = bytes.get(end..).unwrap_or_default();
        let between = rest.iter().take_while(|b| matches!(b, b',' | b' ' | b':' | b';')).count();
        if !(1..=2).contains(&between) {
            break;
        }
        at = end + between;
    }
    if count >= NUMBERS { end } else { 0 }
}

/// Whether this is a character of base64, base64url or hexadecimal.
fn is_code(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

fn kind(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        Masked(text).to_string()
    }

    /// Pseudo-random bytes.
    fn random(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn base64(bytes: &[u8], last: [u8; 2]) -> String {
        let bits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
        let value = |six: &[u8]| u8::from_str_radix(core::str::from_utf8(six).unwrap(), 2).unwrap();
        bits.as_bytes()
            .chunks_exact(6)
            .map(|six| match value(six) {
                n @ 0..26 => char::from(b'A' + n),
                n @ 26..52 => char::from(b'a' + n - 26),
                n @ 52..62 => char::from(b'0' + n - 52),
                n => char::from(last[usize::from(n - 62)]),
            })
            .collect()
    }

    #[test]
    fn no_form_of_a_key_is_shown() {
        for seed in 0..200 {
            let key = random(48, seed);
            let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
            let forms = [
                base64(&key, *b"+/"),
                base64(&key, *b"-_"),
                hex.to_uppercase(),
                hex,
                key.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"),
                format!("{key:?}"),
                format!("{key:x?}"),
                format!("{key:#04x?}").replace('\n', " ").replace("     ", " "),
                format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", base64(&key, *b"+/")),
            ];
            for form in forms {
                let (whole, piece) = (masked(&form), form.get(8..20).unwrap());
                assert!(whole.contains(MASKED) && !whole.contains(piece), "{form} is shown as {whole}");
                let inside = masked(&format!("error: {form}: no such file, expected \u{fc} one"));
                assert!(inside.starts_with("error: ") && inside.contains(MASKED), "{inside}");
                assert!(!inside.contains(piece), "{form} is shown as {inside}");
                assert!(inside.ends_with(": no such file, expected \u{fc} one"), "{form}: {inside}");
            }
        }
        assert_eq!(masked("a -----BEGIN PRIVATE KEY-----MIG"), "a (masked)");
        assert_eq!(masked("-----BEGIN X----- \u{fc} -----END X-----, b"), "(masked), b");
    }

    #[test]
    fn a_line_is_masked_as_a_whole_and_bounded() {
        let key = base64(&random(60, 1), *b"+/");
        let (one, two) = key.split_at(20);
        assert_eq!(Line::new(format_args!("key {one}{two}{}", two)).to_string(), "key (masked)");
        let long = "\u{fc} ".repeat(LINE);
        let shown = Line::new(format_args!("{long}")).to_string();
        assert!(long.starts_with(&shown) && shown.len() > LINE - 3, "{}", shown.len());
    }

    #[test]
    fn words_paths_and_numbers_are_shown() {
        for text in [
            "",
            "weir: /home/Somebody/Projects/weir-2026/target/debug/build/weir.toml:12:34: kind \"fork\", expected \"vm\"",
            "/tmp/.tmpAbC1dE/www: No such file or directory (os error 2), expected a directory",
            "panicked at appliance/src/tls/link/verifier.rs:123: index out of bounds: the len is 3 but the index is 7",
            "unknown field `adress`, expected one of `max_request_bytes`, `url_segment_max_length`, `X-Client-Cert-Verify`",
            "qemu-system-x86_64: -netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80: Could not set up host forwarding",
            "tickets 1 2 3 4 5 6 7; 10.0.2.15/24 by DHCP; TLS_AES_128_GCM_SHA256 ECDSA_NISTP256_SHA256",
            "b\u{fc}cher.example \u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
