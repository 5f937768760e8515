//! Files and directories accessible only to their owner: everything that Weir writes on the host may contain a private key, or
//! give access to a process that trusts Weir.
//!
//! Permissions are right from the start, whatever the umask, and files are written atomically: created in a [`Scratch`] directory
//! and renamed. Use `chmod` afterwards to open one to others.

use crate::place;
use anyhow::{Context, Result};
use rustix::fs::Mode;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// Lock file in every [`Scratch`] directory, locked while the directory is in use.
const MARK: &str = "weir.lock";
/// Content of the lock file.
const CONTENT: &[u8] = b"Weir works here, and removes this directory once nobody holds this file's lock.\n";
/// Number of random characters after the prefix of a scratch directory's name.
const RANDOM: usize = 6;

/// Makes all files, directories and sockets that this process and its children create accessible only to their owner. Returns the
/// previous umask.
pub fn restrict_umask() -> u32 {
    rustix::process::umask(Mode::RWXG | Mode::RWXO).as_raw_mode()
}

/// Creates a directory and its missing parents.
pub fn create_dir_all(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("creating {}", path.display()))
}

/// Writes a file atomically, replacing at most a regular file ([`place`]).
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().context("no parent directory")?;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    create_dir_all(directory)?;
    let scratch = Scratch::new(directory, ".weir-")?;
    let unfinished = scratch.path().join("file");
    let written = place::create(&unfinished).and_then(|mut file| file.write_all(content));
    written
        .and_then(|()| place::put(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// Whether the file exists and only its owner can open it.
pub fn is(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o077 == 0)
}

/// A directory for unfinished or temporary files, removed when dropped. If its process is killed, the next one created beside it
/// removes it.
#[derive(Debug)]
pub struct Scratch {
    // Must be removed before the lock is released.
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Creates one in `parent`, named with this prefix and `RANDOM` letters, and removes those of dead processes.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        sweep(parent, prefix);
        let made = || format!("making a directory in {}", parent.display());
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(prefix).rand_bytes(RANDOM).permissions(Permissions::from_mode(0o700));
            let directory = builder.tempdir_in(parent).with_context(made)?;
            let mark = directory.path().join(MARK);
            let mut lock = place::create(&mark).with_context(made)?;
            lock.write_all(CONTENT).with_context(made)?;
            lock.lock().with_context(made)?;
            // Another process may have seen it before it was locked.
            if place::is_at(&lock, &mark) {
                return Ok(Self { directory, _lock: lock });
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes directories left in `parent` by killed processes of this user. Anything that cannot be identified as such stays.
fn sweep(parent: &Path, prefix: &str) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if random.is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            // If this fails, the next run tries again.
            let _ = remove_dead(&entry.path());
        }
    }
}

fn remove_dead(directory: &Path) -> std::io::Result<()> {
    let found = std::fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.mode() & 0o022 != 0 || found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let mark = directory.join(MARK);
    let mut lock = place::open(&mark)?;
    let mut content = Vec::new();
    (&mut lock).take(CONTENT.len() as u64 + 1).read_to_end(&mut content)?;
    if content == CONTENT && lock.try_lock().is_ok() && place::is_at(&lock, &mark) {
        place::remove_directory(directory)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
