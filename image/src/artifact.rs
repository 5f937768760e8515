//! Output files of a build: written atomically, with length and SHA-256.

use crate::private;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A finished output file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path of the file.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of its content in lower-case hexadecimal.
    pub sha256: String,
}

impl Artifact {
    /// Writes `content` to `path`, readable by its owner only, and atomically, so that an interrupted build leaves no partial
    /// file. A file that already has this content and these permissions is left alone.
    pub fn write(path: &Path, content: &[u8]) -> Result<Self> {
        let same = private::is(path) && std::fs::read(path).is_ok_and(|old| old == content);
        if !same {
            private::write(path, content)?;
        }
        Ok(Self { path: path.to_owned(), len: content.len() as u64, sha256: hex_sha256(content) })
    }
}

impl std::fmt::Display for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} bytes sha256 {}", self.path.display(), self.len, self.sha256)
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
