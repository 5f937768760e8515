//! The runtime directory: sockets, images and locks of a run.
//!
//! | entry | purpose |
//! |---|---|
//! | `appliance.vsock`, `appliance.vsock_PORT` | the host's end of the appliance's vsock |
//! | `appliance.vsock.closed` | the name of the former while the appliance boots |
//! | `appliance/` | sockets and image of the appliance |
//! | `supervisor/` | sockets and images of the workers |
//! | `appliance.lock`, `supervisor.lock` | held by the process in that role |
//! | `weir.runtime` | marks the directory as Weir's, so that it may be cleared |
//!
//! A process that can reach these sockets can impersonate the appliance to its workers and vice versa, and images contain keys,
//! so everything is accessible only to the owner.

use anyhow::{Context, Result, bail, ensure};
use image::place;
use image::private::{self, Scratch};
use std::fs::{File, Permissions, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Maximum length of the path in bytes: the Unix sockets below it must not exceed 107.
const PATH_MAX: usize = 60;
/// File that marks a directory as Weir's.
const MARK: &str = "weir.runtime";
/// Sticky bit: users may create files, but not remove those of others. Such a directory is shared.
const STICKY: u32 = 0o1000;

/// Role of a process in a [`RuntimeDir`]. Each role has one process at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the appliance.
    Appliance,
    /// Manages its workers.
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

/// The directory, and the locks held in it while this value lives.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    _locks: Vec<File>,
    _temporary: Option<Scratch>,
}

impl RuntimeDir {
    /// Creates a temporary directory that is removed with this value, after removing those of killed runs.
    pub fn temporary() -> Result<Self> {
        let made = Scratch::new(&std::env::temp_dir(), "weir-").context("a runtime directory")?;
        check_length(made.path()).context("TMPDIR")?;
        Ok(Self { path: made.path().to_owned(), _locks: Vec::new(), _temporary: Some(made) })
    }

    /// Opens or creates a directory shared by several processes. Fails if another process has one of `roles`. Leftovers of
    /// earlier processes in these roles are removed, except relay sockets.
    pub fn shared(path: &Path, roles: &[Role]) -> Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{}", path.display()))?;
        let named = || format!("runtime directory {}", path.display());
        check_length(&path).with_context(named)?;
        private::create_dir_all(&path).with_context(named)?;
        claim(&path).with_context(named)?;
        let mut locks = Vec::new();
        for role in roles {
            let file =
                place::open_or_create(&path.join(format!("{}.lock", role.name()))).with_context(named)?;
            match file.try_lock() {
                Ok(()) => locks.push(file),
                Err(TryLockError::WouldBlock) => bail!("{}: another {} runs there", named(), role.name()),
                Err(TryLockError::Error(error)) => return Err(error).with_context(named),
            }
            let _ = place::remove_directory(&path.join(role.name()));
        }
        Ok(Self { path, _locks: locks, _temporary: None })
    }

    /// The host's end of the appliance's vsock.
    pub fn vsock(&self) -> PathBuf {
        self.path.join("appliance.vsock")
    }

    /// The subdirectory of one role.
    pub fn of(&self, role: Role) -> Result<PathBuf> {
        let path = self.path.join(role.name());
        private::create_dir_all(&path)?;
        Ok(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn check_length(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes().len();
    ensure!(bytes <= PATH_MAX, "a path of {bytes} bytes, expected at most {PATH_MAX}");
    Ok(())
}

/// Marks an empty directory as Weir's and restricts it to its owner. Fails if the directory is in use for something else, because
/// files in a runtime directory are removed by name.
fn claim(path: &Path) -> Result<()> {
    let found = std::fs::metadata(path)?;
    ensure!(
        found.uid() == rustix::process::geteuid().as_raw() && found.mode() & STICKY == 0,
        "it is shared with other users; expected a directory of its own"
    );
    let mark = path.join(MARK);
    let is_empty = std::fs::read_dir(path)?.next().is_none();
    let is_ours = std::fs::symlink_metadata(&mark).is_ok_and(|found| found.is_file());
    ensure!(
        is_empty || is_ours,
        "it has other files and no {MARK}; expected an empty directory, or one created by weir"
    );
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    place::open_or_create(&mark)?;
    Ok(())
}

/// Parses `--runtime-dir`. Rejects characters that are special in QEMU's options or in a shell command of a worker.
pub fn parse(text: &str) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_alphanumeric() || "-_./+@~:=".contains(c);
    match text.chars().find(|c| !plain(*c)) {
        None => Ok(text.into()),
        Some(odd) => {
            let what = if odd == ' ' { "a space".to_owned() } else { format!("{odd:?}") };
            Err(format!(
                "{what} in the path, expected none: QEMU and worker commands are given paths below it"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_left_alone() -> Result<()> {
        let directory = TempDir::new()?;
        let source = directory.path().join("appliance");
        std::fs::create_dir(&source)?;
        std::fs::write(source.join("lib.rs"), "mine")?;
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let refused = RuntimeDir::shared(directory.path(), &[Role::Appliance]).map_err(|e| format!("{e:#}"));
        assert!(refused.is_err_and(|error| error.contains("expected an empty directory")));
        assert_eq!(std::fs::read_to_string(source.join("lib.rs"))?, "mine");
        assert_eq!((mode(directory.path()), std::fs::read_dir(directory.path())?.count()), (0o755, 1));
        // As /tmp is, even if it is empty.
        let shared = TempDir::new()?;
        std::fs::set_permissions(shared.path(), Permissions::from_mode(0o1777))?;
        assert!(RuntimeDir::shared(shared.path(), &[Role::Appliance]).is_err());
        assert_eq!(mode(shared.path()), 0o777);
        Ok(())
    }

    #[test]
    fn it_is_its_owners_alone() -> Result<()> {
        let directory = TempDir::new()?;
        let (made, given) = (directory.path().join("made"), directory.path().join("given"));
        std::fs::create_dir(&given)?;
        std::fs::set_permissions(&given, Permissions::from_mode(0o755))?;
        for path in [&made, &given] {
            let shared = RuntimeDir::shared(path, &[Role::Appliance])?;
            assert_eq!((mode(path), mode(&shared.of(Role::Appliance)?)), (0o700, 0o700));
            assert_eq!((mode(&path.join("appliance.lock")), mode(&path.join(MARK))), (0o600, 0o600));
        }
        assert_eq!(mode(RuntimeDir::temporary()?.path()), 0o700);
        Ok(())
    }

    #[test]
    fn paths_that_commands_would_read_differently_are_refused() {
        assert_eq!(parse("/run/weir-1/a_b.c"), Ok("/run/weir-1/a_b.c".into()));
        for (path, odd) in
            [("/run/my weir", "a space"), ("/run/a,b", "','"), ("/run/$x", "'$'"), ("/run/'", "'\\''")]
        {
            assert!(
                parse(path).is_err_and(|error| error.starts_with(&format!("{odd} in the path"))),
                "{path}"
            );
        }
    }

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
        let refused = RuntimeDir::shared(Path::new(&long), &[]).map_err(|error| format!("{error:#}"));
        assert!(refused.is_err_and(|error| error.contains("85 bytes, expected at most 60")));
    }
}
