//! Builds images: Hermit kernel, program and bundle (settings, static files) in one ELF, next to the loader that boots it.
//!
//! ```text
//! weir.toml ──check──▶ Config ──compile──▶ Settings + files ──encode──▶ bundle ─┐
//! kernel source ──fixes──▶ libhermit.a ─┐                                      │
//! appliance, netdrv ────────────────────┴──link──▶ weir-appliance (ELF) ──attach──▶ image + loader
//! ```
//!
//! Typical use: [`check`] a configuration, then [`build`] its image. [`build_program`] builds a Hermit program without a bundle,
//! such as the demo worker.
//!
//! The types of settings, bundles and prefixes come from `model`. Only [`config`] and [`cert`] use `appliance`, for dry runs:
//! they build the router, the bandwidth tree, the request limits and the TLS store from the settings exactly as the appliance
//! will, so that `weir check` and the running appliance cannot disagree about what is valid.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod cert;
pub mod config;
pub mod deploy;
pub mod files;
mod gate;
pub mod kernel;
mod linkmap;
mod patched;
pub mod payload;
mod pem;
pub mod place;
pub mod private;
mod program;
mod rules;
pub mod step;
pub mod toolchain;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

pub use artifact::Artifact;
pub use config::{Config, ConfigError, ConfigErrors};
pub use model::memory::{FIXED_LEN_MAX, least_memory_mib, least_memory_with_mib};

/// Options of a build besides the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The checkout to build from.
    pub workspace: PathBuf,
    /// Build directory: `weir/` in the workspace's target directory.
    pub target_dir: PathBuf,
    /// Directory of finished images: `images/` in `target_dir`.
    pub out_dir: PathBuf,
    /// Directory of another `libhermit.a` and loader to use instead of Weir's kernel (`--kernel DIR`).
    pub kernel: Option<PathBuf>,
}

impl Options {
    /// Options for the checkout this crate was compiled from, or the one in `WEIR_WORKSPACE`, with its target directory or
    /// `CARGO_TARGET_DIR`.
    pub fn new() -> Result<Self> {
        let workspace = match std::env::var_os("WEIR_WORKSPACE") {
            Some(path) => PathBuf::from(path),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        };
        let workspace =
            workspace.canonicalize().with_context(|| format!("workspace {}", workspace.display()))?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        let target_dir = std::path::absolute(target).context("CARGO_TARGET_DIR")?.join("weir");
        Ok(Self { out_dir: target_dir.join("images"), workspace, target_dir, kernel: None })
    }
}

/// A Hermit program of this workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `weir-appliance` of package `appliance`.
    Appliance,
    /// `weir-worker`, the demo worker VM.
    Worker,
}

/// A bootable pair for QEMU: `-kernel LOADER -initrd ELF`.
#[derive(Clone, Debug)]
pub struct Image {
    /// The multiboot loader.
    pub loader: Artifact,
    /// Kernel, program and bundle.
    pub elf: Artifact,
    /// Bytes of the bundle in `elf`; 0 without a bundle.
    pub bundle_len: u64,
}

impl Image {
    /// Bytes of loader and image without the bundle.
    pub fn fixed_len(&self) -> u64 {
        self.loader.len + self.elf.len - self.bundle_len
    }
}

/// Called with one line at the start of each build step.
pub type Progress<'a> = &'a dyn Fn(&str);

/// Reads and checks a configuration, including that everything it refers to on the host exists.
pub fn check(path: &Path) -> Result<Config, ConfigErrors> {
    config::check(path)
}

/// Builds the appliance with the bundle of `config`. Steps with unchanged inputs are skipped.
pub fn build(config: &Config, options: &Options, progress: Progress) -> Result<Image> {
    let _lock = lock(options, progress)?;
    let parts = link(config, options, progress)?;
    write(Program::Appliance, &parts.loader, &parts.elf, parts.info.bundle_bytes, options, progress)
}

/// The loader, and the appliance with the bundle of `config`.
pub(crate) fn assemble(config: &Config, options: &Options, progress: Progress) -> Result<deploy::Parts> {
    let _lock = lock(options, progress)?;
    link(config, options, progress)
}

fn link(config: &Config, options: &Options, progress: Progress) -> Result<deploy::Parts> {
    let linked = program::link(Program::Appliance, options, progress)?;
    progress("packing the bundle");
    let bundle = bundle(config)?;
    // The same number that `weir check` prints and `weir up` enforces.
    let least = least_memory_mib(bundle.len() as u64);
    let loader = read_loader(&linked.loader)?;
    let loader = gate::install(&loader, &linked.elf, least).context("prepending the memory check")?;
    let info = deploy::Info::new(&linked, &bundle, &loader, &options.workspace);
    let elf = payload::attach(&linked.elf, &bundle).context("attaching the bundle")?;
    Ok(deploy::Parts { loader, elf: deploy::seal_elf(elf, &info)?, info })
}

fn read_loader(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// The bundle of a configuration: settings and static files.
pub fn bundle(config: &Config) -> Result<Vec<u8>> {
    let mut sources = Vec::new();
    for (tree, root) in (0..).zip(&config.trees) {
        sources.extend(files::read(tree, root)?);
    }
    Ok(model::bundle::encode(&config.settings(), sources))
}

/// Builds a program without a bundle.
pub fn build_program(program: Program, options: &Options, progress: Progress) -> Result<Image> {
    let _lock = lock(options, progress)?;
    let linked = program::link(program, options, progress)?;
    let elf = payload::finish(&linked.elf).context("finishing the ELF")?;
    write(program, &read_loader(&linked.loader)?, &elf, 0, options, progress)
}

/// Writes loader and image under their final names.
fn write(
    program: Program,
    loader: &[u8],
    elf: &[u8],
    bundle_len: u64,
    options: &Options,
    progress: Progress,
) -> Result<Image> {
    let image = Image {
        loader: Artifact::write(&options.out_dir.join(program.loader()), loader)?,
        elf: Artifact::write(&options.out_dir.join(program.binary()), elf)?,
        bundle_len,
    };
    if image.fixed_len() > FIXED_LEN_MAX {
        progress(&format!(
            "warning: {} bytes without a bundle, expected at most {FIXED_LEN_MAX}",
            image.fixed_len()
        ));
    }
    Ok(image)
}

/// Serialises builds in the same directory.
fn lock(options: &Options, progress: Progress) -> Result<std::fs::File> {
    private::create_dir_all(&options.target_dir)?;
    let path = options.target_dir.join("lock");
    let file = place::open_or_create(&path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        progress("waiting for another build to finish");
        file.lock().with_context(|| format!("locking {}", path.display()))?;
    }
    Ok(file)
}
