//! The description of an image that it carries inside.

use crate::artifact::hex_sha256;
use crate::linkmap::Parts;
use crate::program::Linked;
use crate::step::ask;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// Versions and sizes, carried in the ELF's seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Weir's version.
    pub weir: String,
    /// The commit it was built from, with `-dirty` if there were changes; `None` outside of a Git checkout.
    pub commit: Option<String>,
    /// The compiler's version.
    pub rustc: String,
    /// The kernel's name and version.
    pub kernel: String,
    /// Bytes of the kernel in the ELF.
    pub kernel_bytes: u64,
    /// Bytes of everything else of the program in the ELF, including headers.
    pub appliance_bytes: u64,
    /// Bytes of the TLS stack in the ELF, as far as it can be separated after link-time optimisation.
    pub tls_bytes: u64,
    /// Bytes of the bundle in the ELF.
    pub bundle_bytes: u64,
    /// Bytes of the loader.
    pub loader_bytes: u64,
    /// SHA-256 of the loader.
    pub loader_sha256: String,
}

impl Info {
    /// Describes a linked program with this bundle and loader.
    pub(crate) fn new(linked: &Linked, bundle: &[u8], loader: &[u8], workspace: &Path) -> Self {
        let Parts { kernel, tls } = linked.parts;
        Self {
            weir: env!("CARGO_PKG_VERSION").into(),
            commit: commit(workspace),
            rustc: linked.rustc.clone(),
            kernel: linked.kernel.clone(),
            kernel_bytes: kernel,
            appliance_bytes: (linked.elf.len() as u64).saturating_sub(kernel + tls),
            tls_bytes: tls,
            bundle_bytes: bundle.len() as u64,
            loader_bytes: loader.len() as u64,
            loader_sha256: hex_sha256(loader),
        }
    }
}

fn commit(workspace: &Path) -> Option<String> {
    let git = |args: &[&str]| ask(Command::new("git").arg("-C").arg(workspace).args(args));
    let head = git(&["rev-parse", "HEAD"])?;
    let clean = git(&["status", "--porcelain"])?.is_empty();
    Some(if clean { head } else { format!("{head}-dirty") })
}
