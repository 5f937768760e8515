//! A validated field section and its fields (RFC 9110 §5).

/// One field line. The name is a token, the value has no white space at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field name as received.
    pub name: &'a [u8],
    /// Field value.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Compares the name without regard to case. `name` must be in lower case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The field lines of a head that was validated, in their order. Cheap to copy; iterating walks the bytes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The first value of a field (`name` in lower case).
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.into_iter().find(|f| f.is(name)).map(|f| f.value)
    }

    /// All elements of a list-valued field over all its field lines (RFC 9110 §5.6.1): empty elements are skipped,
    /// commas inside quoted strings do not separate.
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

    fn next(&mut self) -> Option<Field<'a>> {
        let _ = self.rest;
        todo!()
    }
}

/// The elements of one list value (RFC 9110 §5.6.1), empty ones skipped, white space trimmed.
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
        let _ = self.rest;
        todo!()
    }
}
