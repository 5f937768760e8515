//! Running `wrk`.

use crate::load::PINNED_CPU;
use anyhow::{Context, Result, ensure};
use std::process::Command;
use weir_tests::net::GUEST;

/// Seconds that `wrk` may take beyond its measurement.
const PATIENCE_S: u32 = 20;

/// A `wrk` run with one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrk {
    pub(crate) path: &'static str,
    /// Host field, if not the address.
    pub(crate) host: Option<&'static str>,
    pub(crate) connections: u32,
    /// Use a new connection for each request.
    pub(crate) close: bool,
    /// Run on [`PINNED_CPU`].
    pub(crate) pinned: bool,
    pub(crate) seconds: u32,
}

/// Results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Responses per second.
    pub(crate) per_second: f64,
    /// Bytes per second of whole responses, including heads.
    pub(crate) bytes_per_second: f64,
    /// 99th percentile of response times in milliseconds.
    pub(crate) p99_ms: f64,
}

impl Wrk {
    pub(crate) fn run(self) -> Result<Figures> {
        // It waits for its first connection without a limit.
        let mut command = Command::new("timeout");
        command.arg((self.seconds + PATIENCE_S).to_string());
        if self.pinned {
            command.args(["taskset", "-c", &PINNED_CPU.to_string()]);
        }
        command.arg("wrk");
        let (connections, seconds) = (format!("-c{}", self.connections), format!("-d{}s", self.seconds));
        command.args(["-t1", &connections, &seconds, "--latency", "--timeout", "10s"]);
        if self.close {
            command.args(["-H", "Connection: close"]);
        }
        if let Some(host) = self.host {
            command.args(["-H", &format!("Host: {host}")]);
        }
        let path = self.path;
        let output = command.arg(format!("http://{GUEST}{path}")).output().context("starting wrk")?;
        let report = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wrk: {}: {why}", output.status);
        let after =
            |mark: &str| report.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
        if let Some(errors) = after("Non-2xx or 3xx responses:").or(after("Socket errors:")) {
            eprintln!("[wrk] {path}: errors: {errors}");
        }
        Ok(Figures {
            per_second: after("Requests/sec:").and_then(|n| n.parse().ok()).context("no Requests/sec")?,
            bytes_per_second: after("Transfer/sec:").and_then(bytes).context("no Transfer/sec")?,
            p99_ms: after("99%").and_then(milliseconds).context("no 99%")?,
        })
    }
}

/// Parses a number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic())?);
    Some((number.parse().ok()?, unit))
}

/// Parses times of wrk: `312.00us`, `1.20ms`, `2.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        _ => return None,
    };
    Some(number * factor)
}

/// Parses sizes of wrk, whose units are powers of 1024: `812.00B`, `1.20KB`, `2.01MB`.
fn bytes(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let power = ["B", "KB", "MB", "GB"].iter().position(|name| *name == unit)?;
    Some(number * 1024_f64.powi(i32::try_from(power).ok()?))
}
