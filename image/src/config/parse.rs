//! Parses TOML into the raw structure. After an error about a key (unknown, missing, wrong type), the key is removed or filled in
//! and the rest is parsed again, so that all such errors are found. A syntax error ends parsing.

use super::error::Faults;
use super::raw;
use serde::Deserialize as _;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

/// Parses the file; `None` after an error that parsing cannot continue from.
pub(super) fn parse(text: &str, faults: &Faults) -> Option<raw::File> {
    // Windows editors write a byte order mark.
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    if text[bom..].trim_start().starts_with("-----BEGIN ") {
        faults.error(0, "a PEM file, expected a configuration in TOML");
        return None;
    }
    let mut tree = match DeTable::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            faults.error(error.span().map_or(0, |span| span.start), plain(error.message()));
            return None;
        }
    };
    let mut mender = Mender { filled: Vec::new(), faults };
    while !faults.is_full() {
        match raw::File::deserialize(Deserializer::from(tree.clone())) {
            Ok(file) => return Some(file),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                if !mender.mend(tree.get_mut(), &span, plain(error.message())) {
                    return None;
                }
            }
        }
    }
    None
}

/// The message in one line, without the values it quotes: a string might be a secret in the wrong place.
fn plain(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(", ");
    let Some(start) = line.find(": string \"") else { return line };
    let end = line.rfind(", expected ").filter(|end| *end > start).unwrap_or(line.len());
    format!("{}: string{}", &line[..start], &line[end..])
}

struct Mender<'f> {
    /// Missing keys that were filled in, with the offset of their table.
    filled: Vec<(usize, String)>,
    faults: &'f Faults,
}

impl Mender<'_> {
    /// Records an error and changes the tree so that it does not occur again. False if that is impossible.
    fn mend(&mut self, tree: &mut DeTable<'_>, span: &Range<usize>, message: String) -> bool {
        let Some(key) = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) else {
            self.faults.error(span.start, message);
            return self.remove(tree, 0, span);
        };
        let place = (span.start, key.to_owned());
        if self.filled.contains(&place) {
            // The placeholder did not fit the key's type.
            return self.remove(tree, 0, span);
        }
        self.faults.missing(span.start, &[key], format!("{message}, expected it"));
        // A placeholder string, so that the rest of the table is checked too.
        let told = Faults::REPORTED..Faults::REPORTED;
        let done = with_table(tree, span, &mut |table| {
            let value = Spanned::new(told.clone(), DeValue::String("".into()));
            table.insert(Spanned::new(told.clone(), key.to_owned().into()), value).is_none()
        });
        self.filled.push(place);
        done
    }

    /// Removes the innermost key or value at `span` from a table that begins at `start`.
    fn remove(&mut self, table: &mut DeTable<'_>, start: usize, span: &Range<usize>) -> bool {
        if table.iter_mut().any(|(_, value)| self.remove_below(value, span)) {
            return true;
        }
        let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
        let Some(key) = found.map(|(key, _)| key.clone()) else { return false };
        self.faults.drop_key(start, key.get_ref());
        table.remove(&key).is_some()
    }

    fn remove_below(&mut self, value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
        let start = value.span().start;
        match value.get_mut() {
            DeValue::Table(table) => self.remove(table, start, span),
            DeValue::Array(values) => {
                if values.iter_mut().any(|value| self.remove_below(value, span)) {
                    return true;
                }
                let before = values.len();
                let all = std::mem::replace(values, DeArray::from_iter([]));
                *values = all.into_iter().filter(|value| value.span() != *span).collect();
                values.len() < before
            }
            _ => false,
        }
    }
}

/// Applies a function to the innermost table at `span`. False if there is none.
fn with_table<'i>(
    table: &mut DeTable<'i>,
    span: &Range<usize>,
    f: &mut dyn FnMut(&mut DeTable<'i>) -> bool,
) -> bool {
    table.iter_mut().any(|(_, value)| with_value(value, span, f))
}

fn with_value<'i>(
    value: &mut Spanned<DeValue<'i>>,
    span: &Range<usize>,
    f: &mut dyn FnMut(&mut DeTable<'i>) -> bool,
) -> bool {
    let here = value.span() == *span;
    match value.get_mut() {
        DeValue::Table(table) => with_table(table, span, f) || (here && f(table)),
        DeValue::Array(values) => values.iter_mut().any(|value| with_value(value, span, f)),
        _ => false,
    }
}
