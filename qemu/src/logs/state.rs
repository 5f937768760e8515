//! What `weir ctl` is told of the logs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Error;
use std::path::Path;
use std::sync::Mutex;

/// How the logs are, for `weir ctl status` and `metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Attempts to write that failed, since the start.
    pub write_errors: u64,
    /// Lines given up, because the stream that they came from ended while they could not be written, since the start.
    pub lines_given_up: u64,
    /// By the name of a log that cannot be written now: where, and why.
    pub failing: BTreeMap<String, String>,
}

/// The collector's, shared with whoever answers `weir ctl`.
#[derive(Debug, Default)]
pub(crate) struct State(Mutex<LogState>);

impl State {
    /// As it is now.
    pub(crate) fn get(&self) -> LogState {
        self.change(|state| state.clone())
    }

    pub(super) fn failed(&self, log: &str, directory: &Path, error: &Error) {
        self.change(|state| {
            state.write_errors += 1;
            state.failing.insert(log.to_owned(), format!("{}: {error}", directory.display()));
        });
    }

    pub(super) fn mended(&self, log: &str) {
        self.change(|state| drop(state.failing.remove(log)));
    }

    pub(super) fn gave_up(&self, lines: u64) {
        self.change(|state| state.lines_given_up += lines);
    }

    fn change<R>(&self, what: impl FnOnce(&mut LogState) -> R) -> R {
        // Whoever panicked with it left numbers behind, which are good.
        what(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
