//! Safe replacement and removal of files on the host: everything Weir writes, renames or removes goes through here.
//!
//! A file of Weir's replaces nothing but a regular file, and a socket nothing but a socket. Symbolic links are never followed,
//! FIFOs never waited for, devices never written, and directories never emptied. Whether a regular file may be replaced is for
//! the caller to decide, by its content.

use rustix::fs::OFlags;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE: &str = "a regular file or nothing";
const SOCKET: &str = "a socket or nothing";
const DIRECTORY: &str = "a directory or nothing";

/// Whether there is a regular file at `path`; an error if there is anything else.
pub fn has_file(path: &Path) -> Result<bool> {
    has(path, FILE, FileType::is_file)
}

/// Renames a finished file to `path`, replacing at most a regular file.
pub fn put(finished: &Path, path: &Path) -> Result<()> {
    has_file(path)?;
    std::fs::rename(finished, path)
}

/// Moves a package's directory to its place in a tree that Weir generates; fails if the name is taken.
pub fn move_directory(from: &Path, to: &Path) -> Result<()> {
    match std::fs::symlink_metadata(to) {
        Ok(found) => Err(wrong(to, found.file_type(), "nothing")),
        Err(_) => std::fs::rename(from, to),
    }
}

/// Renames a socket, replacing at most another socket.
pub fn move_socket(from: &Path, to: &Path) -> Result<()> {
    if !has(from, SOCKET, FileType::is_socket)? {
        return Err(ErrorKind::NotFound.into());
    }
    remove_socket(to)?;
    std::fs::rename(from, to)
}

/// Creates a new file, accessible only to its owner.
pub fn create(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a regular file for reading and writing.
pub fn open(path: &Path) -> Result<File> {
    open_with(OpenOptions::new().read(true).write(true), path)
}

/// Opens a regular file, or creates one accessible only to its owner.
pub fn open_or_create(path: &Path) -> Result<File> {
    open_with(OpenOptions::new().read(true).write(true).create(true).mode(0o600), path)
}

/// Like [`open_or_create`], for appending.
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

/// Removes a directory with its content, if there is one; an error if there is anything else. Links in it are not followed. Only
/// for directories that Weir has created, as shown by their name or a mark in them.
pub fn remove_directory(path: &Path) -> Result<()> {
    match has(path, DIRECTORY, FileType::is_dir)? {
        true => std::fs::remove_dir_all(path),
        false => Ok(()),
    }
}

/// Removes a socket if there is one; an error if there is anything else.
pub fn remove_socket(path: &Path) -> Result<()> {
    match has(path, SOCKET, FileType::is_socket)? {
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

/// Whether `file` is what is now at `path`.
pub fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    identity(&open) == identity(&there)
}

/// The file of a socket bound by this process. Dropping it removes the file, unless something else has taken its name.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The socket just bound at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&std::fs::symlink_metadata(path)?) })
    }

    /// Its path.
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

/// Opens without following a symbolic link or waiting for the other end of a FIFO.
fn open_with(options: &mut OpenOptions, path: &Path) -> Result<File> {
    // Check before opening too: opening a device can have side effects.
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

/// Device and inode.
fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
