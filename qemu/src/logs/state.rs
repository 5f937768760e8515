//! State of the log files for `weir ctl`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Error;
use std::path::Path;
use std::sync::Mutex;

/// State of the log files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Failed attempts to write since the start.
    pub write_errors: u64,
    /// Lines lost since the start, because their stream ended while they could not be written.
    pub lines_given_up: u64,
    /// By name of each log that cannot be written now: where, and why.
    pub failing: BTreeMap<String, String>,
}

/// The collector's state, shared with the control socket.
#[derive(Debug, Default)]
pub(crate) struct State(Mutex<LogState>);

impl State {
    /// The current state.
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
        // After a panic elsewhere the numbers are still valid.
        what(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
