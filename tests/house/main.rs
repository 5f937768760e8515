//! The rules of the house that no compiler holds: which file may import which, and which crate
//! which, that nothing is removed unseen, that no test waits for a clock, that every promise has its test, and that every reason and status is used.

mod clocks;
mod crates;
mod imports;
mod modules;
mod places;
mod rooms;
mod said;
mod specification;

use std::path::{Path, PathBuf};

/// Every file below `directory` with this ending, build directories left out.
fn files(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
