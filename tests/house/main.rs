//! Project rules that no compiler checks: imports between files, dependencies between crates, safe removal of files, no tests
//! that depend on the clock, a test for every guarantee, and a use of every reason and status.

mod clocks;
mod crates;
mod imports;
mod layers;
mod manual;
mod modules;
mod places;
mod reasons;
mod specification;

use std::path::{Path, PathBuf};

/// All files below `directory` with this extension, except in build directories.
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
