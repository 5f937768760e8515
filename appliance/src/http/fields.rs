//! A validated field section and its fields (RFC 9110 §5).

use super::syntax;

/// One field line. The name is a token, the value has no white space at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field name as received.
    pub name: &'a [u8],
    /// Field value.
    pub value: &'a [u8],
    /// The whole line as received, CRLF included.
    line: &'a [u8],
}

impl<'a> Field<'a> {
    /// The line as received, if it has the usual form `name: value`.
    #[inline]
    pub(crate) fn usual_line(&self) -> Option<&'a [u8]> {
        let usual_len = self.name.len() + self.value.len() + 4;
        let is_usual = self.line.len() == usual_len && self.line.get(self.name.len() + 1) == Some(&b' ');
        is_usual.then_some(self.line)
    }

    /// Length of the line as received, without CRLF.
    pub(crate) fn line_len(&self) -> usize {
        self.line.len().saturating_sub(2)
    }

    /// Compares the name case-insensitively.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Validated field lines of a head, in order. Cheap to copy; each iteration parses the bytes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Field lines, each ended by CRLF, already validated.
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// No fields.
    pub const NONE: Self = Self { raw: &[] };

    /// Prepared lines, each ended by CRLF: valid names, no white space at the ends of values.
    pub const fn prepared(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// All lines as written.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is a field line of this name.
    pub fn has(self, name: &[u8]) -> bool {
        self.into_iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first field line of this name.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.into_iter().find(|f| f.is(name)).map(|f| f.value)
    }

    /// The value of a field that must not be repeated: `None` if it is missing or repeated.
    pub fn get_only(self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.into_iter().filter(|f| f.is(name)).map(|f| f.value);
        let first = values.next();
        if values.next().is_some() { None } else { first }
    }

    /// All elements of a list-based field over all its lines (RFC 9110 §5.6.1). Skips empty elements; commas
    /// inside quoted strings do not separate.
    pub fn elements<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.into_iter().filter(move |f| f.is(name)).flat_map(|f| elements(f.value))
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = FieldIter<'a>;

    fn into_iter(self) -> FieldIter<'a> {
        FieldIter { rest: self.raw }
    }
}

/// Iterator over field lines.
#[derive(Clone, Debug)]
pub struct FieldIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let colon = syntax::find(b':', self.rest)?;
        // CR and LF occur only at line ends.
        let end = colon + 1 + syntax::find(b'\r', self.rest.get(colon + 1..)?)?;
        let (line, rest) = self.rest.split_at_checked(end + 2)?;
        self.rest = rest;
        Some(Field { name: line.get(..colon)?, value: trim(line.get(colon + 1..end)?), line })
    }
}

/// Removes optional white space (RFC 9110 §5.6.3) from both ends.
#[inline(always)]
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    // The usual form: one space.
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match value {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => trim_more(value),
        _ => value,
    }
}

#[cold]
fn trim_more(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The elements of one list value (RFC 9110 §5.6.1), trimmed, without empty ones.
pub fn elements(value: &[u8]) -> Elements<'_> {
    Elements { rest: value }
}

/// Iterator over list elements.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = element_end(self.rest);
            let (element, after) = self.rest.split_at_checked(end)?;
            self.rest = after.get(1..).unwrap_or_default();
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Offset of the first comma outside a quoted string, or the end. An unterminated quoted string extends to
/// the end.
fn element_end(value: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (i, &b) in value.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return i,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &str) -> Vec<&str> {
        elements(value.as_bytes()).map(|e| core::str::from_utf8(e).unwrap()).collect()
    }

    #[test]
    fn lists_skip_empty_elements() {
        assert_eq!(list("a, b"), ["a", "b"]);
        assert_eq!(list("a,, ,\t,b ,"), ["a", "b"]);
        assert_eq!(list(""), [""; 0]);
        assert_eq!(list(" , ,"), [""; 0]);
        assert_eq!(list("gzip;q=1.0,\tbr"), ["gzip;q=1.0", "br"]);
    }

    #[test]
    fn commas_in_quoted_strings_do_not_separate() {
        assert_eq!(list(r#""a,b", "c""#), [r#""a,b""#, r#""c""#]);
        assert_eq!(list(r#""a\",b",c"#), [r#""a\",b""#, "c"]);
        assert_eq!(list(r#""open, to the end"#), [r#""open, to the end"#]);
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let fields = Fields::new(b"Host: a\r\nX-List: 1,2\r\nEmpty:\r\nx-list:\t3 \r\n");
        assert_eq!(fields.get("host"), Some(&b"a"[..]));
        assert_eq!(fields.get("empty"), Some(&b""[..]));
        assert_eq!(fields.get("none"), None);
        assert_eq!(fields.get_only("x-list"), None);
        assert_eq!(fields.get_only("host"), Some(&b"a"[..]));
        assert_eq!(fields.elements("x-list").collect::<Vec<_>>(), [b"1", b"2", b"3"]);
        assert_eq!(fields.into_iter().count(), 4);
    }
}
