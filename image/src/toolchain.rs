//! Finds tools that rustup's default installation may lack: a Rust toolchain with the library's source, and LLVM's linker,
//! `objcopy` and `ar`.

use crate::step::ask;
use anyhow::{Result, anyhow};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest rustc that the kernel patches support.
const OLDEST: (u32, u32) = (1, 96);

/// A Rust toolchain with `rust-src`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Its `cargo`.
    pub cargo: PathBuf,
    /// Its `rustc`.
    pub rustc: PathBuf,
    /// `rustc --print sysroot`.
    pub sysroot: PathBuf,
    /// Output of `rustc -vV`, which identifies the compiler.
    pub version: String,
}

impl Toolchain {
    /// The first of these that has `rust-src` and is new enough: `WEIR_CARGO` with `WEIR_RUSTC`, rustup's toolchains, `/usr/bin`.
    pub fn find() -> Result<Self> {
        let mut seen = Vec::new();
        for (cargo, rustc) in candidates() {
            match Self::examine(&cargo, &rustc) {
                Ok(toolchain) => return Ok(toolchain),
                Err(Some(why)) => seen.push(why),
                Err(None) => {}
            }
        }
        let found = if seen.is_empty() { "no Rust toolchain found".to_owned() } else { seen.join(", ") };
        Err(anyhow!(
            "no Rust toolchain with rust-src, {}.{} or newer ({found}): run `rustup component add rust-src`, or on Debian \
             `apt-get install rustc-web cargo-web rust-web-src`",
            OLDEST.0,
            OLDEST.1
        ))
    }

    /// A command for this toolchain's cargo, independent of a cargo that may be running this process. It allows `-Z build-std` on
    /// stable toolchains, the only unstable feature used.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(shapes_builds) {
                command.env_remove(name);
            }
        }
        command.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        command
    }

    /// Its version number.
    pub(crate) fn release(&self) -> &str {
        self.version.lines().find_map(|l| l.strip_prefix("release: ")).unwrap_or("unknown")
    }

    /// Directory of the library's source.
    pub(crate) fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Examines a toolchain. The error says why it is unsuitable, or is `None` if it does not exist.
    fn examine(cargo: &Path, rustc: &Path) -> Result<Self, Option<String>> {
        let version = ask(Command::new(rustc).arg("-vV")).ok_or(None)?;
        ask(Command::new(cargo).arg("--version")).ok_or(None)?;
        let sysroot = PathBuf::from(ask(Command::new(rustc).args(["--print", "sysroot"])).ok_or(None)?);
        let release = release(&version).ok_or(None)?;
        let found = Self { cargo: cargo.into(), rustc: rustc.into(), sysroot, version };
        if !found.library().join("library/core/src/lib.rs").exists() {
            Err(Some(format!("{}.{} in {} has none", release.0, release.1, found.sysroot.display())))
        } else if release < OLDEST {
            Err(Some(format!("{}.{} in {} is too old", release.0, release.1, found.sysroot.display())))
        } else {
            Ok(found)
        }
    }
}

fn candidates() -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    if let (Some(cargo), Some(rustc)) = (std::env::var_os("WEIR_CARGO"), std::env::var_os("WEIR_RUSTC")) {
        found.push((cargo.into(), rustc.into()));
    }
    let list = ask(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    for name in list.lines().filter_map(|l| l.split_whitespace().next()) {
        let which =
            |tool| ask(Command::new("rustup").args(["which", "--toolchain", name, tool])).map(PathBuf::from);
        found.extend(which("cargo").zip(which("rustc")));
    }
    found.push(("/usr/bin/cargo".into(), "/usr/bin/rustc".into()));
    found
}

/// Whether an environment variable could change what cargo builds: all of cargo's and rustc's, except those about package sources
/// and output format.
fn shapes_builds(name: &str) -> bool {
    const HARMLESS: [&str; 8] = [
        "CARGO_BUILD_JOBS",
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_HOME",
    ];
    let mine = name.starts_with("CARGO") || name.starts_with("RUST") || name == "LD_LIBRARY_PATH";
    mine && !HARMLESS.iter().any(|harmless| name.starts_with(harmless))
}

/// Major and minor version from `rustc -vV`.
fn release(version: &str) -> Option<(u32, u32)> {
    let release = version.lines().find_map(|l| l.strip_prefix("release: "))?;
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The LLVM tools that a build uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Llvm {
    /// `ld.lld`.
    pub lld: PathBuf,
    /// `llvm-objcopy`.
    pub objcopy: PathBuf,
    /// `llvm-ar`.
    pub ar: PathBuf,
}

impl Llvm {
    /// Finds them on `PATH`, plain or with Debian's version suffix.
    pub fn find() -> Result<Self> {
        let missing = |tool| anyhow!("{tool} not found: on Debian `apt-get install lld llvm`");
        Ok(Self {
            lld: llvm_tool("ld.lld").ok_or_else(|| missing("ld.lld"))?,
            objcopy: llvm_tool("llvm-objcopy").ok_or_else(|| missing("llvm-objcopy"))?,
            ar: llvm_tool("llvm-ar").ok_or_else(|| missing("llvm-ar"))?,
        })
    }
}

fn llvm_tool(tool: &str) -> Option<PathBuf> {
    let mut versions = (14..=30).rev().map(|v| PathBuf::from(format!("/usr/lib/llvm-{v}/bin/{tool}")));
    in_path(tool).or_else(|| versions.find(|path| path.is_file()))
}

/// The first file of this name in the directories of `PATH`.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_read_from_stable_and_nightly() {
        assert_eq!(release("rustc 1.96.0\nbinary: rustc\nrelease: 1.96.0\n"), Some((1, 96)));
        assert_eq!(release("release: 1.98.0-nightly"), Some((1, 98)));
        assert_eq!(release("gcc 12"), None);
    }

    #[test]
    fn the_environment_does_not_shape_builds() {
        for name in ["CARGO", "CARGO_PROFILE_IMAGE_LTO", "CARGO_TARGET_DIR", "RUSTFLAGS", "RUSTC_WRAPPER"] {
            assert!(shapes_builds(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_A_INDEX", "PATH", "RUSTUP_HOME"] {
            assert!(!shapes_builds(name), "{name}");
        }
    }

    #[test]
    fn a_missing_toolchain_is_not_a_reason() {
        assert_eq!(
            Toolchain::examine(Path::new("/nonexistent/cargo"), Path::new("/nonexistent/rustc")),
            Err(None)
        );
    }
}
