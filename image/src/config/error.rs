//! One line per refusal: `FILE:LINE:COLUMN: what, expected what`.

use netdrv::mask::Masked;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// What is wrong, and at which byte of the file.
pub(super) type Wrong = (usize, String);

/// Longest text of an error, in bytes. What is quoted in it is as long as somebody made it.
const TEXT_MAX: usize = 1000;
/// Errors told at most; whoever has more has not written a configuration.
const ERRORS_MAX: usize = 100;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line and column (in characters), both from 1; `None` if the file could not be read.
    pub at: Option<(usize, usize)>,
    /// What is wrong and what was expected.
    pub what: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        // Not the path, which somebody typed, and where hashes are common.
        write!(f, " {}", Masked(&self.what))
    }
}

impl std::error::Error for ConfigError {}

/// Why a configuration was refused: everything that is wrong with it, at least one thing, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A file and its text, to say where a byte of it is.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a byte offset of the text.
    pub(super) fn error(&self, offset: usize, what: impl Into<String>) -> ConfigError {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        let mut what = what.into();
        if what.len() > TEXT_MAX {
            what.truncate(what.floor_char_boundary(TEXT_MAX));
            what.push_str("...");
        }
        ConfigError { path: self.path.to_owned(), at: Some((line, column)), what }
    }
}

/// Where everything that is wrong or odd with a configuration is gathered, so that one look finds all of it.
#[derive(Default)]
pub(super) struct Faults {
    errors: RefCell<Vec<Wrong>>,
    warnings: RefCell<Vec<Wrong>>,
    /// Keys that were written wrong and are left out, by where their table begins.
    left_out: RefCell<Vec<(usize, String)>>,
}

impl Faults {
    /// Stands where a value should be that was already told to be wrong or missing: what is wrong at this offset follows from
    /// that and is not told again.
    pub(super) const TOLD: usize = usize::MAX;

    /// Something is wrong.
    pub(super) fn error(&self, at: usize, what: impl Into<String>) {
        let (wrong, mut errors) = ((at, what.into()), self.errors.borrow_mut());
        if at != Self::TOLD && errors.len() < ERRORS_MAX && !errors.contains(&wrong) {
            errors.push(wrong);
        }
    }

    /// A key of the table that begins at `table` is not there any more; why has been told.
    pub(super) fn leave_out(&self, table: usize, key: &str) {
        self.left_out.borrow_mut().push((table, key.to_owned()));
    }

    /// Whether [`Faults::leave_out`] was told so.
    pub(super) fn is_left_out(&self, table: usize, key: &str) -> bool {
        self.left_out.borrow().iter().any(|(at, name)| *at == table && name == key)
    }

    /// A table has none of these keys, or was written without.
    pub(super) fn missing(&self, table: usize, keys: &[&str], what: impl Into<String>) {
        if !keys.iter().any(|key| self.is_left_out(table, key)) {
            self.error(table, what);
        }
    }

    /// Something is allowed and probably not meant.
    pub(super) fn warn(&self, at: usize, what: impl Into<String>) {
        let (wrong, mut warnings) = ((at, what.into()), self.warnings.borrow_mut());
        if at != Self::TOLD && warnings.len() < ERRORS_MAX && !warnings.contains(&wrong) {
            warnings.push(wrong);
        }
    }

    /// The value, or `None` after its error was noted.
    pub(super) fn ok<T>(&self, result: Result<T, Wrong>) -> Option<T> {
        result.map_err(|(at, what)| self.error(at, what)).ok()
    }

    /// The value, or any other after its error was noted: nothing comes of such a configuration.
    pub(super) fn value<T: Default>(&self, result: Result<T, Wrong>) -> T {
        self.ok(result).unwrap_or_default()
    }

    /// Whether there is no room for further errors.
    pub(super) fn is_full(&self) -> bool {
        self.errors.borrow().len() >= ERRORS_MAX
    }

    /// The warnings of a configuration that has no errors; else these. Both in the file's order.
    pub(super) fn finish(self, source: &Source<'_>) -> Result<Vec<ConfigError>, ConfigErrors> {
        let placed = |mut all: Vec<Wrong>| -> Vec<ConfigError> {
            all.sort_by_key(|(at, _)| *at);
            all.into_iter().map(|(at, what)| source.error(at, what)).collect()
        };
        let mut errors = placed(self.errors.into_inner());
        if errors.is_empty() {
            return Ok(placed(self.warnings.into_inner()));
        }
        if let Some(last) = errors.get_mut(ERRORS_MAX - 1) {
            last.what.push_str("; what else is wrong is not told");
        }
        Err(ConfigErrors(errors))
    }
}
