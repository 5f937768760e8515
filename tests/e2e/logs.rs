//! Log files on the host.

use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;
use weir_tests::curl::curl;
use weir_tests::raw::Connection;
use weir_tests::weir::Weir;
use weir_tests::{PATIENCE, free_port, pattern, wait_for, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[("logs::files_on_the_host", files_on_the_host)];

/// The demo with logs.
pub(crate) struct Logged {
    _weir: Weir,
    directory: TempDir,
    pub(crate) at: SocketAddr,
}

impl Logged {
    /// Boots it; `log`: lines of `[log]` besides the directory.
    pub(crate) fn start(log: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let demo = workspace().join("qemu/demo");
        let text = std::fs::read_to_string(demo.join("weir.toml"))?
            .replace("files = \"www\"", &format!("files = {:?}", demo.join("www")));
        let config = directory.path().join("weir.toml");
        std::fs::write(&config, format!("{text}\n[log]\ndirectory = \"logs\"\n{log}"))?;
        let port = free_port()?.to_string();
        let mut weir = Weir::start([&config.to_string_lossy(), "--http-port", &port])?;
        let at = weir.ready(START)?;
        Ok(Self { _weir: weir, directory, at })
    }

    fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// The lines of the files with this prefix.
    pub(crate) fn lines(&self, start: &str) -> Result<Vec<String>> {
        read_logs(&self.logs(), start)
    }

    /// Waits until a line of a file with this prefix contains this, and returns it.
    pub(crate) fn wait_for(&self, start: &str, text: &str) -> Result<String> {
        let missing = || format!("no line with {text:?} in {start}: {:#?}", self.lines(start));
        wait_for(missing, || Ok(self.lines(start)?.into_iter().find(|line| line.contains(text))))
    }
}

/// The lines of the files in a directory with this prefix.
pub(crate) fn read_logs(directory: &Path, start: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start)) {
            lines.extend(std::fs::read_to_string(&path)?.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

fn files_on_the_host() -> Result<()> {
    let fields = "fields = [\"date\", \"c-ip\", \"cs-method\", \"cs-uri-stem\", \"cs-uri-query\", \"sc-status\", \
                  \"sc-bytes\", \"time-taken\", \"cs(User-Agent)\", \"s-queuename\"]\n";
    let machine = Logged::start(fields)?;
    let url = |path: &str| format!("http://{}{path}", machine.at);
    ensure!(curl([url("/128?first")])?.stdout == pattern(128));
    let asked = Instant::now();
    ensure!(curl(["-A", "evil\tagent x", &url("/api/sleep/300?second")])?.text().contains("300"));
    let mut refused = Connection::open(machine.at, PATIENCE)?;
    refused.send("GET /third HTTP/1.1\r\nHost : a\r\n\r\n")?;
    ensure!(refused.response()?.context("no response")?.status == 400);
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let first = words(&machine.wait_for("access-", " first ")?);
    ensure!(first.len() == 10 && first[2..6] == ["GET", "/128", "first", "200"], "{first:?}");
    ensure!(first[6].parse::<u64>()? > 128 && first[9] == "-", "{first:?}");
    let second = words(&machine.wait_for("access-", " second ")?);
    let taken: u64 = second[7].parse()?;
    // The line was written after everything it records; the appliance's clock is not this one.
    let until_seen = u64::try_from(asked.elapsed().as_millis())?;
    ensure!(
        (300..=until_seen + 1000).contains(&taken) && second[8] == "evil+agent+x" && second[9] == "app",
        "{second:?}"
    );
    ensure!(words(&machine.wait_for("access-", " /third ")?)[5] == "400");
    let error = machine.wait_for("httperr-", " Header ")?;
    ensure!(error.contains(" GET /third 400 - Header -"), "{error}");
    let lines = machine.lines("access-")?;
    ensure!(
        lines[0].starts_with("#Software: Weir ") && lines[3].starts_with("#Fields: date c-ip"),
        "{lines:#?}"
    );
    ensure!(lines[4..].iter().all(|line| !line.starts_with('#')), "{lines:#?}");
    Ok(())
}
