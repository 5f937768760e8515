//! A Unix socket at a user-chosen path: replaces nothing but the leftovers of an earlier run.
//!
//! A lock file beside it, `PATH.lock`, marks the socket as Weir's. It is locked while the socket is served, and both are removed
//! at the end. A socket without lock file belongs to another program.

use anyhow::{Context, Result, bail, ensure};
use image::place::{self, SocketFile};
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Content of the lock file.
const CONTENT: &[u8] = b"Weir's: its socket beside this file is in use while the file is locked.\n";

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// File mode, of which write permission matters; default 0600, or 0660 with a group.
    pub mode: Option<u32>,
    /// Name of a group; default: that of this process.
    pub group: Option<String>,
}

/// A listening socket.
#[derive(Debug)]
pub struct OwnSocket {
    listener: UnixListener,
    file: SocketFile,
    // Released last.
    _lock: Lock,
}

impl OwnSocket {
    /// Listens at `path`. Only the owner can connect until `access` has been applied.
    pub fn bind(path: &Path, access: &Access) -> Result<Self> {
        let lock = Lock::take(path)?;
        if let Ok(found) = std::fs::symlink_metadata(path) {
            ensure!(
                found.file_type().is_socket() && lock.was_there,
                "{}: exists and is not a socket left by weir; choose another path",
                path.display()
            );
            ensure!(UnixStream::connect(path).is_err(), "{}: another program listens there", path.display());
            place::remove_socket(path).context("control socket")?;
        }
        // The umask decides who may connect at first.
        crate::host::child::restrict_umask();
        let listener =
            UnixListener::bind(path).with_context(|| format!("control socket {}", path.display()))?;
        let file = SocketFile::at(path).with_context(|| format!("{}", path.display()))?;
        let socket = Self { listener, file, _lock: lock };
        socket.allow(access)?;
        Ok(socket)
    }

    /// The listener, to be used while this value lives.
    pub fn listener(&self) -> Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone().context("the control socket")?;
        listener.set_nonblocking(true).context("the control socket")?;
        tokio::net::UnixListener::from_std(listener).context("the control socket")
    }

    fn allow(&self, access: &Access) -> Result<()> {
        if let Some(name) = &access.group {
            let group = nix::unistd::Group::from_name(name).ok().flatten();
            let group = group.with_context(|| format!("--control-group {name}: no such group"))?;
            chown(self.file.path(), None, Some(group.gid.as_raw()))
                .with_context(|| format!("giving {} to group {name}", self.file.path().display()))?;
        }
        let mode = access.mode.unwrap_or(if access.group.is_some() { 0o660 } else { 0o600 });
        std::fs::set_permissions(self.file.path(), Permissions::from_mode(mode))
            .with_context(|| format!("{}: mode {mode:04o}", self.file.path().display()))
    }
}

/// The locked file beside the socket.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Left behind by an earlier run that was killed.
    was_there: bool,
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Remove while still locked, so that a process waiting for the lock notices.
        if place::is_at(&self.file, &self.path) {
            let _ = place::remove_file(&self.path);
        }
    }
}

impl Lock {
    fn take(socket: &Path) -> Result<Self> {
        let mut name = socket.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = || format!("control socket's lock {}", path.display());
        loop {
            let (mut file, was_there) = match place::create(&path) {
                Ok(file) => (file, false),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => match place::open(&path) {
                    Ok(file) => (file, true),
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error).with_context(failed),
                },
                Err(error) => return Err(error).with_context(failed),
            };
            if file.try_lock().is_err() {
                bail!("{}: another supervisor listens there", socket.display());
            }
            if !place::is_at(&file, &path) {
                // Its owner has just removed it.
                continue;
            }
            if was_there {
                let mut content = Vec::new();
                (&mut file).take(CONTENT.len() as u64 + 1).read_to_end(&mut content).with_context(failed)?;
                ensure!(
                    content == CONTENT,
                    "{}: exists and is not weir's lock file; choose another path",
                    path.display()
                );
            } else {
                file.write_all(CONTENT).with_context(failed)?;
            }
            return Ok(Self { path, was_there, file });
        }
    }
}

/// Parses `--control-mode`: octal digits.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
    mode.ok_or_else(|| "expected an octal mode that gives the owner 6, such as 0660".into())
}

#[cfg(test)]
#[path = "own_socket_tests.rs"]
mod tests;
