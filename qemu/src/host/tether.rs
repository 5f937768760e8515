//! The child's side of [`super::child`]: `weir tethered` becomes a command that dies with its parent.

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal as Blocked};
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid, umask};
use std::ffi::{CString, OsString};
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "tethered";

/// Placeholder in arguments for the number of a passed descriptor.
pub const SOCKET: &str = "{weir-socket}";

/// The command to become, and its surroundings.
#[derive(Args, Debug)]
pub struct Tether {
    /// Process ID of the parent to die with.
    #[arg(long)]
    parent: i32,
    /// Block SIGINT, SIGTERM and SIGHUP.
    #[arg(long)]
    shielded: bool,
    /// Umask [default: the parent's]
    #[arg(long)]
    umask: Option<u32>,
    /// Standard input is a socket to pass on as a descriptor whose number replaces [`SOCKET`].
    #[arg(long)]
    socket: bool,
    /// Working directory [default: the parent's]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// User to run as, with its groups; requires root.
    #[arg(long)]
    user: Option<String>,
    /// Program and arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

impl Tether {
    /// Becomes the command. Returns only on failure.
    pub fn become_it(mut self) -> Result<()> {
        if self.socket {
            let number = hand_over_stdin().context("passing a socket on")?.to_string();
            for word in &mut self.command {
                if let Some(text) = word.to_str().filter(|text| text.contains(SOCKET)) {
                    *word = text.replace(SOCKET, &number).into();
                }
            }
        }
        let [program, args @ ..] = &self.command[..] else { bail!("no command") };
        let mut command = Command::new(program);
        if let Some(user) = &self.user {
            become_user(user, &mut command).with_context(|| format!("becoming user {user:?}"))?;
        }
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory).with_context(|| format!("{}", directory.display()))?;
        }
        setsid().context("creating a session")?;
        if self.shielded {
            // Signals blocked here stay blocked in the program, which at most installs handlers.
            let signals = SigSet::from_iter([Blocked::SIGINT, Blocked::SIGTERM, Blocked::SIGHUP]);
            signals.thread_block().context("blocking signals")?;
        }
        if let Some(bits) = self.umask {
            umask(Mode::from_raw_mode(bits));
        }
        // Only now: the kernel clears it when a process changes its user.
        set_parent_process_death_signal(Some(Signal::KILL)).context("tying a process to its parent")?;
        // The parent may have died before that call.
        if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != self.parent) {
            bail!("the supervisor is gone");
        }
        let error = command.args(args).exec();
        Err(error).with_context(|| format!("starting {}", program.display()))
    }
}

/// Switches this process to another user with that user's groups, and sets the home directory for `command`.
fn become_user(name: &str, command: &mut Command) -> Result<()> {
    let user = User::from_name(name)?.context("no such user on this machine")?;
    command.env("HOME", &user.dir).env("USER", name).env("LOGNAME", name);
    if user.uid == geteuid() {
        return Ok(());
    }
    initgroups(&CString::new(name)?, user.gid).context("setting its groups")?;
    setgid(user.gid).context("setting its group")?;
    setuid(user.uid)?;
    Ok(())
}

/// Duplicates standard input to a descriptor that stays open across `exec`, and returns its number.
fn hand_over_stdin() -> Result<i32> {
    let socket = rustix::io::dup(rustix::stdio::stdin())?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket.into_raw_fd())
}
