//! An appliance with a configuration of the test's own, most often a pool.

use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::raw::Connection;
use weir_tests::weir::{Weir, program};
use weir_tests::{free_port, pattern, workspace};

const PATIENCE: Duration = Duration::from_secs(30);
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
        let directory = TempDir::new()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("www"))?;
        std::fs::write(path("www/index.html"), "static\n")?;
        let config = format!("{SITE}{}", pool(directory.path()));
        Self::boot(directory, &config)
    }

    /// Boots what this configuration says; the directory is where its relative paths begin.
    pub(crate) fn boot(directory: TempDir, config: &str) -> Result<Self> {
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("weir.toml"), config)?;
        let port = free_port()?.to_string();
        let (config, control) = (path("weir.toml"), path("control"));
        let arguments = [config.as_os_str(), "--http-port".as_ref(), port.as_ref(), "--control".as_ref()];
        let mut weir = Weir::start(arguments.into_iter().chain([control.as_os_str()]))?;
        let at = weir.ready(START)?;
        Ok(Self { weir, at, directory })
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let control = self.directory.path().join("control");
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

/// As [`processes`], with further arguments.
pub(crate) fn processes_with(directory: &Path, keys: &str, instances: u32, arguments: &[&str]) -> String {
    let more: String = arguments.iter().map(|argument| format!(", {argument:?}")).collect();
    let worker = workspace().join("tests/e2e/worker.py");
    let (pattern_file, log) = (directory.join("pattern"), directory.join("log"));
    std::fs::write(&pattern_file, pattern(1 << 20)).unwrap_or_default();
    format!(
        "{keys}[[pool.worker]]\nkind = \"process\"\ninstances = {instances}\n\
         command = [\"python3\", {worker:?}, \"{{port}}\", {pattern_file:?}, {log:?}{more}]\n"
    )
}

pub(crate) fn vms(keys: &str, instances: u32) -> String {
    format!(
        "{keys}[[pool.worker]]\nkind = \"vm\"\nimage = \"worker\"\nmemory = \"32M\"\ninstances = {instances}\n"
    )
}
