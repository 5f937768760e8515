//! What an image says about itself.

use crate::artifact::hex_sha256;
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
    /// The commit it was built from, `-dirty` behind it if there were changes; none outside of a Git checkout.
    pub commit: Option<String>,
    /// The compiler's version.
    pub rustc: String,
    /// The kernel's name and version.
    pub kernel: String,
    /// Bytes of the kernel in the ELF.
    pub kernel_bytes: u64,
    /// Bytes of the program in the ELF, headers included.
    pub appliance_bytes: u64,
    /// Bytes of the TLS stack in the ELF: none yet.
    pub tls_bytes: u64,
    /// Bytes of the bundle in the ELF.
    pub bundle_bytes: u64,
    /// Bytes of the loader.
    pub loader_bytes: u64,
    /// SHA-256 of the loader.
    pub loader_sha256: String,
}

impl Info {
    /// Of a linked program with this bundle and loader.
    pub(crate) fn new(linked: &Linked, bundle: &[u8], loader: &[u8], workspace: &Path) -> Self {
        let kernel_bytes = linked.kernel_bytes.min(linked.elf.len() as u64);
        Self {
            weir: env!("CARGO_PKG_VERSION").into(),
            commit: commit(workspace),
            rustc: linked.rustc.clone(),
            kernel: linked.kernel.clone(),
            kernel_bytes,
            appliance_bytes: linked.elf.len() as u64 - kernel_bytes,
            tls_bytes: 0,
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

/// Bytes that come from the archive named `libhermit-…` in a program, from the linker's map: lines of address, load
/// address, size, alignment, then `FILE(MEMBER):(SECTION)`. Zeroed memory takes no place in the file.
pub(crate) fn kernel_bytes(map: &str) -> u64 {
    let sizes = map.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let size = words.nth(2)?;
        let origin = words.nth(1)?;
        let (file, section) = origin.rsplit_once(":(")?;
        let kernel =
            file.contains("libhermit-") && !section.starts_with(".bss") && !section.starts_with(".tbss");
        kernel.then(|| u64::from_str_radix(size, 16).ok()).flatten()
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_counted_in_the_map() {
        let map = "             VMA              LMA     Size Align Out     In      Symbol\n\
                   \x20          11000            11000       20     1 .text\n\
                   \x20          11000            11000       10     1         /t/a.o:(.text)\n\
                   \x20          11010            11010       1f     1         /t/libhermit-0a.a(hermit.o):(.text)\n\
                   \x20          11010            11010        0     1                 _start\n\
                   \x20          12000            12000     1000     1         /t/libhermit-0a.a(hermit.o):(.bss)\n";
        assert_eq!(kernel_bytes(map), 0x1f);
    }
}
