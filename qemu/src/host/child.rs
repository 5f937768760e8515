//! Child processes that cannot outlive us.
//!
//! Each child is started through this very program (`weir tethered --parent PID -- COMMAND…`), which asks the kernel to
//! kill it when its parent dies (`PR_SET_PDEATHSIG`) and then becomes the command: the signal survives `exec`, and no
//! code has to run between `fork` and `exec`. So even a SIGKILL leaves no child behind. What children of children it
//! leaves, whoever takes over finds by a mark in their environment ([`Launcher::marking`], [`end_marked`]).

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};
use rustix::process::{
    Pid, Signal, getppid, kill_process, set_child_subreaper, set_parent_process_death_signal,
};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::LocalSet;

/// The hidden subcommand that [`become_tethered`] serves.
pub const SUBCOMMAND: &str = "tethered";

/// The environment variable that says whose a process is.
const MARK: &str = "WEIR_SUPERVISOR";

/// Starts children.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The `weir` program.
    weir: PathBuf,
    /// Value of [`MARK`] in the environment of what it starts.
    mark: Option<PathBuf>,
}

impl Launcher {
    /// A launcher that goes through the running program, which must be `weir`.
    pub fn new() -> Result<Self> {
        Ok(Self { weir: std::env::current_exe().context("finding the running program")?, mark: None })
    }

    /// A launcher that goes through another `weir` program.
    pub fn through(weir: &Path) -> Self {
        Self { weir: weir.to_owned(), mark: None }
    }

    /// The same launcher, but everything it starts can be found by this directory.
    pub fn marking(self, directory: &Path) -> Self {
        Self { mark: Some(directory.to_owned()), ..self }
    }

    /// Starts a program with its outputs piped to us. Must be called on the thread that lives as long as the
    /// process: the kernel means the parent *thread* when it speaks of a parent's death.
    pub fn spawn(&self, program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Child> {
        self.spawn_in(program, args, [], Surroundings::default())
    }

    /// As [`Launcher::spawn`], with these variables in the child's environment besides our own, and in other surroundings.
    pub fn spawn_in(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: impl IntoIterator<Item = (String, String)>,
        surroundings: Surroundings<'_>,
    ) -> Result<Child> {
        let mut command = Command::new(&self.weir);
        command.arg(SUBCOMMAND).args(["--parent", &std::process::id().to_string()]);
        if let Some(directory) = surroundings.directory {
            command.arg("--directory").arg(directory);
        }
        if let Some(user) = surroundings.user {
            command.args(["--user", user]);
        }
        command
            .arg("--")
            .arg(program)
            .args(args)
            .envs(variables)
            .envs(self.mark.as_ref().map(|mark| (MARK, mark)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))
    }
}

/// Where and as whom a child runs, if not as we do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Its directory.
    pub directory: Option<&'a Path>,
    /// The user whose user, group and supplementary groups it has. Takes root.
    pub user: Option<&'a str>,
}

/// The child's side: returns only if something is wrong.
pub fn become_tethered(parent: i32, surroundings: Surroundings<'_>, command: &[OsString]) -> Result<()> {
    let [program, args @ ..] = command else { bail!("no command") };
    let mut command = std::process::Command::new(program);
    if let Some(user) = surroundings.user {
        become_user(user, &mut command).with_context(|| format!("becoming user {user:?}"))?;
    }
    if let Some(directory) = surroundings.directory {
        std::env::set_current_dir(directory).with_context(|| format!("{}", directory.display()))?;
    }
    // Not before: the kernel forgets it when a process becomes another user's.
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying a process to its parent")?;
    // The parent may have died before the line above.
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != parent) {
        bail!("the supervisor is gone");
    }
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

/// Has this process run as another user from now on, with that user's groups alone, and `command` find its home.
fn become_user(name: &str, command: &mut std::process::Command) -> Result<()> {
    let user = User::from_name(name)?.context("no such user on this machine")?;
    command.env("HOME", &user.dir).env("USER", name).env("LOGNAME", name);
    if user.uid == geteuid() {
        return Ok(());
    }
    initgroups(&CString::new(name)?, user.gid).context("its groups")?;
    setgid(user.gid).context("its group")?;
    setuid(user.uid)?;
    Ok(())
}

/// Runs a future on one thread, and takes down whatever is left of what it has started.
pub fn run<T>(all: impl Future<Output = Result<T>>) -> Result<T> {
    adopt_orphans()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let result = runtime.block_on(LocalSet::new().run_until(all));
    // A build that was interrupted still waits for its compilers, which end in the next line.
    runtime.shutdown_background();
    stop_descendants();
    result
}

/// From now on descendants whose parents die become our children, so that [`stop_descendants`] finds all of them.
pub fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(rustix::process::getpid()))
        .context("becoming the parent of orphaned descendants")
}

/// Kills every descendant and waits until none is left: a build's compilers, whatever a tool left running. Gives up after
/// two seconds on processes that the kernel does not let die.
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

/// Kills everything that a [`Launcher::marking`] this directory has started, at any remove; says how many that were.
pub fn end_marked(directory: &Path) -> usize {
    let mut mark = OsString::from(MARK);
    mark.push("=");
    mark.push(directory);
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let marked: Vec<_> = processes().filter(is_marked).filter_map(Pid::from_raw).collect();
    // One that has just ended by itself is as well.
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
    // `pid (name) state ppid …`, where the name may hold anything, parentheses included.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_parent() {
        let own = std::process::id() as i32;
        assert_eq!(parent_of(own), getppid().map(|p| p.as_raw_nonzero().get()));
        assert_eq!(parent_of(-1), None);
    }
}
