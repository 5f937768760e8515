//! Different readings of a path by servers behind the appliance.
//!
//! Weir decodes a path once, keeps encoded slashes and resolves dot segments; it refuses paths with doubly
//! encoded characters, backslashes, or disguised dot segments (`http::target`). The quirks below remain. A
//! server may have any combination of them, so each combination is a reading of its own:
//! [`Router::route`](super::Router::route) checks where each leads.
//!
//! | quirk | known from |
//! |---|---|
//! | an encoded slash separates segments | WSGI and CGI servers, nginx, IIS |
//! | repeated slashes count as one | nginx, Apache, Go, most frameworks' routers |
//! | `;` and the rest of the segment are not part of its name | Tomcat, Jetty, Spring |
//! | dots and blanks at a segment's end are dropped; `:stream:$TYPE` names the same file | Windows |
//! | letters of other widths and cases are folded, lookalikes of a slash count as one | Windows ("best fit"), Unicode NFKC |

/// Encoded slashes separate segments.
const SLASHES: u8 = 1;
/// Empty segments are skipped.
const MERGED: u8 = 2;
/// Path parameters are cut off.
const PARAMETERS: u8 = 4;
/// Dots and blanks at the end of segments, and names of NTFS streams, are cut off.
const WINDOWS: u8 = 8;
/// Non-ASCII letters are folded.
const FOLDED: u8 = 16;

/// The quirks that could matter for this path: none for an ordinary one.
#[inline]
pub(super) fn quirks(path: &str) -> u8 {
    const SLASH: u8 = 32;
    const DOT: u8 = 64;
    const COLON: u8 = 128;
    /// The quirks that a byte hints at; `SLASH` and `DOT` count only at the end of a segment.
    static KINDS: [u8; 256] = {
        let mut kinds = [0; 256];
        kinds[b'%' as usize] = SLASHES;
        kinds[b';' as usize] = PARAMETERS;
        kinds[b':' as usize] = COLON;
        kinds[b'/' as usize] = SLASH;
        kinds[b'.' as usize] = DOT;
        kinds[b' ' as usize] = DOT;
        let mut b = 128;
        while b < 256 {
            kinds[b] = FOLDED;
            b += 1;
        }
        kinds
    };
    let (mut found, mut at_ends, mut before) = (0, 0, 0);
    for &b in path.as_bytes() {
        let kind = KINDS[usize::from(b)];
        found |= kind;
        at_ends |= if kind == SLASH { before } else { 0 };
        before = kind;
    }
    at_ends |= before & DOT;
    if (found & (SLASHES | PARAMETERS | FOLDED | COLON)) | (at_ends & (SLASH | DOT)) == 0 {
        return 0;
    }
    let mut quirks = found & (SLASHES | PARAMETERS | FOLDED);
    // Some of these characters are folded to ASCII punctuation.
    if quirks & FOLDED != 0 && path.bytes().any(|b| matches!(b, 0xc2 | 0xe2 | 0xe3 | 0xef)) {
        quirks |= PARAMETERS | WINDOWS;
    }
    // Cutting may expose a dot at the end of a segment, or leave an empty segment.
    let cuts = quirks & !FOLDED != 0;
    if at_ends & DOT != 0 || cuts && found & DOT != 0 || found & COLON != 0 && path.contains('$') {
        quirks |= WINDOWS;
    }
    if quirks & !FOLDED != 0 || at_ends & SLASH != 0 {
        quirks |= MERGED;
    }
    quirks
}

/// All non-empty combinations of these quirks.
pub(super) fn combinations(quirks: u8) -> impl Iterator<Item = u8> {
    (1..=quirks).filter(move |some| some & !quirks == 0)
}

/// A path as a server with certain quirks reads it, byte by byte.
#[derive(Clone, Debug)]
pub(super) struct Reading<'p> {
    rest: &'p str,
    quirks: u8,
    /// Bytes of a multi-byte character in reverse, and how many are still to be returned.
    pending: ([u8; 4], u8),
    after_slash: bool,
    /// Skipping to the next slash.
    cut: bool,
    /// How many of the next dots and blanks are known not to end a segment.
    kept: usize,
    /// The current segment names no NTFS stream.
    no_stream: bool,
}

impl<'p> Reading<'p> {
    pub(super) fn new(path: &'p str, quirks: u8) -> Self {
        let pending = ([0; 4], 0);
        Self { rest: path, quirks, pending, after_slash: false, cut: false, kept: 0, no_stream: false }
    }

    /// Whether the reading contains a segment `.` or `..`, which would be resolved again with an unknown
    /// result.
    pub(super) fn has_dot_segment(self) -> bool {
        let (mut dots, mut others) = (0, false);
        for b in self.chain([b'/']) {
            match b {
                b'/' if matches!(dots, 1 | 2) && !others => return true,
                b'/' => (dots, others) = (0, false),
                b'.' => dots += 1,
                _ => others = true,
            }
        }
        false
    }

    fn has_quirk(&self, quirk: u8) -> bool {
        self.quirks & quirk != 0
    }

    /// The next character, read by itself, and the text after it.
    fn first(&self, text: &'p str) -> Option<(char, &'p str)> {
        if self.has_quirk(SLASHES)
            && let Some(rest) = text.strip_prefix("%2F")
        {
            return Some(('/', rest));
        }
        let mut chars = text.chars();
        let c = chars.next()?;
        Some((if self.has_quirk(FOLDED) { fold(c) } else { c }, chars.as_str()))
    }

    /// Whether the segment ends before `text`.
    fn ends_before(&self, text: &'p str) -> bool {
        match self.first(text) {
            None | Some(('/', _)) => true,
            Some((';', _)) => self.has_quirk(PARAMETERS),
            Some((':', rest)) => self.names_stream(rest),
            Some(_) => false,
        }
    }

    /// Whether the name or type of an NTFS stream follows the colon, as in `admin::$INDEX_ALLOCATION`.
    fn names_stream(&self, mut text: &'p str) -> bool {
        while let Some((c, rest)) = self.first(text).filter(|(c, _)| *c != '/') {
            if c == '$' {
                return true;
            }
            text = rest;
        }
        false
    }

    /// Handles a run of dots and blanks that starts just before `rest`. True if it ends the segment.
    fn takes_end(&mut self, rest: &'p str) -> bool {
        let (mut text, mut run) = (rest, 0);
        while let Some((_, after)) = self.first(text).filter(|(c, _)| matches!(c, '.' | ' ')) {
            (text, run) = (after, run + 1);
        }
        if self.ends_before(text) {
            self.rest = text;
            return true;
        }
        self.kept = run;
        false
    }

    /// The next character of the reading.
    fn next_char(&mut self) -> Option<char> {
        loop {
            let (c, rest) = self.first(self.rest)?;
            self.rest = rest;
            if c == '/' {
                (self.cut, self.kept, self.no_stream) = (false, 0, false);
                if !core::mem::replace(&mut self.after_slash, true) || !self.has_quirk(MERGED) {
                    return Some(c);
                }
                continue;
            }
            if self.cut {
                continue;
            }
            match c {
                ';' if self.has_quirk(PARAMETERS) => {
                    self.cut = true;
                    continue;
                }
                ':' if self.has_quirk(WINDOWS) && !self.no_stream => {
                    self.cut = self.names_stream(rest);
                    self.no_stream = !self.cut;
                    if self.cut {
                        continue;
                    }
                }
                '.' | ' ' if self.has_quirk(WINDOWS) => {
                    if self.kept > 0 {
                        self.kept -= 1;
                    } else if self.takes_end(rest) {
                        continue;
                    }
                }
                _ => {}
            }
            self.after_slash = false;
            return Some(c);
        }
    }
}

impl Iterator for Reading<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.pending.1 == 0 {
            let mut bytes = [0; 4];
            let len = self.next_char()?.encode_utf8(&mut bytes).len();
            // Reversed, since bytes are taken from the end.
            bytes.get_mut(..len)?.reverse();
            self.pending = (bytes, len as u8);
        }
        self.pending.1 -= 1;
        self.pending.0.get(usize::from(self.pending.1)).copied()
    }
}

/// Maps a character to what some server takes it for: ASCII for full-width forms and for lookalikes of
/// slashes and dots, a slash for backslash lookalikes, otherwise lower case.
pub(super) fn fold(c: char) -> char {
    let simple = |mut mapped: core::char::ToUppercase| mapped.next().filter(|_| mapped.next().is_none());
    match c {
        '\0'..='\x7f' => c,
        '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}'
        | '\u{ff3c}' => '/',
        '\u{2024}' | '\u{fe52}' => '.',
        '\u{3000}' | '\u{a0}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(c as u32 - 0xfee0).map_or(c, |narrow| narrow.to_ascii_lowercase())
        }
        _ => {
            let upper = simple(c.to_uppercase()).unwrap_or(c);
            let mut lower = upper.to_lowercase();
            lower.next().filter(|_| lower.next().is_none()).unwrap_or(upper)
        }
    }
}

/// Whether every server reads this path alike. Non-ASCII letters do not matter here, since prefixes are also
/// found in folded form.
pub fn has_one_reading(path: &str) -> bool {
    let ascii = |c: char| if c.is_ascii() { c as u8 } else { b'x' };
    let only_ascii: alloc::vec::Vec<u8> = path.chars().map(ascii).collect();
    core::str::from_utf8(&only_ascii).is_ok_and(|path| quirks(path) == 0)
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;
