//! Dependencies between crates: host tools do not depend on the data plane, and shared crates depend on nothing.

use std::collections::BTreeSet;

/// Each crate, and all workspace crates it may depend on, including for tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("netdrv", &[]),
    ("appliance/model", &[]),
    ("appliance", &["netdrv", "weir-model"]),
    // The appliance for dry runs in `weir check`, netdrv for masking messages.
    ("image", &["appliance", "netdrv", "weir-model"]),
    ("qemu/agent", &[]),
    ("qemu/worker", &["netdrv"]),
    ("qemu", &["netdrv", "weir-agent", "weir-image", "weir-model", "weir-worker"]),
];
/// Names of workspace crates in dependency tables.
const OURS: &[&str] =
    &["appliance", "netdrv", "weir", "weir-agent", "weir-image", "weir-model", "weir-tests", "weir-worker"];

/// The workspace crates that a manifest depends on.
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
