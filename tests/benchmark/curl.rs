//! Runs `curl` until dropped.

use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};
use weir_tests::net::GUEST;

/// A running `curl`. Dropping it kills it.
pub(crate) struct Curl(Child);

impl Curl {
    /// A silent `curl` that uses this many connections at once, and resolves `host`.
    pub(crate) fn command(host: &str, port: u16, connections: u32) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-g", "-Z", "--parallel-immediate", "--noproxy", "*", "--max-time", "60"])
            .args(["--parallel-max", &connections.to_string()])
            .args(["--resolve", &format!("{host}:{port}:{GUEST}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        curl
    }

    /// Starts a prepared command.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().context("starting curl")?))
    }

    /// Its standard output, if piped and not taken before.
    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
