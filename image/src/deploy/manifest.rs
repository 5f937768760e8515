//! The manifest of a build, `FILE.json`: the list of the files it wrote.

use super::{Format, Info};
use crate::artifact::hex_sha256;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All files of a build.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// The format's name.
    pub format: String,
    /// Bytes of GRUB in it.
    pub boot_bytes: u64,
    /// Versions and sizes of the parts.
    #[serde(flatten)]
    pub info: Info,
    /// The image first, then its companion files.
    pub files: Vec<File>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// Name without directory: all files are in the same one.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

impl File {
    /// The file at `at`, which will be renamed to `name`.
    pub(super) fn of(name: &Path, at: &Path) -> Result<Self> {
        let content = std::fs::read(at).with_context(|| format!("reading {}", at.display()))?;
        Ok(Self::with(name, &content))
    }

    /// A file with this content.
    pub(super) fn with(name: &Path, content: &[u8]) -> Self {
        Self { name: file_name(name), bytes: content.len() as u64, sha256: hex_sha256(content) }
    }
}

impl Manifest {
    /// The names of the files listed in the manifest at `path`; `None` if there is no manifest of ours.
    pub(super) fn listed(path: &Path) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Listed {
            format: String,
            weir: String,
            files: Vec<Name>,
        }
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        let listed: Listed = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let ours = listed.format.parse::<Format>().is_ok() && !listed.weir.is_empty();
        ours.then(|| listed.files.into_iter().map(|file| file.name).collect())
    }

    /// The manifest as JSON.
    pub(super) fn to_json(&self) -> String {
        // Serialising plain structs cannot fail.
        let mut json = serde_json::to_string_pretty(self).expect("a manifest is JSON");
        json.push('\n');
        json
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
