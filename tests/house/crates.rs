//! Which crate may depend on which: the host's tools do without the data plane, and what is shared depends on nobody.

use std::collections::BTreeSet;

/// Each crate, and all of the workspace's own that it may depend on, for tests as well.
const ALLOWED: &[(&str, &[&str])] = &[
    ("netdrv", &[]),
    ("appliance/model", &[]),
    ("appliance", &["netdrv", "weir-model"]),
    // The appliance for the dry runs of `weir check`, netdrv for the filter of what is said.
    ("image", &["appliance", "netdrv", "weir-model"]),
    ("qemu/agent", &[]),
    ("qemu/worker", &["netdrv"]),
    ("qemu", &["netdrv", "weir-agent", "weir-image", "weir-model", "weir-worker"]),
];
/// What the workspace's own crates are called where they are depended on.
const OURS: &[&str] =
    &["appliance", "netdrv", "weir", "weir-agent", "weir-image", "weir-model", "weir-tests", "weir-worker"];

/// The workspace's own crates that a manifest depends on.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut in_dependencies = false;
    let name = |line: &'_ str| {
        let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
        OURS.iter().copied().find(|ours| *ours == &line[..end])
    };
    let lines = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        }
        in_dependencies
    });
    lines.filter_map(name).collect()
}

#[test]
fn dependencies_go_one_way() {
    let root = weir_tests::workspace();
    for (name, allowed) in ALLOWED {
        let manifest = crate::read(&root.join(name).join("Cargo.toml"));
        let found = dependencies(&manifest);
        assert_eq!(found, allowed.iter().copied().collect(), "{name}/Cargo.toml");
    }
}

#[test]
fn a_dependency_is_seen() {
    let manifest = "[package]\nname = \"weir\"\n[dependencies]\nnetdrv.workspace = true\nring = \"1\"\n\
                    [target.'cfg(unix)'.dev-dependencies]\nappliance = { path = \"x\" }\n[lints]\nweir.x = 1\n";
    assert_eq!(dependencies(manifest), BTreeSet::from(["appliance", "netdrv"]));
}
