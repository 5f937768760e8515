//! The manual names files that exist, and the way of a request through them is short.

use std::collections::BTreeSet;

/// Files that a GET for a static file visits, at most.
const VISITED: usize = 14;

/// The files of the data plane that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.ends_with(".rs") && !name.starts_with("tests/")).collect()
}

#[test]
fn a_static_get_visits_fourteen_files_that_exist() {
    let root = weir_tests::workspace().join("appliance/src");
    let manual = crate::read(&root.join("manual.rs"));
    for name in named(&manual) {
        assert!(root.join(name).is_file(), "the manual names {name}, which is not there");
    }
    let (_, get) = manual.split_once("# A GET for a file").expect("the way of a GET");
    let (get, _) = get.split_once("# A POST").expect("the end of it");
    let visited = named(get);
    assert!((8..=VISITED).contains(&visited.len()), "a GET visits {}: {visited:?}", visited.len());
}
