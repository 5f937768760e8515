//! `[[pool.worker]]` with `kind = "process"`: command, directory, environment and user.

use super::error::{Fault, Faults};
use super::raw;
use crate::toolchain::in_path;
use nix::unistd::{AccessFlags, User, access};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Environment variable that the supervisor sets for the processes it starts.
const RESERVED: &str = "WEIR_SUPERVISOR";

/// A command that the supervisor runs and relays to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; `{socket}` or `{port}` is replaced by where it must listen.
    pub command: Vec<String>,
    /// Which of the two it listens on.
    pub listens_on: ListensOn,
    /// Working directory.
    pub directory: PathBuf,
    /// Additional environment variables; `{socket}` and `{port}` are replaced.
    pub environment: Environment,
    /// User to run as; `None`: the supervisor's own user.
    pub user: Option<String>,
}

/// Environment variables. No output shows their values, which may be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub Vec<(String, String)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What kind of address a process listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListensOn {
    /// A Unix socket: `{socket}` in its arguments, `WEIR_SOCKET` in its environment.
    Socket,
    /// A TCP port of 127.0.0.1: `{port}` in its arguments, `PORT` in its environment.
    Port,
}

impl ListensOn {
    /// The environment variable with the address.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Socket => "WEIR_SOCKET",
            Self::Port => "PORT",
        }
    }
}

/// Parses a process worker; `None` after an error in its command.
pub(super) fn process(worker: &raw::Worker, dir: &Path, faults: &Faults) -> Option<Process> {
    let words = worker.command.as_ref().map_or(&[][..], |command| command.get_ref());
    let at = worker.command.as_ref().map_or(Faults::REPORTED, |command| command.span().start);
    if words.iter().any(|word| word.contains('\0')) {
        faults.error(at, "NUL in a command, expected none");
    }
    let program = worker.command.as_ref().and_then(|command| faults.ok(program(command, dir)));
    let environment = worker.environment.as_ref().map(Spanned::get_ref);
    let values = || environment.into_iter().flat_map(|all| all.values().map(Spanned::get_ref));
    let says = |place: &str| words.iter().chain(values()).any(|text| text.contains(place));
    let listens_on = match (says("{socket}"), says("{port}")) {
        (true, true) => {
            faults.error(at, "both {socket} and {port}, expected one of them");
            ListensOn::Socket
        }
        (true, false) => ListensOn::Socket,
        // A shell command such as `sh -c 'exec app --listen "$WEIR_SOCKET"'`.
        (false, false) if words.iter().any(|word| word.contains("WEIR_SOCKET")) => ListensOn::Socket,
        // The default as well: most servers read PORT by themselves.
        (false, _) => ListensOn::Port,
    };
    let mut variables = Vec::new();
    for (name, value) in environment.into_iter().flatten() {
        match variable(name.get_ref(), value.get_ref(), listens_on) {
            Ok(()) => variables.push((name.get_ref().clone(), value.get_ref().clone())),
            Err(what) => faults.error(name.span().start, what),
        }
    }
    let directory = match &worker.directory {
        None => dir.to_owned(),
        Some(written) => faults.value(directory(written, dir)),
    };
    let user = worker.user.as_ref().and_then(|written| faults.ok(user(written)));
    let command = std::iter::once(program?).chain(words.iter().skip(1).cloned()).collect();
    Some(Process { command, listens_on, directory, environment: Environment(variables), user })
}

fn variable(name: &str, value: &str, listens_on: ListensOn) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("not a variable name, expected one without `=`".into());
    }
    if value.contains('\0') {
        return Err(format!("NUL in variable {name:?}, expected none"));
    }
    match name == RESERVED || name == listens_on.variable() {
        true => Err(format!("variable {name:?} is set by weir, expected another")),
        false => Ok(()),
    }
}

fn directory(written: &Spanned<String>, dir: &Path) -> Result<PathBuf, Fault> {
    let path = dir.join(written.get_ref());
    match path.is_dir() {
        true => Ok(path),
        false => Err((written.span().start, format!("{}: not found, expected a directory", path.display()))),
    }
}

fn user(written: &Spanned<String>) -> Result<String, Fault> {
    let name = written.get_ref();
    let wrong = |what: String| (written.span().start, what);
    match User::from_name(name) {
        Ok(Some(_)) => Ok(name.clone()),
        Ok(None) => Err(wrong(format!("user {name:?} is unknown, expected a user of this machine"))),
        Err(error) => Err(wrong(format!("user {name:?}: {error}, expected a user of this machine"))),
    }
}

/// Path of an executable: as written if it contains `/`, otherwise searched in `PATH`.
fn program(command: &Spanned<Vec<String>>, dir: &Path) -> Result<String, Fault> {
    let wrong = |what: String| (command.span().start, what);
    let Some(program) = command.get_ref().first().filter(|program| !program.is_empty()) else {
        return Err(wrong("empty command, expected a program and its arguments".into()));
    };
    let found = match program.contains('/') {
        true => Some(dir.join(program)).filter(|path| path.is_file()),
        false => in_path(program),
    };
    let missing = || wrong(format!("{program}: not found, expected a program, its path or one of PATH"));
    let found = found.ok_or_else(missing)?;
    if access(&found, AccessFlags::X_OK).is_err() {
        return Err(wrong(format!("{}: not executable, expected a program: chmod +x", found.display())));
    }
    found.to_str().map(str::to_owned).ok_or_else(|| wrong("a path that is not UTF-8, expected UTF-8".into()))
}
