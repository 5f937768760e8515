//! The one way to standard error: whatever is said passes [`netdrv::mask`], so that no message shows a private key that it
//! is about. `eprintln!` of this crate (`say.rs`) leads here.

use image::{Config, ConfigError, ConfigErrors};
use netdrv::mask::Masked;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

/// Writes a line, without what could be a key. A closed standard error is no reason to stop.
pub fn say(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    let _ = writeln!(std::io::stderr().lock(), "{}", Masked(&line));
}

/// Checks a configuration and writes what is odd with it.
pub fn check(path: &Path) -> Result<Config, ConfigErrors> {
    let config = image::check(path)?;
    config.warnings.iter().for_each(say_fault);
    Ok(config)
}

/// Writes what is wrong or odd with a configuration. It has masked itself, and its file's path is to be shown.
pub fn say_fault(fault: &ConfigError) {
    let _ = writeln!(std::io::stderr().lock(), "weir: {fault}");
}
