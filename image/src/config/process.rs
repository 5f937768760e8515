//! `[[pool.worker]]` with `kind = "process"`: a command, where it runs, as whom, and what it is told.

use super::error::{Faults, Wrong};
use super::raw;
use crate::toolchain::in_path;
use nix::unistd::{AccessFlags, User, access};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Set by the supervisor for what it starts.
const RESERVED: &str = "WEIR_SUPERVISOR";

/// A command that the supervisor runs and relays to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The program and its arguments, with `{socket}` or `{port}` where it is told to listen.
    pub command: Vec<String>,
    /// Which of the two it is.
    pub listens_on: ListensOn,
    /// Where it runs.
    pub directory: PathBuf,
    /// What its environment has besides the supervisor's own; `{socket}` and `{port}` stand for the same.
    pub environment: Environment,
    /// The user as whom it runs; the supervisor's own if there is none.
    pub user: Option<String>,
}

/// Variables of an environment. What they are set to is shown by no output: there may be passwords among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub Vec<(String, String)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a process is told to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListensOn {
    /// A Unix socket: `{socket}` in its arguments, `WEIR_SOCKET` in its environment.
    Socket,
    /// A TCP port of 127.0.0.1: `{port}` in its arguments, `PORT` in its environment.
    Port,
}

impl ListensOn {
    /// The environment variable that says where.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Socket => "WEIR_SOCKET",
            Self::Port => "PORT",
        }
    }
}

/// `None` without a command that can be run.
pub(super) fn process(worker: &raw::Worker, dir: &Path, faults: &Faults) -> Option<Process> {
    let words = worker.command.as_ref().map_or(&[][..], |command| command.get_ref());
    let at = worker.command.as_ref().map_or(Faults::TOLD, |command| command.span().start);
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
        // A shell is told so, as in `sh -c 'exec app --listen "$WEIR_SOCKET"'`.
        (false, false) if words.iter().any(|word| word.contains("WEIR_SOCKET")) => ListensOn::Socket,
        // Also where nothing is said: PORT is what most servers look at by themselves.
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
        return Err("not a name of a variable, expected one without `=`".into());
    }
    if value.contains('\0') {
        return Err(format!("NUL in variable {name:?}, expected none"));
    }
    match name == RESERVED || name == listens_on.variable() {
        true => Err(format!("variable {name:?} is set by weir, expected another")),
        false => Ok(()),
    }
}

fn directory(written: &Spanned<String>, dir: &Path) -> Result<PathBuf, Wrong> {
    let path = dir.join(written.get_ref());
    match path.is_dir() {
        true => Ok(path),
        false => Err((written.span().start, format!("{}: not found, expected a directory", path.display()))),
    }
}

fn user(written: &Spanned<String>) -> Result<String, Wrong> {
    let name = written.get_ref();
    let wrong = |what: String| (written.span().start, what);
    match User::from_name(name) {
        Ok(Some(_)) => Ok(name.clone()),
        Ok(None) => Err(wrong(format!("user {name:?}, expected one that this machine knows"))),
        Err(error) => Err(wrong(format!("user {name:?}: {error}, expected to find it"))),
    }
}

/// The path of a program that can be run: as written if it has a `/`, else the first of `PATH`.
fn program(command: &Spanned<Vec<String>>, dir: &Path) -> Result<String, Wrong> {
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
