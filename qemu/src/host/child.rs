//! Child processes that cannot outlive this one.
//!
//! Each child is started through this program itself (`weir tethered --parent PID -- COMMAND…`), which asks the kernel to kill it
//! when its parent dies (`PR_SET_PDEATHSIG`) and then becomes the command. The setting survives `exec`, and no code has to run
//! between `fork` and `exec`. So even SIGKILL leaves no child behind. Grandchildren that remain are found by a mark in their
//! environment ([`Launcher::marking`], [`end_marked`]).
//!
//! Termination signals are meant for `weir`, which then drains; a child that ended at the same time would lose its requests. So
//! children have sessions of their own, which a terminal's signals do not reach, and QEMU, the vsock daemons and passt start with
//! these signals blocked, in case they are sent to every process. Workers keep them, because SIGTERM is how they are stopped.

use super::tether::SUBCOMMAND;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::LocalSet;

/// Environment variable that marks the processes of a supervisor.
const MARK: &str = "WEIR_SUPERVISOR";

/// The umask this program was started with.
static INHERITED_UMASK: OnceLock<u32> = OnceLock::new();

/// Makes everything that this program and the programs of VMs create from now on accessible only to its owner. Workers get the
/// original umask.
pub fn restrict_umask() {
    let inherited = image::private::restrict_umask();
    // If called again, the first value stays.
    let _ = INHERITED_UMASK.set(inherited);
}

/// Starts child processes.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// Path of the `weir` program.
    weir: PathBuf,
    /// Value of [`MARK`] in the environment of children.
    mark: Option<PathBuf>,
}

impl Launcher {
    /// A launcher that uses the running program, which must be `weir`.
    pub fn new() -> Result<Self> {
        Ok(Self { weir: std::env::current_exe().context("finding the running program")?, mark: None })
    }

    /// A launcher that uses another `weir` program.
    pub fn through(weir: &Path) -> Self {
        Self { weir: weir.to_owned(), mark: None }
    }

    /// A launcher whose children can be found by this directory.
    pub fn marking(self, directory: &Path) -> Self {
        Self { mark: Some(directory.to_owned()), ..self }
    }

    /// Starts a program of a VM with its outputs piped to this process and termination signals blocked. Must be called on a
    /// thread that lives as long as the process: by a parent's death, the kernel means that of the parent *thread*.
    pub fn spawn(&self, program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Child> {
        let mut command = self.command(&["--shielded"], program, args);
        command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {}", program.display()))
    }

    /// Like [`Launcher::spawn`], and passes this socket as a descriptor whose number replaces [`SOCKET`](super::tether::SOCKET)
    /// in the arguments.
    pub fn spawn_on(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        socket: OwnedFd,
    ) -> Result<Child> {
        let mut command = self.command(&["--shielded", "--socket"], program, args);
        command.stdin(socket).spawn().with_context(|| format!("starting {}", program.display()))
    }

    /// Starts a worker, or another foreign program, with additional environment variables and in other surroundings. Like
    /// [`Launcher::spawn`], but with signals and umask as this program was given them.
    pub fn spawn_in(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: impl IntoIterator<Item = (String, String)>,
        surroundings: Surroundings<'_>,
    ) -> Result<Child> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(umask) = INHERITED_UMASK.get() {
            words.extend(["--umask".into(), umask.to_string().into()]);
        }
        if let Some(directory) = surroundings.directory {
            words.extend(["--directory".into(), directory.into()]);
        }
        if let Some(user) = surroundings.user {
            words.extend(["--user".into(), user.into()]);
        }
        let mut command = self.command(&words, program, args);
        let started = command.envs(variables).stdin(Stdio::null()).spawn();
        started.with_context(|| format!("starting {}", program.display()))
    }

    /// A command that runs through [`Tether`](super::tether::Tether) with these options.
    fn command(
        &self,
        words: &[impl AsRef<OsStr>],
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new(&self.weir);
        command
            .arg(SUBCOMMAND)
            .args(["--parent", &std::process::id().to_string()])
            .args(words)
            .arg("--")
            .arg(program)
            .args(args)
            .envs(self.mark.as_ref().map(|mark| (MARK, mark)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Where and as which user a child runs, if not as this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Working directory.
    pub directory: Option<&'a Path>,
    /// User to run as, with its groups. Requires root.
    pub user: Option<&'a str>,
}

/// Runs a future on one thread, then ends everything it has started.
pub fn run<T>(all: impl Future<Output = Result<T>>) -> Result<T> {
    adopt_orphans()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let result = runtime.block_on(LocalSet::new().run_until(all));
    // An interrupted build is still waiting for its compilers, which end in the next line.
    runtime.shutdown_background();
    stop_descendants();
    result
}

/// Makes orphaned descendants children of this process, so that [`stop_descendants`] finds them.
pub fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(rustix::process::getpid()))
        .context("becoming the parent of orphaned descendants")
}

/// Kills all descendants, such as a build's compilers, and waits for them. After two seconds it gives up on processes that the
/// kernel does not let die.
pub fn stop_descendants() {
    let give_up = Instant::now() + Duration::from_secs(2);
    loop {
        let children = children_of(std::process::id() as i32);
        if children.is_empty() || Instant::now() > give_up {
            return;
        }
        for pid in children {
            let _ = kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills all descendants of [`Launcher::marking`] launchers with this directory, and returns their number.
pub fn end_marked(directory: &Path) -> usize {
    let mut mark = OsString::from(MARK);
    mark.push("=");
    mark.push(directory);
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let marked: Vec<_> = processes().filter(is_marked).filter_map(Pid::from_raw).collect();
    // Processes that have just ended by themselves count too.
    marked.iter().filter(|pid| kill_process(**pid, Signal::KILL).is_ok()).count()
}

fn children_of(parent: i32) -> Vec<Pid> {
    processes().filter(|pid| parent_of(*pid) == Some(parent)).filter_map(Pid::from_raw).collect()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state ppid …`, where the name may contain anything, even parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getppid;

    #[test]
    fn finds_the_parent() {
        let own = std::process::id() as i32;
        assert_eq!(parent_of(own), getppid().map(|p| p.as_raw_nonzero().get()));
        assert_eq!(parent_of(-1), None);
    }
}
