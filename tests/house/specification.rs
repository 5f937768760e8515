//! Every row of SPECIFICATION.md has a unique id, and the tests it names exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Row {
    id: String,
    held_by: String,
}

fn rows(text: &str) -> Vec<Row> {
    let is_id = |cell: &str| {
        let (area, number) = cell.split_once('-').unwrap_or_default();
        !area.is_empty()
            && area.bytes().all(|b| b.is_ascii_uppercase())
            && number.len() == 2
            && number.bytes().all(|b| b.is_ascii_digit())
    };
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let id = cells.get(1).filter(|id| is_id(id))?;
        assert_eq!(cells.len(), 6, "{id}: expected id, guarantee, number, enforced by");
        Some(Row { id: (*id).to_owned(), held_by: cells[4].to_owned() })
    };
    text.lines().filter_map(row).collect()
}

/// Names of the tests in this checkout.
struct Known {
    root: PathBuf,
    /// Functions, modules, and test names in string literals (end-to-end tests).
    names: BTreeSet<String>,
    /// By file: its folders and its own name, and the names in it.
    files: Vec<(BTreeSet<String>, BTreeSet<String>)>,
}

impl Known {
    fn read(root: &Path) -> Self {
        let (mut all, mut files) = (BTreeSet::new(), Vec::new());
        let mut sources = Vec::new();
        crate::files(root, "rs", &mut sources);
        for file in sources {
            let place = file.strip_prefix(root).unwrap_or(&file).with_extension("");
            let mut names: BTreeSet<String> =
                place.file_name().map(|stem| stem.to_string_lossy().into_owned()).into_iter().collect();
            // Unit tests of `x` are in `x_tests.rs`.
            let part = |part: &std::ffi::OsStr| part.to_string_lossy().trim_end_matches("_tests").to_owned();
            let modules: BTreeSet<String> = place.iter().map(part).collect();
            let text = crate::read(&file);
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let mut last = "";
            for word in words {
                if ["fn", "mod"].contains(&last) || word.contains("::") {
                    names.insert(word.to_owned());
                }
                last = word;
            }
            all.extend(names.iter().cloned());
            files.push((modules, names));
        }
        Self { root: root.to_owned(), names: all, files }
    }

    /// Whether `name` exists: `module::test`, `module::*`, `prefix_of_a_test…`, a path, or a command.
    fn has(&self, name: &str) -> bool {
        let first = name.split_whitespace().next().unwrap_or_default();
        if first == "cargo" || first.starts_with("--") || first.contains('=') {
            return true;
        }
        if first.contains('/') {
            return self.root.join(first.trim_end_matches("/*")).exists();
        }
        let among = |names: &BTreeSet<String>, name: &str| match name.strip_suffix(['…', '*']) {
            Some(start) => names.iter().any(|known| known.starts_with(start)),
            None => names.contains(name),
        };
        match name.rsplit_once("::") {
            Some((module, "*")) => among(&self.names, module.rsplit("::").next().unwrap_or(module)),
            // Must be in a file of that module.
            Some((modules, test)) => {
                let inner = modules.split("::").filter(|module| *module != "tests").last().unwrap_or(modules);
                let mut files = self.files.iter().filter(|(modules, _)| modules.contains(inner));
                files.any(|(_, names)| among(names, test)) || among(&self.names, name)
            }
            None => among(&self.names, name) || self.root.join(name).exists(),
        }
    }
}

#[test]
fn every_promise_has_its_test() {
    let root = weir_tests::workspace();
    let known = Known::read(&root);
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in rows(&crate::read(&root.join("tests/SPECIFICATION.md"))) {
        if !ids.insert(row.id.clone()) {
            wrong.push(format!("{}: duplicate id", row.id));
        }
        // Names are in backticks.
        let names: Vec<_> = row.held_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("{}: no test named", row.id));
        }
        let missing = names.into_iter().filter(|name| !known.has(name));
        wrong.extend(missing.map(|name| format!("{}: `{name}` does not exist", row.id)));
    }
    assert!(ids.len() > 40, "the rows were not read");
    assert!(wrong.is_empty(), "tests/SPECIFICATION.md:\n{}", wrong.join("\n"));
}

#[test]
fn what_does_not_exist_is_not_known() {
    let known = Known::read(&weir_tests::workspace());
    assert!(known.has("what_does_not_exist…") && known.has("specification::*") && known.has("tests/run"));
    let here = "every_promise_has_its_test";
    assert!(known.has(&format!("specification::{here}")) && !known.has(&format!("imports::{here}")));
    for name in
        [["no_such", "test_anywhere"].concat(), ["no_such", "_module::*"].concat(), "tests/no".to_owned()]
    {
        assert!(!known.has(&name), "{name}");
    }
}
