//! Child processes that cannot outlive us.
//!
//! Each child is started through this very program (`weir tethered --parent PID -- COMMAND…`), which asks the kernel to
//! kill it when its parent dies (`PR_SET_PDEATHSIG`) and then becomes the command: the signal survives `exec`, and no
//! code has to run between `fork` and `exec`. So even a SIGKILL leaves nothing behind.

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Signal, getppid, kill_process, set_child_subreaper, set_parent_process_death_signal,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The hidden subcommand that [`become_tethered`] serves.
pub const SUBCOMMAND: &str = "tethered";

/// Starts children.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The `weir` program.
    weir: PathBuf,
}

impl Launcher {
    /// A launcher that goes through the running program, which must be `weir`.
    pub fn new() -> Result<Self> {
        Ok(Self { weir: std::env::current_exe().context("finding the running program")? })
    }

    /// A launcher that goes through another `weir` program.
    pub fn through(weir: &Path) -> Self {
        Self { weir: weir.to_owned() }
    }

    /// Starts a program with its outputs piped to us. Must be called on the thread that lives as long as the
    /// process: the kernel means the parent *thread* when it speaks of a parent's death.
    pub fn spawn(&self, program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Child> {
        self.spawn_with(program, args, [])
    }

    /// As [`Launcher::spawn`], with these variables in the child's environment.
    pub fn spawn_with<const N: usize>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: [(&str, &str); N],
    ) -> Result<Child> {
        Command::new(&self.weir)
            .arg(SUBCOMMAND)
            .args(["--parent", &std::process::id().to_string(), "--"])
            .arg(program)
            .args(args)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))
    }
}

/// The child's side: returns only if something is wrong.
pub fn become_tethered(parent: i32, command: &[OsString]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying a process to its parent")?;
    // The parent may have died before the line above.
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != parent) {
        bail!("the supervisor is gone");
    }
    let [program, args @ ..] = command else { bail!("no command") };
    let error = std::process::Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
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

fn children_of(parent: i32) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .filter_map(Pid::from_raw)
        .collect()
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
