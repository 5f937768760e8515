//! The bundle: settings and static files as one checksummed byte string in the image.
//!
//! Layout, all integers little-endian:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | magic `WEIRBNDL` |
//! | 8 | 4 | format version ([`VERSION`]) |
//! | 12 | 4 | CRC-32 (IEEE) of everything from offset 16 to the end |
//! | 16 | 8 | total length in bytes, header included |
//! | 24 | 8 | length `M` of the manifest in bytes |
//! | 32 | M | manifest: [`Manifest`] in postcard |
//! | 32 + M | – | file contents, at the offsets the manifest gives from here |

use crate::settings::Settings;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The first eight bytes of every bundle.
pub const MAGIC: [u8; 8] = *b"WEIRBNDL";
/// Format version written and read by this build.
pub const VERSION: u32 = 3;
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 32;

/// Settings and the list of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Validated settings.
    pub settings: Settings,
    /// Files of all trees, sorted by tree, then path.
    pub files: Vec<File>,
}

/// One static file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The file tree it belongs to ([`crate::settings::Handler::Files`]).
    pub tree: u16,
    /// Path below the prefix, without a leading slash, `/` between segments: `css/site.css`.
    pub path: String,
    /// Media type for `Content-Type`.
    pub media_type: String,
    /// Strong entity tag, quotes included.
    pub etag: String,
    /// Modification time, seconds since 1970-01-01 UTC.
    pub last_modified: u64,
    /// Offset of the content from the end of the manifest.
    pub offset: u64,
    /// Length of the content in bytes.
    pub len: u64,
}

/// A file's content together with its description, for [`encode`].
#[derive(Clone, Debug)]
pub struct Source {
    /// Description; `offset` and `len` are filled in by [`encode`].
    pub file: File,
    /// Content.
    pub content: Vec<u8>,
}

/// Why a bundle was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// Shorter than the header, or than the length it states.
    Truncated,
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Written by another version of Weir; contains the format version found.
    Version(u32),
    /// The checksum does not match.
    Checksum,
    /// The checksum matches but the manifest does not parse or points outside the bundle.
    Manifest,
}

impl core::fmt::Display for BundleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("bundle is truncated"),
            Self::Magic => f.write_str("no bundle here (bad magic)"),
            Self::Version(v) => write!(f, "bundle has format version {v}, this build reads {VERSION}"),
            Self::Checksum => f.write_str("bundle checksum is wrong"),
            Self::Manifest => f.write_str("bundle manifest is damaged"),
        }
    }
}

impl core::error::Error for BundleError {}

/// A validated bundle.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// Settings and files.
    pub manifest: Manifest,
    contents: &'a [u8],
}

impl<'a> Bundle<'a> {
    /// Validates and opens a bundle. Ignores bytes after the stated length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let header = bytes.get(..HEADER_LEN).ok_or(BundleError::Truncated)?;
        if header[..8] != MAGIC {
            return Err(BundleError::Magic);
        }
        let version = le_u32(&header[8..12]);
        if version != VERSION {
            return Err(BundleError::Version(version));
        }
        let total = usize::try_from(le_u64(&header[16..24])).map_err(|_| BundleError::Truncated)?;
        let bytes = bytes.get(..total).ok_or(BundleError::Truncated)?;
        let checked = bytes.get(16..).ok_or(BundleError::Truncated)?;
        if crc32fast::hash(checked) != le_u32(&header[12..16]) {
            return Err(BundleError::Checksum);
        }
        let body = bytes.get(HEADER_LEN..).ok_or(BundleError::Truncated)?;
        let manifest_len = usize::try_from(le_u64(&header[24..32])).map_err(|_| BundleError::Manifest)?;
        let (manifest, contents) = body.split_at_checked(manifest_len).ok_or(BundleError::Manifest)?;
        let manifest: Manifest = postcard::from_bytes(manifest).map_err(|_| BundleError::Manifest)?;
        let bundle = Self { manifest, contents };
        bundle
            .manifest
            .files
            .iter()
            .try_for_each(|f| bundle.content(f).map(drop).ok_or(BundleError::Manifest))?;
        Ok(bundle)
    }

    /// The content of a file listed in this bundle's manifest; `None` if it is outside the bundle.
    pub fn content(&self, file: &File) -> Option<&'a [u8]> {
        let start = usize::try_from(file.offset).ok()?;
        let end = start.checked_add(usize::try_from(file.len).ok()?)?;
        self.contents.get(start..end)
    }
}

/// Writes a bundle. Deterministic: the same input gives the same bytes.
pub fn encode(settings: &Settings, mut sources: Vec<Source>) -> Vec<u8> {
    sources.sort_by(|a, b| (a.file.tree, &a.file.path).cmp(&(b.file.tree, &b.file.path)));
    let mut contents = Vec::new();
    let mut files = Vec::with_capacity(sources.len());
    for Source { mut file, content } in sources {
        file.offset = contents.len() as u64;
        file.len = content.len() as u64;
        contents.extend_from_slice(&content);
        files.push(file);
    }
    let manifest = Manifest { settings: settings.clone(), files };
    // Encoding into a growing vector fails only for types that postcard cannot represent; these are all
    // plain.
    let manifest =
        postcard::to_allocvec(&manifest).expect("settings and files are representable in postcard");
    let total = HEADER_LEN + manifest.len() + contents.len();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(total as u64).to_le_bytes());
    out.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
    out.extend_from_slice(&manifest);
    out.extend_from_slice(&contents);
    let crc = crc32fast::hash(&out[16..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

fn le_u32(b: &[u8]) -> u32 {
    b.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b))
}

fn le_u64(b: &[u8]) -> u64 {
    b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
