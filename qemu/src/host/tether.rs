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

/// The hidden subcommand that a [`Tether`] is the command line of.
pub const SUBCOMMAND: &str = "tethered";

/// Stands in an argument for the number of a descriptor that is handed over.
pub const SOCKET: &str = "{weir-socket}";

/// What to become, and in which surroundings.
#[derive(Args, Debug)]
pub struct Tether {
    /// The process to die with.
    #[arg(long)]
    parent: i32,
    /// Takes no notice of SIGINT, SIGTERM and SIGHUP.
    #[arg(long)]
    shielded: bool,
    /// Its umask; the parent's if left out.
    #[arg(long)]
    umask: Option<u32>,
    /// Standard input is a socket, and to be handed over as a descriptor whose number is said in place of [`SOCKET`].
    #[arg(long)]
    socket: bool,
    /// Its directory; the parent's if left out.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The user whose user, group and supplementary groups it has. Takes root.
    #[arg(long)]
    user: Option<String>,
    /// Program and arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

impl Tether {
    /// Returns only if something is wrong.
    pub fn become_it(mut self) -> Result<()> {
        if self.socket {
            let number = hand_over_stdin().context("taking a socket over")?.to_string();
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
        setsid().context("a session of its own")?;
        if self.shielded {
            // What is blocked stays so in the program, which sets handlers at most.
            let signals = SigSet::from_iter([Blocked::SIGINT, Blocked::SIGTERM, Blocked::SIGHUP]);
            signals.thread_block().context("blocking signals")?;
        }
        if let Some(bits) = self.umask {
            umask(Mode::from_raw_mode(bits));
        }
        // Not before: the kernel forgets it when a process becomes another user's.
        set_parent_process_death_signal(Some(Signal::KILL)).context("tying a process to its parent")?;
        // The parent may have died before the line above.
        if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != self.parent) {
            bail!("the supervisor is gone");
        }
        let error = command.args(args).exec();
        Err(error).with_context(|| format!("starting {}", program.display()))
    }
}

/// Has this process run as another user from now on, with that user's groups alone, and `command` find its home.
fn become_user(name: &str, command: &mut Command) -> Result<()> {
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

/// Makes standard input another descriptor, which `exec` keeps open, and returns its number.
fn hand_over_stdin() -> Result<i32> {
    let socket = rustix::io::dup(rustix::stdio::stdin())?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket.into_raw_fd())
}
