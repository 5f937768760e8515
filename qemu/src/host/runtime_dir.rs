//! Where a run keeps its sockets.
//!
//! | in it | what |
//! |---|---|
//! | `appliance.vsock`, `appliance.vsock_PORT` | the host's end of the appliance's vsock |
//! | `appliance.vsock.closed` | the first of them, while the appliance boots |
//! | `appliance/` | sockets and image of the appliance |
//! | `supervisor/` | sockets and images of the workers |
//! | `appliance.lock`, `supervisor.lock` | held by whoever runs the one and the other |

use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Longest path of such a directory, in bytes: those of the Unix sockets below it must not have more than 107.
const PATH_MAX: usize = 60;

/// Who runs something from a [`RuntimeDir`]. One of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the appliance.
    Appliance,
    /// Looks after its workers.
    Supervisor,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Supervisor => "supervisor",
        }
    }
}

/// The directory, and the locks that are held in it for as long as this lives.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    _locks: Vec<File>,
    _temporary: Option<TempDir>,
}

impl RuntimeDir {
    /// One of its own, removed with it.
    pub fn temporary() -> Result<Self> {
        let made =
            tempfile::Builder::new().prefix("weir-").tempdir().context("making a runtime directory")?;
        Ok(Self { path: made.path().to_owned(), _locks: Vec::new(), _temporary: Some(made) })
    }

    /// One that several processes share, made if it is not there. Fails where another process has one of these roles. What
    /// earlier ones have left behind in these roles is removed, but for the sockets of relays.
    pub fn shared(path: &Path, roles: &[Role]) -> Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{}", path.display()))?;
        let named = || format!("runtime directory {}", path.display());
        let bytes = path.as_os_str().as_bytes().len();
        ensure!(bytes <= PATH_MAX, "{}: a path of {bytes} bytes, expected at most {PATH_MAX}", named());
        std::fs::create_dir_all(&path).with_context(named)?;
        let mut locks = Vec::new();
        for role in roles {
            let file = File::create(path.join(format!("{}.lock", role.name()))).with_context(named)?;
            match file.try_lock() {
                Ok(()) => locks.push(file),
                Err(TryLockError::WouldBlock) => bail!("{}: another {} runs there", named(), role.name()),
                Err(TryLockError::Error(error)) => return Err(error).with_context(named),
            }
            let _ = std::fs::remove_dir_all(path.join(role.name()));
        }
        Ok(Self { path, _locks: locks, _temporary: None })
    }

    /// The host's end of the appliance's vsock.
    pub fn vsock(&self) -> PathBuf {
        self.path.join("appliance.vsock")
    }

    /// What belongs to one role alone.
    pub fn of(&self, role: Role) -> Result<PathBuf> {
        let path = self.path.join(role.name());
        std::fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
        Ok(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_for_each_role() -> Result<()> {
        let directory = TempDir::new()?;
        let path = directory.path().join("weir");
        let appliance = RuntimeDir::shared(&path, &[Role::Appliance])?;
        std::fs::write(appliance.of(Role::Appliance)?.join("left"), "")?;
        let supervisor = RuntimeDir::shared(&path, &[Role::Supervisor])?;
        assert!(appliance.of(Role::Appliance)?.join("left").exists(), "it is the other's");
        let second = RuntimeDir::shared(&path, &[Role::Supervisor]).map_err(|error| error.to_string());
        assert!(second.is_err_and(|error| error.ends_with("another supervisor runs there")));
        drop(supervisor);
        RuntimeDir::shared(&path, &[Role::Supervisor])?;
        drop(appliance);
        let again = RuntimeDir::shared(&path, &[Role::Appliance, Role::Supervisor])?;
        assert!(!again.of(Role::Appliance)?.join("left").exists());
        Ok(())
    }

    #[test]
    fn paths_that_no_socket_fits_below_are_refused() {
        let long = format!("/tmp/{}", "x".repeat(80));
        let refused = RuntimeDir::shared(Path::new(&long), &[]).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("85 bytes, expected at most 60")));
    }
}
