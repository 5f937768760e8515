//! Shutdown of `weir up` while requests are in progress.

use crate::bench::Bench;
use crate::logs::read_logs;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_tests::curl::curl;
use weir_tests::process::survivors;
use weir_tests::raw::Connection;
use weir_tests::{PATIENCE, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("drain::sigterm_lets_requests_finish", || finishes(|bench| bench.weir.signal(Signal::TERM))),
    ("drain::ctl_lets_requests_finish", || finishes(|bench| bench.ctl(&["drain"]).map(drop))),
    ("drain::a_second_signal_ends_at_once", second_signal),
    ("drain::takes_no_longer_than_its_limit", limit),
];

/// Content that takes minutes at the site's ceiling, which a test removes once it has seen what it needs.
const LEN: usize = 6 * (64 << 10);
/// More time than a test needs to get there.
const LONG: &str = "shutdown_limit = 300\n";

/// A slow site; `server`: lines of `[server]`.
fn start(server: &str) -> Result<Bench> {
    let directory = TempDir::new()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("www"))?;
    std::fs::write(path("www/large.bin"), pattern(LEN))?;
    std::fs::write(path("www/small.bin"), pattern(128))?;
    let config = format!(
        "[server]\n{server}[log]\ndirectory = \"logs\"\n[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\n\
         files = \"www\"\n[site.bandwidth]\nceil = \"2 KiB/s\"\nburst = \"4 KiB\"\n"
    );
    Bench::boot(directory, &config)
}

fn got(bench: &Bench) -> PathBuf {
    bench.directory.path().join("got.bin")
}

/// Starts a download that takes a while.
fn download(bench: &Bench) -> Result<Child> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "300", "-D"]).arg(bench.directory.path().join("head")).arg("-o");
    let child = curl.arg(got(bench)).arg(format!("http://{}/large.bin", bench.at)).spawn()?;
    let begun = || Ok(std::fs::metadata(got(bench)).is_ok_and(|file| file.len() > 0).then_some(()));
    wait_for(|| "no first byte".into(), begun)?;
    Ok(child)
}

fn access_lines(bench: &Bench) -> Result<Vec<String>> {
    read_logs(&bench.directory.path().join("logs"), "access")
}

fn finishes(end: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    let mut bench = start(LONG)?;
    let processes = bench.weir.processes();
    let mut idle = Connection::open(bench.at, PATIENCE)?;
    idle.send("GET /small.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure!(idle.response()?.context("no response")?.content == pattern(128));
    let mut download = download(&bench)?;
    end(&bench)?;
    ensure!(idle.is_over()?, "the idle connection is closed");
    let refused = Command::new("curl")
        .args(["-sS", "--max-time", "300", &format!("http://{}/small.bin", bench.at)])
        .output()?;
    ensure!(!refused.status.success() && refused.stdout.is_empty(), "a new connection was served");
    ensure!(download.try_wait()?.is_none(), "the download is still under way: {}", bench.weir.log());
    bench.ctl(&["site", "a", "--ceil", "none"])?;
    let status = download.wait()?;
    ensure!(status.success(), "the download: {status}; {}", bench.weir.log());
    ensure!(std::fs::read(got(&bench))? == pattern(LEN), "other bytes");
    let status = bench.weir.wait(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", bench.weir.log());
    ensure!(bench.weir.log().contains("[weir] drained in "), "{}", bench.weir.log());
    let lines = access_lines(&bench)?;
    for path in ["/small.bin", "/large.bin"] {
        ensure!(lines.iter().any(|line| line.contains(path)), "no line for {path}: {lines:#?}");
    }
    let left = survivors(&processes, Duration::ZERO);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

fn second_signal() -> Result<()> {
    let mut bench = start(LONG)?;
    let mut download = download(&bench)?;
    bench.weir.signal(Signal::TERM)?;
    bench.weir.says("repeat to stop at once")?;
    ensure!(download.try_wait()?.is_none(), "the first signal lets it go on");
    // Signals in quick succession count as one, so more are sent until one counts.
    let ended = (0..400).find_map(|_| {
        bench.weir.signal(Signal::INT).ok()?;
        bench.weir.wait(Duration::from_millis(300)).ok()
    });
    ensure!(ended.context("it goes on")?.success(), "{}", bench.weir.log());
    ensure!(!download.wait()?.success(), "cut off");
    Ok(())
}

fn limit() -> Result<()> {
    let mut bench = start("shutdown_limit = 1\n")?;
    let mut download = download(&bench)?;
    let told = Instant::now();
    bench.weir.signal(Signal::TERM)?;
    ensure!(bench.weir.wait(PATIENCE)?.success(), "{}", bench.weir.log());
    ensure!(told.elapsed() > Duration::from_millis(900), "{:?}", told.elapsed());
    ensure!(!download.wait()?.success(), "cut off");
    let lines = access_lines(&bench)?;
    ensure!(lines.iter().any(|line| line.contains("/large.bin")), "no line for what was cut off: {lines:#?}");
    ensure!(curl([format!("http://{}/", bench.at)]).is_err(), "nobody is there");
    Ok(())
}
