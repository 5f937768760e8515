//! An appliance with a configuration of the test's own, usually with a pool.

use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use weir_tests::raw::Connection;
use weir_tests::weir::{Weir, command, program};
use weir_tests::{PATIENCE, free_port, pattern, workspace};

const SITE: &str = "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n\
    [[site.prefix]]\nurl = \"http://*:80/api/\"\npool = \"app\"\n[[pool]]\nname = \"app\"\n";

/// A running appliance.
pub(crate) struct Bench {
    pub(crate) weir: Weir,
    pub(crate) at: SocketAddr,
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) fn start(pool: impl Fn(&Path) -> String) -> Result<Self> {
        let directory = Self::directory()?;
        let config = format!("{SITE}{}", pool(directory.path()));
        Self::boot(directory, &config)
    }

    fn directory() -> Result<TempDir> {
        let directory = TempDir::new()?;
        std::fs::create_dir(directory.path().join("www"))?;
        std::fs::write(directory.path().join("www/index.html"), "static\n")?;
        Ok(directory)
    }

    /// The same without a supervisor, which [`Bench::supervise`] starts.
    pub(crate) fn apart(pool: impl Fn(&Path) -> String) -> Result<Self> {
        let directory = Self::directory()?;
        let (config, run) = (format!("{SITE}{}", pool(directory.path())), directory.path().join("run"));
        let more = ["--no-supervisor".as_ref(), "--runtime-dir".as_ref(), run.as_os_str()];
        Self::boot_with(directory, &config, &more)
    }

    /// Starts a supervisor for an appliance without one, and waits for its minimum of workers.
    pub(crate) fn supervise(&self) -> Result<Weir> {
        let path = |name: &str| self.directory.path().join(name);
        let mut command = command(program());
        command.arg("supervise").arg(path("weir.toml")).arg("--runtime-dir").arg(path("run"));
        let supervisor = Weir::start_command(command.arg("--control").arg(path("supervisor")))?;
        ensure!(supervisor.line(START)? == "ready");
        Ok(supervisor)
    }

    /// Boots with this configuration; relative paths start at the directory.
    pub(crate) fn boot(directory: TempDir, config: &str) -> Result<Self> {
        Self::boot_with(directory, config, &[])
    }

    fn boot_with(directory: TempDir, config: &str, more: &[&OsStr]) -> Result<Self> {
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("weir.toml"), config)?;
        let port = free_port()?.to_string();
        let (config, control) = (path("weir.toml"), path("control"));
        let arguments = [config.as_os_str(), "--http-port".as_ref(), port.as_ref(), "--control".as_ref()];
        let arguments = arguments.into_iter().chain([control.as_os_str()]).chain(more.iter().copied());
        let mut weir = Weir::start(arguments)?;
        let at = weir.ready(START)?;
        Ok(Self { weir, at, directory })
    }

    /// Runs `weir ctl` on the socket of `weir up`.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String> {
        self.ctl_at("control", arguments)
    }

    /// Runs `weir ctl` on a socket: `control`, or `supervisor` for a separate supervisor.
    pub(crate) fn ctl_at(&self, socket: &str, arguments: &[&str]) -> Result<String> {
        let control = self.directory.path().join(socket);
        let output =
            Command::new(program()).args(["ctl", "--control"]).arg(control).args(arguments).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// A counter of the appliance.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let metrics = self.ctl(&["metrics"])?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("no {name} in {metrics}"))?.parse().context("a number")
    }

    pub(crate) fn get(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        get(&mut Connection::open(self.at, PATIENCE)?, path)
    }
}

pub(crate) fn get(connection: &mut Connection, path: &str) -> Result<(u16, Vec<u8>)> {
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
    let response = connection.response()?.context("the connection ended without a response")?;
    Ok((response.status, response.content))
}

pub(crate) fn processes(directory: &Path, keys: &str, instances: u32) -> String {
    processes_with(directory, keys, instances, &[])
}

/// Like [`processes`], with additional arguments.
pub(crate) fn processes_with(directory: &Path, keys: &str, instances: u32, arguments: &[&str]) -> String {
    let more: String = arguments.iter().map(|argument| format!(", {argument:?}")).collect();
    let [python, worker, port, pattern, log] = python(directory);
    format!(
        "{keys}[[pool.worker]]\nkind = \"process\"\ninstances = {instances}\n\
         command = [{python:?}, {worker:?}, {port:?}, {pattern:?}, {log:?}{more}]\n"
    )
}

/// A process worker with this shell command line, in which `$worker` starts it.
pub(crate) fn shell(directory: &Path, keys: &str, line: &str) -> String {
    let line = line.replace("$worker", &python(directory).join(" "));
    format!("{keys}[[pool.worker]]\nkind = \"process\"\ncommand = [\"sh\", \"-c\", {line:?}]\n")
}

/// The command that starts `worker.py`.
fn python(directory: &Path) -> [String; 5] {
    let worker = workspace().join("tests/e2e/worker.py");
    let (pattern_file, log) = (directory.join("pattern"), directory.join("log"));
    std::fs::write(&pattern_file, pattern(1 << 20)).unwrap_or_default();
    let text = |path: &Path| path.display().to_string();
    ["python3".into(), text(&worker), "{port}".into(), text(&pattern_file), text(&log)]
}

pub(crate) fn vms(keys: &str, instances: u32) -> String {
    format!(
        "{keys}[[pool.worker]]\nkind = \"vm\"\nimage = \"worker\"\nmemory = \"32M\"\ninstances = {instances}\n"
    )
}
