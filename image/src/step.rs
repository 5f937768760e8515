//! An external command of a build: its output goes to a log file, and its failure becomes one line.

use crate::private;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An external command that failed.
#[derive(Debug)]
pub struct StepError {
    /// What it was meant to do.
    pub what: String,
    /// The first line of its output that looks like an error.
    pub reason: String,
    /// Log file with all of its output.
    pub log: PathBuf,
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed: {} (full output: {})", self.what, self.reason, self.log.display())
    }
}

impl std::error::Error for StepError {}

/// Runs `command` to completion with its output in `log`.
pub(crate) fn run(command: &mut Command, what: &str, log: &Path) -> Result<()> {
    let output = command.output().with_context(|| format!("{what}: starting {:?}", command.get_program()))?;
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    if let Some(dir) = log.parent() {
        private::create_dir_all(dir)?;
    }
    private::write(log, text.as_bytes())?;
    if output.status.success() {
        return Ok(());
    }
    // The linker's message is more specific than rustc's report that linking failed.
    let linker = text.lines().find_map(|l| l.find("ld.lld: error:").map(|at| &l[at..]));
    let error = linker.or_else(|| text.lines().find(|l| l.starts_with("error") || l.contains(": error:")));
    let last = || text.lines().rfind(|l| !l.trim().is_empty());
    let reason = error.or_else(last).unwrap_or("no output").trim().to_owned();
    Err(StepError { what: what.to_owned(), reason, log: log.to_owned() }.into())
}

/// Standard output of a query command; `None` if it cannot be run or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
