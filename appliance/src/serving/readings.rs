//! How a server behind us may read a path, where it reads more or less into it than we do.
//!
//! Weir decodes a path once, keeps encoded slashes and resolves dot segments; what a second decoder would find, a backslash,
//! and dot segments in disguise were refused before (`http::target`). What is left are the habits below. Each server has some of
//! them, so that every combination is a reading of its own: [`Router::route`](super::Router::route) asks where each leads.
//!
//! | habit | who is known for it |
//! |---|---|
//! | an encoded slash separates segments | WSGI and CGI servers, nginx, IIS |
//! | several slashes are one | nginx, Apache, Go, most frameworks' routers |
//! | `;` and what follows in a segment is no part of its name | Tomcat, Jetty, Spring |
//! | dots and blanks at a segment's end are dropped; `:stream:$TYPE` names the same file | Windows |
//! | letters of other widths and cases are one letter, and what looks like a slash is one | Windows ("best fit"), Unicode NFKC |

/// Encoded slashes separate.
const SLASHES: u8 = 1;
/// Empty segments are left out.
const MERGED: u8 = 2;
/// Parameters are cut off.
const PARAMETERS: u8 = 4;
/// Dots and blanks at the end of segments, and names of NTFS streams, are cut off.
const WINDOWS: u8 = 8;
/// Letters beyond ASCII are folded.
const FOLDED: u8 = 16;

/// The habits that could matter for this path: none for an ordinary one.
#[inline]
pub(super) fn habits(path: &str) -> u8 {
    const SLASH: u8 = 32;
    const DOT: u8 = 64;
    const COLON: u8 = 128;
    /// What a byte stands for by itself; `SLASH` and `DOT` count at the end of a segment only.
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
    let mut habits = found & (SLASHES | PARAMETERS | FOLDED);
    // Among these are characters that are folded to marks of ASCII.
    if habits & FOLDED != 0 && path.bytes().any(|b| matches!(b, 0xc2 | 0xe2 | 0xe3 | 0xef)) {
        habits |= PARAMETERS | WINDOWS;
    }
    // What is cut off may leave a dot at an end that was amid a segment, and a segment without anything.
    let cuts = habits & !FOLDED != 0;
    if at_ends & DOT != 0 || cuts && found & DOT != 0 || found & COLON != 0 && path.contains('$') {
        habits |= WINDOWS;
    }
    if habits & !FOLDED != 0 || at_ends & SLASH != 0 {
        habits |= MERGED;
    }
    habits
}

/// All combinations of these habits but none at all.
pub(super) fn combinations(habits: u8) -> impl Iterator<Item = u8> {
    (1..=habits).filter(move |some| some & !habits == 0)
}

/// A path as a server with these habits reads it, byte by byte.
#[derive(Clone, Debug)]
pub(super) struct Reading<'p> {
    rest: &'p str,
    habits: u8,
    /// Of a character of several bytes: the bytes, and how many of them are still to come.
    pending: ([u8; 4], u8),
    after_slash: bool,
    /// Up to the next slash nothing is read.
    cut: bool,
    /// So many dots and blanks are known to be followed by something.
    kept: usize,
    /// There is no stream in this segment.
    no_stream: bool,
}

impl<'p> Reading<'p> {
    pub(super) fn new(path: &'p str, habits: u8) -> Self {
        let pending = ([0; 4], 0);
        Self { rest: path, habits, pending, after_slash: false, cut: false, kept: 0, no_stream: false }
    }

    /// A segment of it is `.` or `..`: it is resolved once more, and nobody knows where that leads.
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

    fn has(&self, habit: u8) -> bool {
        self.habits & habit != 0
    }

    /// The next character, read by itself, and what is behind it.
    fn first(&self, text: &'p str) -> Option<(char, &'p str)> {
        if self.has(SLASHES)
            && let Some(rest) = text.strip_prefix("%2F")
        {
            return Some(('/', rest));
        }
        let mut chars = text.chars();
        let c = chars.next()?;
        Some((if self.has(FOLDED) { fold(c) } else { c }, chars.as_str()))
    }

    /// The segment ends before this.
    fn ends_before(&self, text: &'p str) -> bool {
        match self.first(text) {
            None | Some(('/', _)) => true,
            Some((';', _)) => self.has(PARAMETERS),
            Some((':', rest)) => self.names_stream(rest),
            Some(_) => false,
        }
    }

    /// What follows a colon is the name or the type of an NTFS stream, as in `admin::$INDEX_ALLOCATION`.
    fn names_stream(&self, mut text: &'p str) -> bool {
        while let Some((c, rest)) = self.first(text).filter(|(c, _)| *c != '/') {
            if c == '$' {
                return true;
            }
            text = rest;
        }
        false
    }

    /// Takes dots and blanks that begin before `rest`. True if they are the end of a segment.
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

    /// The next character that is read.
    fn next_char(&mut self) -> Option<char> {
        loop {
            let (c, rest) = self.first(self.rest)?;
            self.rest = rest;
            if c == '/' {
                (self.cut, self.kept, self.no_stream) = (false, 0, false);
                if !core::mem::replace(&mut self.after_slash, true) || !self.has(MERGED) {
                    return Some(c);
                }
                continue;
            }
            if self.cut {
                continue;
            }
            match c {
                ';' if self.has(PARAMETERS) => {
                    self.cut = true;
                    continue;
                }
                ':' if self.has(WINDOWS) && !self.no_stream => {
                    self.cut = self.names_stream(rest);
                    self.no_stream = !self.cut;
                    if self.cut {
                        continue;
                    }
                }
                '.' | ' ' if self.has(WINDOWS) => {
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
            // The first at the end, from where they are taken.
            bytes.get_mut(..len)?.reverse();
            self.pending = (bytes, len as u8);
        }
        self.pending.1 -= 1;
        self.pending.0.get(usize::from(self.pending.1)).copied()
    }
}

/// One character for all that some server takes for it: ASCII for its wide forms and for what looks like a slash or a dot, a
/// slash for the backslashes among them, else the lower case of the upper case.
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

/// Every server reads this path as we do (letters of other scripts are no matter here: prefixes are found in their folded form
/// as well).
pub fn has_one_reading(path: &str) -> bool {
    let ascii = |c: char| if c.is_ascii() { c as u8 } else { b'x' };
    let only_ascii: alloc::vec::Vec<u8> = path.chars().map(ascii).collect();
    core::str::from_utf8(&only_ascii).is_ok_and(|path| habits(path) == 0)
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;
