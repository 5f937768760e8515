//! The only way to standard error: every message passes [`netdrv::mask`], so that none shows a private key. The crate's
//! `eprintln!` (`say.rs`) leads here.

use image::{Config, ConfigError, ConfigErrors};
use netdrv::mask::Masked;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

/// Writes a line with possible keys masked. A closed standard error is no reason to stop.
pub fn say(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    let _ = writeln!(std::io::stderr().lock(), "{}", Masked(&line));
}

/// Checks a configuration and prints warnings.
pub fn check(path: &Path) -> Result<Config, ConfigErrors> {
    let config = image::check(path)?;
    config.warnings.iter().for_each(say_fault);
    Ok(config)
}

/// Prints a configuration error or warning. It masks itself, so that the file's path stays readable.
pub fn say_fault(fault: &ConfigError) {
    let _ = writeln!(std::io::stderr().lock(), "weir: {fault}");
}
