//! Patched copies of packages that do not compile for Hermit: copied from cargo's registry, which verifies their checksums,
//! edited by rules, and substituted by cargo's `paths`.

use crate::artifact::{Artifact, hex_sha256};
use crate::rules::{self, Rule};
use crate::toolchain::Toolchain;
use crate::{Options, place, private, step};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The packages and their patches.
const PATCHES: [(&str, &[Rule]); 1] = [(
    "ring",
    // Its build script compiles the assembler sources only for the operating systems it lists.
    &[Rule { file: "build.rs", from: "    \"hurd\",\n", to: "    \"hermit\",\n    \"hurd\",\n", times: 1 }],
)];

/// Provides the directories of the patched packages.
pub(crate) fn provide(options: &Options, toolchain: &Toolchain) -> Result<Vec<PathBuf>> {
    let dir = options.target_dir.join("patched");
    private::create_dir_all(&dir)?;
    let mut cargo = toolchain.cargo();
    cargo.current_dir(&options.workspace).args(["metadata", "--locked", "--format-version", "1"]);
    let log = dir.join("metadata.json");
    step::run(&mut cargo, "locating cargo's packages", &log)?;
    let text = std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    let start = text.find('{').unwrap_or(0);
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde_json::Value>();
    let metadata =
        values.next().context("cargo metadata printed nothing")?.context("reading cargo metadata")?;
    PATCHES.iter().map(|(name, rules)| patch(&dir, &metadata, name, rules)).collect()
}

fn patch(dir: &Path, metadata: &serde_json::Value, name: &str, rules: &[Rule]) -> Result<PathBuf> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let package = packages.iter().find(|package| package["name"] == name);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let from = manifest.and_then(|path| Path::new(path).parent());
    let from = from.with_context(|| format!("package {name} is not among the workspace's dependencies"))?;
    let to = dir.join(name);
    let stamp = dir.join(format!("{name}.stamp"));
    let wanted = hex_sha256(format!("{}{rules:?}", from.display()).as_bytes());
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && to.is_dir() {
        return Ok(to);
    }
    place::remove_directory(&to).with_context(|| format!("removing {}", to.display()))?;
    copy(from, &to)?;
    rules::apply(rules, &to)?;
    Artifact::write(&stamp, wanted.as_bytes())?;
    Ok(to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    private::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target)?;
        } else {
            let content = std::fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
            std::fs::write(&target, content).with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}
