//! The data plane has layers: a module imports only from layers below its own.

use crate::modules::Crate;
use std::path::Path;

/// The layers from top to bottom.
const APPLIANCE: &[&str] = &[
    "main",
    "boot",
    "shard",
    "connection",
    "exchange",
    "hub",
    "upstream",
    "control",
    "serving",
    "cache",
    "http",
    "tls",
    "tcp",
    "proxy",
    "flow",
    "log",
    "budget",
    "table",
    "time",
];

#[test]
fn no_import_upward() {
    let src = weir_tests::workspace().join("appliance/src");
    let found = Crate::read(&src);
    let place = |file: &Path| {
        let first = file.strip_prefix(&src).expect("a file below src").with_extension("");
        let module = first.iter().next().expect("a name").to_string_lossy().into_owned();
        let at = APPLIANCE.iter().position(|name| *name == module);
        at.unwrap_or_else(|| panic!("{}: add the module {module} to the list of layers", file.display()))
    };
    let is_root = |file: &Path| file.ends_with("src/lib.rs");
    let edges = found.edges();
    assert!(edges.len() > 100, "imports were not read");
    let mut upward = Vec::new();
    for (from, to) in edges {
        if !is_root(&from.file) && !is_root(&to.file) && place(&to.file) < place(&from.file) {
            upward.push(format!(
                "{} imports {}, which is in a layer above",
                from.file.display(),
                to.file.display()
            ));
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}
