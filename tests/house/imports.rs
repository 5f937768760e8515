//! The import graph has no cycles, so each part can be read, tested and replaced without its users.

use crate::modules::{Crate, Module};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const CRATES: &[&str] =
    &["appliance", "appliance/model", "image", "netdrv", "qemu", "qemu/agent", "qemu/worker"];

/// The files that each file imports.
type Imports<'a> = BTreeMap<&'a Path, BTreeSet<&'a Path>>;

#[test]
fn no_circles() {
    let root = weir_tests::workspace();
    let mut circles = BTreeMap::new();
    for name in CRATES {
        let found = Crate::read(&root.join(name).join("src"));
        let mut imports = Imports::new();
        for (from, to) in found.edges() {
            imports.entry(&from.file).or_default().insert(&to.file);
        }
        assert!(imports.len() > 3, "{name}: imports were not read");
        circles.extend(circles_of(&imports, &root));
    }
    let circles: Vec<_> = circles
        .iter()
        .map(|(file, others)| format!("{file} imports {others}, which leads back to it"))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// The files on a cycle, and through which others.
fn circles_of(imports: &Imports<'_>, root: &Path) -> BTreeMap<String, String> {
    let leads_back = |start: &&Path| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<_> = imports[*start].iter().copied().collect();
        while let Some(file) = next.pop() {
            if file == *start {
                return true;
            }
            if seen.insert(file) {
                next.extend(imports.get(file).into_iter().flatten());
            }
        }
        false
    };
    let name = |file: &Path| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let in_circles: BTreeSet<_> = imports.keys().copied().filter(leads_back).collect();
    let entry = |file: &&Path| {
        let others: Vec<_> = imports[*file].intersection(&in_circles).map(|other| name(other)).collect();
        (name(file), others.join(", "))
    };
    in_circles.iter().map(entry).collect()
}

#[test]
fn a_circle_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
    write("lib.rs", "mod a; mod b; mod c; pub use a::A; use b::B; struct Root;");
    write("a.rs", "use crate::b::B; pub struct A;");
    write("b.rs", "use super::c::{C, D}; use super::Root;");
    write("c.rs", "use crate::A; #[cfg(test)] mod tests { use crate::b::B; }");
    let found = Crate::read(directory.path());
    let edges = found.edges();
    let name = |module: &Module| module.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let names: BTreeSet<_> = edges.iter().filter_map(|(from, to)| Some((name(from)?, name(to)?))).collect();
    let expected =
        [("lib", "b"), ("a", "b"), ("b", "c"), ("c", "a")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    assert_eq!(names, BTreeSet::from(expected), "the re-export leads to where the name is defined");
}
