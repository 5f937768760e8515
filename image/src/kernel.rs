//! The Hermit kernel: fetched through cargo by name, version and checksum, patched to compile with a current rustc, built in the
//! target directory, and reduced to the symbols that programs may call.

use crate::artifact::{Artifact, hex_sha256};
use crate::private::{self, Scratch};
use crate::toolchain::{Llvm, Toolchain};
use crate::{Options, Progress, place, rules, step};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = include_str!("../kernel/Cargo.toml");
const LOCK: &str = include_str!("../kernel/Cargo.lock");
const LIB: &str = include_str!("../kernel/lib.rs");
/// The two patched packages, with the SHA-256 of their `.crate` files.
const PACKAGES: [(&str, &str, &str); 2] = [
    ("libhermit-rs", "0.6.3", "d626a087e250a3b2f8ed7341e297addaba0d433b9f27bd7b4555ec1abed3cc62"),
    ("talc", "2.2.2", "60c19cbc8dd8b5e520338fe0af971a96ad6ac2d65bed5ebd38466557157ed7c6"),
];
/// File names of loaders of other kernels; ours has the first name.
pub(crate) const LOADERS: [&str; 3] = ["rusty-loader-x86_64", "hermit-loader-x86_64", "hermit-loader"];
const TARGET: &str = "x86_64-unknown-none";
/// Kernel log messages below this level are compiled out.
const LOG_LEVEL: &str = "Warn";

/// A kernel that programs can be linked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `libhermit.a` with only the needed symbols global. Its name changes with its content.
    pub archive: PathBuf,
    /// The multiboot loader that boots it.
    pub loader: PathBuf,
    /// Name and version.
    pub name: String,
}

/// Directory the kernel is built in.
pub(crate) fn directory(options: &Options) -> PathBuf {
    options.target_dir.join("kernel")
}

impl Kernel {
    /// Provides the kernel that `options` select, building it if necessary.
    pub fn provide(
        options: &Options,
        toolchain: &Toolchain,
        llvm: &Llvm,
        progress: Progress,
    ) -> Result<Self> {
        let dir = directory(options);
        let name = match &options.kernel {
            Some(given) => format!("from {}", given.file_name().unwrap_or_default().to_string_lossy()),
            None => format!("{} {}", PACKAGES[0].0, PACKAGES[0].1),
        };
        let (raw, loader) = match &options.kernel {
            Some(given) => given_kernel(given)?,
            None => compiled_kernel(&dir, options, toolchain, progress)?,
        };
        let symbols = symbols(&options.workspace)?;
        Ok(Self { archive: reduce(&raw, &symbols, &dir, llvm)?, loader, name })
    }
}

/// The kernel calls in use, from the table at the top of netdrv's list.
fn symbols(workspace: &Path) -> Result<Vec<String>> {
    let path = workspace.join("netdrv/src/hermit/abi.rs");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let calls = text.lines().filter_map(|l| l.strip_prefix("//! | `")?.split('`').next());
    let calls: Vec<_> = calls.filter(|c| c.starts_with("sys_")).map(str::to_owned).collect();
    ensure!(
        !calls.is_empty(),
        "{}: no table of kernel calls, expected lines like //! | `sys_exit` |",
        path.display()
    );
    ensure!(
        !calls.iter().any(|c| c == "sys_read_entropy"),
        "{}: sys_read_entropy must not come from the kernel: its generator is predictable without RDSEED",
        path.display()
    );
    Ok(calls)
}

fn given_kernel(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let archive = dir.join("libhermit.a");
    ensure!(archive.is_file(), "{}: not found, expected a Hermit kernel there", archive.display());
    let Some(loader) = LOADERS.iter().map(|name| dir.join(name)).find(|p| p.is_file()) else {
        bail!("{}: no loader, expected one of {}", dir.display(), LOADERS.join(", "));
    };
    Ok((archive, loader))
}

fn compiled_kernel(
    dir: &Path,
    options: &Options,
    toolchain: &Toolchain,
    progress: Progress,
) -> Result<(PathBuf, PathBuf)> {
    let built = (dir.join("libhermit-full.a"), dir.join(LOADERS[0]));
    let inputs = format!("{MANIFEST}{LOCK}{:?}{LOG_LEVEL}{}", rules::RULES, toolchain.version);
    let stamp = (dir.join("stamp"), hex_sha256(inputs.as_bytes()));
    if std::fs::read_to_string(&stamp.0).is_ok_and(|s| s == stamp.1) && built.0.exists() && built.1.exists() {
        return Ok(built);
    }
    progress("fetching the Hermit kernel's source");
    let source = fetch(dir, toolchain)?;
    rules::apply(rules::RULES, &source)?;
    progress("compiling the Hermit kernel (once, one to three minutes)");
    let archive = compile(dir, options, toolchain, &source)?;
    for (from, to) in [(&archive, &built.0), (&source.join("libhermit-rs").join(LOADERS[0]), &built.1)] {
        let content = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        Artifact::write(to, &content)?;
    }
    Artifact::write(&stamp.0, stamp.1.as_bytes())?;
    Ok(built)
}

/// Fetches all packages through cargo and moves out those that are patched. The returned directory lies inside the generated
/// package, so that the build does not depend on the location of the target directory.
fn fetch(dir: &Path, toolchain: &Toolchain) -> Result<PathBuf> {
    for (name, content) in [("Cargo.toml", MANIFEST), ("Cargo.lock", LOCK), ("lib.rs", LIB)] {
        Artifact::write(&dir.join(name), content.as_bytes())?;
    }
    let (vendor, source) = (dir.join("vendor"), dir.join("source"));
    for stale in [&vendor, &source] {
        place::remove_directory(stale).with_context(|| format!("removing {}", stale.display()))?;
    }
    let mut cargo = toolchain.cargo();
    cargo.current_dir(dir).args(["vendor", "--locked", "--versioned-dirs", "vendor"]);
    step::run(&mut cargo, "fetching the Hermit kernel", &dir.join("fetch.log"))?;
    private::create_dir_all(&source)?;
    for (name, version, checksum) in PACKAGES {
        let (from, to) = (vendor.join(format!("{name}-{version}")), source.join(name));
        verify(&from, checksum)?;
        place::move_directory(&from, &to).with_context(|| format!("moving {}", from.display()))?;
    }
    // The kernel's own toolchain and flags would override ours.
    for name in [".cargo", "rust-toolchain.toml"] {
        let path = source.join("libhermit-rs").join(name);
        let removed = if path.is_dir() { place::remove_directory(&path) } else { place::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(source)
}

/// Compares the checksum recorded by cargo for a package with the expected one.
fn verify(package: &Path, checksum: &str) -> Result<()> {
    let path = package.join(".cargo-checksum.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let found = json["package"].as_str().unwrap_or("none");
    ensure!(found == checksum, "{}: SHA-256 {found}, expected {checksum}", package.display());
    Ok(())
}

fn compile(dir: &Path, options: &Options, toolchain: &Toolchain, source: &Path) -> Result<PathBuf> {
    let paths: Vec<_> = PACKAGES.iter().map(|(name, ..)| source.join(name).display().to_string()).collect();
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(dir)
        .args(["build", "--locked", "--release", "-p", PACKAGES[0].0, "--target", TARGET])
        .args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"])
        .args(["--config", &format!("paths={}", serde_json::to_string(&paths)?)])
        .arg("--target-dir")
        .arg(dir.join("target"))
        .env("CARGO_ENCODED_RUSTFLAGS", remap(options, toolchain).join("\x1f"))
        .env("HERMIT_LOG_LEVEL_FILTER", LOG_LEVEL);
    step::run(&mut cargo, "compiling the Hermit kernel", &dir.join("build.log"))?;
    Ok(dir.join("target").join(TARGET).join("release/libhermit.a"))
}

/// Joins everything into one object in one archive with only `_start` and `symbols` global, because the kernel and the program
/// each have their own allocator, panic handler and memory functions.
fn reduce(raw: &Path, symbols: &[String], dir: &Path, llvm: &Llvm) -> Result<PathBuf> {
    let content = std::fs::read(raw).with_context(|| format!("reading {}", raw.display()))?;
    let key = hex_sha256(format!("{}{symbols:?}", hex_sha256(&content)).as_bytes());
    // Cargo relinks only if the command line changes, so the name must change with the content.
    let archive = dir.join(format!("libhermit-{}.a", &key[..12]));
    if archive.exists() {
        return Ok(archive);
    }
    private::create_dir_all(dir)?;
    let work = Scratch::new(dir, ".weir-")?;
    let at = |name: &str| work.path().join(name);
    let keep: String = std::iter::once("_start")
        .chain(symbols.iter().map(String::as_str))
        .map(|s| format!("{s}\n"))
        .collect();
    std::fs::write(at("keep"), keep).context("writing the list of symbols")?;
    let log = dir.join("reduce.log");
    step::run(
        Command::new(&llvm.lld).args(["-r", "--whole-archive", "-o"]).arg(at("whole.o")).arg(raw),
        "joining the kernel's objects",
        &log,
    )?;
    step::run(
        Command::new(&llvm.objcopy)
            .arg(format!("--keep-global-symbols={}", at("keep").display()))
            .arg(at("whole.o"))
            .arg(at("hermit.o")),
        "hiding the kernel's symbols",
        &log,
    )?;
    step::run(
        Command::new(&llvm.ar).arg("rcsD").arg(at("libhermit.a")).arg(at("hermit.o")),
        "archiving the kernel",
        &log,
    )?;
    place::put(&at("libhermit.a"), &archive).with_context(|| format!("writing {}", archive.display()))?;
    Ok(archive)
}

/// Flags that keep local paths out of the output. The last one that matches wins.
pub(crate) fn remap(options: &Options, toolchain: &Toolchain) -> Vec<String> {
    let home = std::env::home_dir().unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    [
        (options.workspace.clone(), "/weir"),
        (options.target_dir.clone(), "/weir/target"),
        (cargo_home, "/cargo"),
        (toolchain.library(), "/rust"),
    ]
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
    .to_vec()
}
