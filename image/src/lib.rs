//! Builds images: Hermit kernel + program + bundle (settings, static files) in one ELF, next to the loader that
//! boots it.
//!
//! ```text
//! weir.toml ──check──▶ Config ──compile──▶ Settings + files ──encode──▶ bundle ─┐
//! kernel source ──fixes──▶ libhermit.a ─┐                                      │
//! appliance, netdrv ────────────────────┴──link──▶ weir-appliance (ELF) ──attach──▶ image + loader
//! ```
//!
//! The usual way in: [`check`] a configuration, then [`build`] its image; [`build_program`] builds a Hermit
//! program without a bundle (the demo worker).
#![forbid(unsafe_code)]

pub mod artifact;
pub mod config;

use anyhow::Result;
use std::path::{Path, PathBuf};

pub use artifact::Artifact;
pub use config::{Config, ConfigError};

/// What shapes a build besides the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The checkout that the programs are built from.
    pub workspace: PathBuf,
    /// Where everything is built and written: `weir/` in the workspace's target directory.
    pub target_dir: PathBuf,
    /// A directory with another `libhermit.a` and loader (`--kernel DIR`) in place of the kernel that Weir builds.
    pub kernel: Option<PathBuf>,
}

impl Options {
    /// Options for the checkout this crate was compiled from (`WEIR_WORKSPACE` names another), with its target directory
    /// (`CARGO_TARGET_DIR` if set).
    pub fn new() -> Result<Self> {
        todo!()
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

/// A bootable pair: QEMU's `-kernel LOADER -initrd ELF`.
#[derive(Clone, Debug)]
pub struct Image {
    /// The multiboot loader.
    pub loader: Artifact,
    /// Kernel, program and bundle.
    pub elf: Artifact,
    /// Bytes of the bundle in `elf`, 0 for a program without one.
    pub bundle_len: u64,
}

/// Called with one line for each step of a build as it begins.
pub type Progress<'a> = &'a dyn Fn(&str);

/// Reads and checks a configuration and the existence of everything it names on the host.
pub fn check(path: &Path) -> Result<Config, ConfigError> {
    config::check(path)
}

/// Builds the appliance with the bundle of `config`. Steps whose inputs are unchanged cost nothing.
pub fn build(_config: &Config, _options: &Options, _progress: Progress) -> Result<Image> {
    todo!()
}

/// Builds a program without a bundle.
pub fn build_program(_program: Program, _options: &Options, _progress: Progress) -> Result<Image> {
    todo!()
}
