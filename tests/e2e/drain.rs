//! The end of a `weir up` that is asked to go while requests are under way.

use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_tests::curl::curl;
use weir_tests::process::survivors;
use weir_tests::raw::Connection;
use weir_tests::weir::{Weir, program};
use weir_tests::{free_port, pattern};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("drain::sigterm_lets_requests_finish", || finishes(|bench| bench.weir.signal(Signal::TERM))),
    ("drain::ctl_lets_requests_finish", || finishes(Bench::ctl_drain)),
    ("drain::a_second_signal_ends_at_once", second_signal),
    ("drain::takes_no_longer_than_its_limit", limit),
];

/// What the file takes: its length at the site's ceiling.
const DOWNLOAD: Duration = Duration::from_secs(6);
const LEN: usize = 6 * (64 << 10);

struct Bench {
    weir: Weir,
    at: SocketAddr,
    directory: TempDir,
}

impl Bench {
    fn start(server: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("www"))?;
        std::fs::write(path("www/large.bin"), pattern(LEN))?;
        std::fs::write(path("www/small.bin"), pattern(128))?;
        let config = format!(
            "[server]\n{server}[log]\ndirectory = \"logs\"\n[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\n\
             files = \"www\"\n[site.bandwidth]\nceil = \"64 KiB/s\"\nburst = \"4 KiB\"\n"
        );
        std::fs::write(path("weir.toml"), config)?;
        let port = free_port()?.to_string();
        let (config, control) = (path("weir.toml"), path("control"));
        let arguments = [config.as_os_str(), "--http-port".as_ref(), port.as_ref(), "--control".as_ref()];
        let mut weir = Weir::start(arguments.into_iter().chain([control.as_os_str()]))?;
        let at = weir.ready(START)?;
        Ok(Self { weir, at, directory })
    }

    fn got(&self) -> PathBuf {
        self.directory.path().join("got.bin")
    }

    /// Begins a download that takes a while.
    fn download(&self) -> Result<Child> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "-D"]).arg(self.directory.path().join("head")).arg("-o");
        let child = curl.arg(self.got()).arg(format!("http://{}/large.bin", self.at)).spawn()?;
        let limit = Instant::now() + START;
        while std::fs::metadata(self.got()).map_or(0, |file| file.len()) == 0 {
            ensure!(Instant::now() < limit, "no first byte");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(child)
    }

    fn ctl_drain(&self) -> Result<()> {
        let control = self.directory.path().join("control");
        let output = Command::new(program()).args(["ctl", "--control"]).arg(control).arg("drain").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn access_lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.directory.path().join("logs"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("access")) {
                lines.extend(std::fs::read_to_string(path)?.lines().map(str::to_owned));
            }
        }
        Ok(lines)
    }
}

fn finishes(end: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    let mut bench = Bench::start("")?;
    let processes = bench.weir.processes();
    let mut idle = Connection::open(bench.at, Duration::from_secs(10))?;
    idle.send("GET /small.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure!(idle.response()?.context("no response")?.content == pattern(128));
    let began = Instant::now();
    let mut download = bench.download()?;
    end(&bench)?;
    ensure!(idle.is_over()?, "the idle connection is closed");
    ensure!(began.elapsed() < DOWNLOAD / 2, "and at once, not when all is over");
    let refused = Command::new("curl")
        .args(["-sS", "--max-time", "5", &format!("http://{}/small.bin", bench.at)])
        .output()?;
    ensure!(!refused.status.success() && refused.stdout.is_empty(), "a new connection was served");
    ensure!(download.try_wait()?.is_none(), "the download is still under way: {}", bench.weir.log());
    let status = download.wait()?;
    ensure!(status.success(), "the download: {status}; {}", bench.weir.log());
    ensure!(began.elapsed() > DOWNLOAD / 2, "it took {:?}", began.elapsed());
    ensure!(std::fs::read(bench.got())? == pattern(LEN), "other bytes");
    let status = bench.weir.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "{status}: {}", bench.weir.log());
    ensure!(bench.weir.log().contains("[weir] drained in "), "{}", bench.weir.log());
    let lines = bench.access_lines()?;
    for path in ["/small.bin", "/large.bin"] {
        ensure!(lines.iter().any(|line| line.contains(path)), "no line for {path}: {lines:#?}");
    }
    let left = survivors(&processes, Duration::ZERO);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

fn second_signal() -> Result<()> {
    let mut bench = Bench::start("")?;
    let mut download = bench.download()?;
    bench.weir.signal(Signal::TERM)?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(download.try_wait()?.is_none(), "the first signal lets it go on");
    let told = Instant::now();
    bench.weir.signal(Signal::INT)?;
    ensure!(bench.weir.wait(Duration::from_secs(3))?.success(), "{}", bench.weir.log());
    ensure!(!download.wait()?.success(), "cut off");
    ensure!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    Ok(())
}

fn limit() -> Result<()> {
    let mut bench = Bench::start("shutdown_limit = 1\n")?;
    let mut download = bench.download()?;
    let told = Instant::now();
    bench.weir.signal(Signal::TERM)?;
    ensure!(bench.weir.wait(Duration::from_secs(4))?.success(), "{}", bench.weir.log());
    ensure!(told.elapsed() > Duration::from_millis(900), "{:?}", told.elapsed());
    ensure!(!download.wait()?.success(), "cut off");
    let lines = bench.access_lines()?;
    ensure!(lines.iter().any(|line| line.contains("/large.bin")), "no line for what was cut off: {lines:#?}");
    ensure!(curl(2, [format!("http://{}/", bench.at)]).is_err(), "nobody is there");
    Ok(())
}
