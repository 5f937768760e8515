//! Configuration errors, one line each: `FILE:LINE:COLUMN: what, expected what`.

use netdrv::mask::Masked;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Byte offset in the file, and the error message.
pub(super) type Fault = (usize, String);

/// Maximum length of an error message in bytes; it may quote text of any length from the file.
const TEXT_MAX: usize = 1000;
/// Maximum number of errors reported.
const ERRORS_MAX: usize = 100;

/// One error or warning about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line and column (in characters), both counted from 1; `None` if the file could not be read.
    pub at: Option<(usize, usize)>,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        // The path is not masked: the user typed it, and paths often contain hashes.
        write!(f, " {}", Masked(&self.what))
    }
}

impl std::error::Error for ConfigError {}

/// All errors of a configuration, at least one, in file order.
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

/// A file and its text, for converting byte offsets to lines and columns.
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

/// Collects errors and warnings, so that one run reports all of them.
#[derive(Default)]
pub(super) struct Faults {
    errors: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    /// Keys dropped because of an error, with the offset of their table.
    dropped: RefCell<Vec<(usize, String)>>,
}

impl Faults {
    /// Offset of a substitute for a value that was wrong or missing. Errors at this offset are consequences of one already
    /// reported, and are dropped.
    pub(super) const REPORTED: usize = usize::MAX;

    /// Records an error.
    pub(super) fn error(&self, at: usize, what: impl Into<String>) {
        let (wrong, mut errors) = ((at, what.into()), self.errors.borrow_mut());
        if at != Self::REPORTED && errors.len() < ERRORS_MAX && !errors.contains(&wrong) {
            errors.push(wrong);
        }
    }

    /// Records that an erroneous key was dropped from the table at `table`.
    pub(super) fn drop_key(&self, table: usize, key: &str) {
        self.dropped.borrow_mut().push((table, key.to_owned()));
    }

    /// Whether `key` of the table at `table` was dropped after an error.
    pub(super) fn is_dropped(&self, table: usize, key: &str) -> bool {
        self.dropped.borrow().iter().any(|(at, name)| *at == table && name == key)
    }

    /// Records an error for the table at `table` unless one of `keys`, which it lacks, was dropped after an error of its own.
    pub(super) fn missing(&self, table: usize, keys: &[&str], what: impl Into<String>) {
        if !keys.iter().any(|key| self.is_dropped(table, key)) {
            self.error(table, what);
        }
    }

    /// Records a warning: valid, but probably a mistake.
    pub(super) fn warn(&self, at: usize, what: impl Into<String>) {
        let (wrong, mut warnings) = ((at, what.into()), self.warnings.borrow_mut());
        if at != Self::REPORTED && warnings.len() < ERRORS_MAX && !warnings.contains(&wrong) {
            warnings.push(wrong);
        }
    }

    /// The value, or `None` after recording the error.
    pub(super) fn ok<T>(&self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|(at, what)| self.error(at, what)).ok()
    }

    /// The value, or a default after recording the error; a configuration with errors is never used.
    pub(super) fn value<T: Default>(&self, result: Result<T, Fault>) -> T {
        self.ok(result).unwrap_or_default()
    }

    /// Whether the maximum number of errors has been reached.
    pub(super) fn is_full(&self) -> bool {
        self.errors.borrow().len() >= ERRORS_MAX
    }

    /// The warnings if there were no errors, otherwise the errors; both in file order.
    pub(super) fn finish(self, source: &Source<'_>) -> Result<Vec<ConfigError>, ConfigErrors> {
        let placed = |mut all: Vec<Fault>| -> Vec<ConfigError> {
            all.sort_by_key(|(at, _)| *at);
            all.into_iter().map(|(at, what)| source.error(at, what)).collect()
        };
        let mut errors = placed(self.errors.into_inner());
        if errors.is_empty() {
            return Ok(placed(self.warnings.into_inner()));
        }
        if let Some(last) = errors.get_mut(ERRORS_MAX - 1) {
            last.what.push_str("; further errors are not shown");
        }
        Err(ConfigErrors(errors))
    }
}
