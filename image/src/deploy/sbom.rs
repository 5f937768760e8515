//! The bill of materials in CycloneDX 1.5: every crate whose code is in the image, including the kernel's, the Rust library, the
//! loader, and GRUB if present.
//!
//! `cargo tree` lists what is linked for the target, without build scripts and procedural macros, which run only on the host. The
//! checksums are from the lock files.

use super::Info;
use crate::kernel;
use crate::toolchain::Toolchain;
use crate::{Options, Program};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crates of the Rust library that are built into an image.
const LIBRARY: [&str; 3] = ["alloc", "compiler_builtins", "core"];

/// The bill of materials as JSON; `grub` is GRUB's version if the image contains it.
pub(super) fn write(options: &Options, info: &Info, grub: Option<String>) -> Result<Vec<u8>> {
    let toolchain = Toolchain::find()?;
    let mut crates = BTreeSet::new();
    crates.extend(linked(
        &toolchain,
        &options.workspace,
        Program::Appliance.package(),
        "x86_64-unknown-hermit",
    )?);
    let mut others = Vec::new();
    if options.kernel.is_none() {
        let directory = kernel::directory(options);
        crates.extend(linked(&toolchain, &directory, "libhermit-rs", "x86_64-unknown-none")?);
    } else {
        others.push(json!({"type": "operating-system", "name": "Hermit kernel", "description": info.kernel}));
    }
    others.extend(LIBRARY.map(|name| {
        json!({"type": "library", "group": "rust", "name": name, "version": info.rustc,
               "licenses": [{"expression": "MIT OR Apache-2.0"}]})
    }));
    others.push(json!({"type": "firmware", "name": "rusty-loader-x86_64",
        "description": "Hermit's multiboot loader, as it comes with the kernel's package",
        "hashes": [{"alg": "SHA-256", "content": info.loader_sha256}]}));
    if let Some(version) = grub {
        others.push(json!({"type": "firmware", "name": "grub2", "version": version,
            "licenses": [{"expression": "GPL-3.0-or-later"}]}));
    }
    let components: Vec<Value> = crates.iter().map(Crate::component).chain(others).collect();
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": "weir", "version": info.weir}},
        "components": components,
    });
    let mut text = serde_json::to_vec_pretty(&bom).context("writing the bill of materials")?;
    text.push(b'\n');
    Ok(text)
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    license: String,
    /// SHA-256 of the package; `None` for packages of this workspace.
    checksum: Option<String>,
}

impl Crate {
    fn component(&self) -> Value {
        let mut component = json!({"type": "library", "name": self.name, "version": self.version});
        if !self.license.is_empty() {
            // `/` is an older spelling of OR.
            let license = self.license.replace('/', " OR ");
            component["licenses"] = json!([{"expression": license}]);
        }
        if let Some(checksum) = &self.checksum {
            let purl = format!("pkg:cargo/{}@{}", self.name, self.version);
            component["purl"] = json!(purl);
            component["bom-ref"] = json!(purl);
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }
}

/// The crates that are linked into `package` of the workspace at `directory`.
fn linked(toolchain: &Toolchain, directory: &Path, package: &str, target: &str) -> Result<Vec<Crate>> {
    let mut tree = toolchain.cargo();
    tree.current_dir(directory).args(["tree", "--locked", "-p", package, "--target", target]);
    tree.args(["-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}|{l}"]);
    let what = || format!("listing the crates of {package}");
    let output = tree.output().with_context(what)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow::anyhow!("{}", text.lines().next().unwrap_or("no output").to_owned()))
            .with_context(what);
    }
    let lock = directory.join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout), &checksums(&text).context("Cargo.lock")?))
}

/// Parses lines such as `talc v2.2.2 (/path) (*)|MIT`.
fn parse(tree: &str, checksums: &BTreeMap<(String, String), String>) -> Vec<Crate> {
    let parsed = tree.lines().filter_map(|line| {
        let (package, license) = line.split_once('|')?;
        let mut words = package.split_whitespace();
        let (name, version) = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
        let checksum = checksums.get(&(name.clone(), version.clone())).cloned();
        let license = license.trim().trim_end_matches("(*)").trim().to_owned();
        Some(Crate { name, version, license, checksum })
    });
    parsed.collect()
}

fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock.get("package").and_then(|p| p.as_array()).context("no packages")?;
    let text = |package: &toml::Value, key: &str| package.get(key)?.as_str().map(str::to_owned);
    let one = |p| Some(((text(p, "name")?, text(p, "version")?), text(p, "checksum")?));
    Ok(packages.iter().filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_read_from_the_tree() {
        let lock = "[[package]]\nname = \"talc\"\nversion = \"5.0.0\"\nchecksum = \"ab\"\n\
                    [[package]]\nname = \"appliance\"\nversion = \"0.1.0\"\n";
        let tree = "appliance v0.1.0 (/a b)|MIT OR Apache-2.0\ntalc v5.0.0|MIT\ntalc v5.0.0|MIT (*)\n\n";
        let found: BTreeSet<_> = parse(tree, &checksums(lock).expect("a lock file")).into_iter().collect();
        let found: Vec<_> = found.iter().map(Crate::component).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1]["purl"], "pkg:cargo/talc@5.0.0");
        assert_eq!(found[1]["hashes"][0]["content"], "ab");
        assert!(found[0].get("purl").is_none());
    }
}
