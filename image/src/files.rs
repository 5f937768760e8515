//! Directories of static files: which files are served, and their metadata.
//!
//! Every regular file below the root is served unless a name in its path begins with a dot (`.well-known` excepted). Symbolic
//! links are followed if they stay below the root.

use crate::artifact::hex_sha256;
use crate::step::ask;
use model::bundle::{File, Source};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// Why a directory cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesError {
    /// The directory or a file could not be read.
    Read(PathBuf, std::io::ErrorKind),
    /// Neither a file nor a directory.
    Special(PathBuf),
    /// A symbolic link to a target outside of the directory.
    Escapes(PathBuf),
    /// A symbolic link to one of its own parent directories.
    Loop(PathBuf),
    /// A name that is not UTF-8.
    Name(PathBuf),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, kind) => write!(f, "{}: {kind}, expected to read it", path.display()),
            Self::Special(path) => write!(f, "{}: expected a regular file or a directory", path.display()),
            Self::Escapes(path) => {
                write!(
                    f,
                    "{}: link leads out of the site's directory, expected a target inside",
                    path.display()
                )
            }
            Self::Loop(path) => {
                write!(f, "{}: link leads to one of its parent directories, expected no loop", path.display())
            }
            Self::Name(path) => write!(f, "{}: name is not UTF-8, expected UTF-8", path.display()),
        }
    }
}

impl std::error::Error for FilesError {}

/// The files below the canonical path `root`: path in URLs → path on the host, sorted by URL path.
pub(crate) fn walk(root: &Path) -> Result<BTreeMap<String, PathBuf>, FilesError> {
    let mut found = BTreeMap::new();
    descend(root, root, "", &mut vec![root.to_owned()], &mut found)?;
    Ok(found)
}

fn descend(
    root: &Path,
    dir: &Path,
    below: &str,
    open: &mut Vec<PathBuf>,
    found: &mut BTreeMap<String, PathBuf>,
) -> Result<(), FilesError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| FilesError::Read(path, e.kind())
    };
    for entry in std::fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| FilesError::Name(path.clone()))?;
        if name.starts_with('.') && name != ".well-known" {
            continue;
        }
        let real = path.canonicalize().map_err(unreadable(&path))?;
        let below = format!("{below}{name}");
        if !real.starts_with(root) {
            return Err(FilesError::Escapes(path));
        } else if real.is_file() {
            found.insert(below, real);
        } else if !real.is_dir() {
            return Err(FilesError::Special(path));
        } else if open.contains(&real) {
            return Err(FilesError::Loop(path));
        } else {
            open.push(real.clone());
            descend(root, &real, &format!("{below}/"), open, found)?;
            open.pop();
        }
    }
    Ok(())
}

/// Reads all files of directory number `tree` at `root` for the bundle.
pub(crate) fn read(tree: u16, root: &Path) -> Result<Vec<Source>, FilesError> {
    let time = common_time(root);
    let mut sources = Vec::new();
    for (path, real) in walk(root)? {
        let unreadable = |e: std::io::Error| FilesError::Read(real.clone(), e.kind());
        let content = std::fs::read(&real).map_err(unreadable)?;
        let last_modified = match time {
            Some(time) => time,
            None => mtime(&real).map_err(unreadable)?,
        };
        let file = File {
            tree,
            media_type: media_type(&path),
            etag: format!("\"{}\"", &hex_sha256(&content)[..16]),
            last_modified,
            offset: 0,
            len: content.len() as u64,
            path,
        };
        sources.push(Source { file, content });
    }
    Ok(sources)
}

/// The media type for the name's extension. Text is UTF-8.
fn media_type(path: &str) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}

/// A common modification time for the whole directory, so that every checkout of a commit gives the same bundle:
/// `SOURCE_DATE_EPOCH`, else the time of the last commit that touched the directory if it has no uncommitted changes.
fn common_time(root: &Path) -> Option<u64> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return epoch.parse().ok();
    }
    let git = |args: &[&str]| ask(Command::new("git").arg("-C").arg(root).args(args));
    let clean = git(&["status", "--porcelain", "--", "."])?.is_empty();
    if clean { git(&["log", "-1", "--format=%ct", "--", "."])?.parse().ok() } else { None }
}

fn mtime(path: &Path) -> std::io::Result<u64> {
    let modified = std::fs::metadata(path)?.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
