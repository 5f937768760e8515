//! Files and directories for their owner alone: everything that Weir writes on a host may hold a private key, or be a way to
//! somebody who trusts it.
//!
//! Modes are right from the first moment, whatever the umask, and files are whole or not there: they are written in a
//! [`Scratch`] directory and renamed. Whoever wants others to read something says so afterwards.

use crate::place;
use anyhow::{Context, Result};
use rustix::fs::Mode;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// What every [`Scratch`] directory has in it, locked for as long as somebody works there.
const MARK: &str = "weir.lock";
/// What stands in the mark.
const CONTENT: &[u8] = b"Weir works here, and removes this directory once nobody holds this file's lock.\n";
/// Characters that follow the prefix of a scratch directory's name.
const RANDOM: usize = 6;

/// Makes every file, directory and socket that this process and its children create from now on their owner's alone. Returns
/// the umask that was in force.
pub fn restrict_umask() -> u32 {
    rustix::process::umask(Mode::RWXG | Mode::RWXO).as_raw_mode()
}

/// Makes a directory, and those above it, where they are not there.
pub fn create_dir_all(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("creating {}", path.display()))
}

/// Writes a file whole, in place of a regular one that is there ([`place`]).
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

/// Whether a file is there that its owner alone can open.
pub fn is(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o077 == 0)
}

/// A directory for what is not finished, or not to stay. It goes when it is dropped; one whose process was killed is removed
/// by the next that is made beside it.
#[derive(Debug)]
pub struct Scratch {
    // Removed before the lock is given back.
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one in `parent`, its name this prefix and `RANDOM` letters, and removes those of dead processes there.
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
            // Somebody may have found it in the moment when it was not locked yet.
            if place::is_at(&lock, &mark) {
                return Ok(Self { directory, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes what killed processes of this user have left in `parent`. What cannot be shown to be of that kind stays.
fn sweep(parent: &Path, prefix: &str) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if random.is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            // What cannot be removed now, the next one finds again.
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
