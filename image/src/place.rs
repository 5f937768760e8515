//! What is at a name before something is written there, renamed to it or removed from it: the one rule for everything that Weir
//! does with the host's paths.
//!
//! A file of Weir's takes the place of nothing but a regular file, and a socket of nothing but a socket. A symbolic link is never
//! followed, a FIFO never waited for, a device never written, a directory never emptied: whoever put it there meant something
//! else. Whether a regular file may be replaced is for the caller to say, by what is in it.

use rustix::fs::OFlags;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE: &str = "a regular file or nothing";
const SOCKET: &str = "a socket or nothing";
const DIRECTORY: &str = "a directory or nothing";

/// Whether a regular file has this name; fails where anything else has.
pub fn has_file(path: &Path) -> Result<bool> {
    has(path, FILE, FileType::is_file)
}

/// Gives a finished file its name, in place of a regular file or of nothing.
pub fn put(finished: &Path, path: &Path) -> Result<()> {
    has_file(path)?;
    std::fs::rename(finished, path)
}

/// Gives a package its place in a tree that Weir generates, where nothing is yet.
pub fn move_directory(from: &Path, to: &Path) -> Result<()> {
    match std::fs::symlink_metadata(to) {
        Ok(found) => Err(wrong(to, found.file_type(), "nothing")),
        Err(_) => std::fs::rename(from, to),
    }
}

/// Gives a socket another name, where nothing is yet or another socket.
pub fn move_socket(from: &Path, to: &Path) -> Result<()> {
    if !has(from, SOCKET, FileType::is_socket)? {
        return Err(ErrorKind::NotFound.into());
    }
    remove_socket(to)?;
    std::fs::rename(from, to)
}

/// Makes a file that is not there yet, for its owner alone.
pub fn create(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a regular file for reading and writing.
pub fn open(path: &Path) -> Result<File> {
    open_with(OpenOptions::new().read(true).write(true), path)
}

/// Opens a regular file, or makes one for its owner alone.
pub fn open_or_create(path: &Path) -> Result<File> {
    open_with(OpenOptions::new().read(true).write(true).create(true).mode(0o600), path)
}

/// The same, and whatever is written goes to its end.
pub fn open_to_append(path: &Path) -> Result<File> {
    open_with(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)
}

/// Removes a regular file.
pub fn remove_file(path: &Path) -> Result<()> {
    match has_file(path)? {
        true => std::fs::remove_file(path),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Removes a directory and everything in it, if there is one; fails where anything else has its name. Links in it are removed, and
/// not what they lead to. For directories that Weir has made, by a name of their own or a mark in them.
pub fn remove_directory(path: &Path) -> Result<()> {
    match has(path, DIRECTORY, FileType::is_dir)? {
        true => std::fs::remove_dir_all(path),
        false => Ok(()),
    }
}

/// Removes a socket if one has this name; fails where anything else has.
pub fn remove_socket(path: &Path) -> Result<()> {
    match has(path, SOCKET, FileType::is_socket)? {
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

/// Whether this open file is what lies at `path`.
pub fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    identity(&open) == identity(&there)
}

/// The file of a socket that this process has bound. Dropping this removes it, unless something else has its name by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// What was bound at `path` just now.
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&std::fs::symlink_metadata(path)?) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| identity(&there) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn has(path: &Path, expected: &str, is_expected: impl Fn(&FileType) -> bool) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if is_expected(&found.file_type()) => Ok(true),
        Ok(found) => Err(wrong(path, found.file_type(), expected)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Opens without following a link or waiting for the other end of a FIFO.
fn open_with(options: &mut OpenOptions, path: &Path) -> Result<File> {
    // Before it is opened, too: to open a device can already do something.
    has_file(path)?;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = options.custom_flags(flags.cast_signed()).open(path)?;
    let found = file.metadata()?.file_type();
    if found.is_file() { Ok(file) } else { Err(wrong(path, found, FILE)) }
}

fn wrong(path: &Path, found: FileType, expected: &str) -> Error {
    let what = match found {
        found if found.is_symlink() => "a symbolic link",
        found if found.is_dir() => "a directory",
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        found if found.is_file() => "a regular file",
        _ => "a device",
    };
    let text =
        format!("{}: is {what}, expected {expected}; remove it or choose another name", path.display());
    Error::new(ErrorKind::AlreadyExists, text)
}

/// Device and number.
fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
