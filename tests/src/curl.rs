//! Running the real `curl`.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// The slowest transfer, 200 MB through every buffer, takes a tenth of this.
const MAX_SECONDS: u32 = 300;

/// Result of a curl run.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error: with `-v`, the heads of requests and responses.
    pub stderr: String,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The value of a response's field in a verbose run (`< Name: value`).
    pub fn field(&self, name: &str) -> Option<String> {
        self.stderr.lines().find_map(|line| {
            let (n, value) = line.strip_prefix("< ")?.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Runs `curl -sS` with a time limit that only a failure reaches ([`crate::PATIENCE`] and more, for large files). Any exit status
/// but 0 is an error.
pub fn curl(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", &MAX_SECONDS.to_string(), "--noproxy", "*"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("starting curl")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("curl ended with {}: {}", output.status, stderr.trim());
    }
    Ok(Output { stdout: output.stdout, stderr })
}
