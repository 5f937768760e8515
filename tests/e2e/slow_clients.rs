//! `slowhttptest` with 2,000 connections beside a well-behaved client. Not run by default, because it measures time: `cargo test
//! -p weir-tests --test e2e -- --ignored slow_clients`, with the program to test in `WEIR`.

use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use weir_tests::net::{GUEST, Namespace, TAP};
use weir_tests::weir::{Weir, program};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("slow_clients::headers", || attack(&["-H"], "/128")),
    ("slow_clients::body", || attack(&["-B", "-s", "8192"], "/api/discard")),
    ("slow_clients::reading", || attack(&["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "1"], "/1m.bin")),
];

/// Duration of the attack.
const ATTACK: Duration = Duration::from_secs(40);
/// Time by which all connections are open.
const OPENED: Duration = Duration::from_secs(10);
/// Minimum number of open connections for a valid attack.
const LEAST_OPEN: usize = 1000;
/// Delay that the scheduler of a busy two-core host may add to any request.
const SLICE: Duration = Duration::from_millis(10);
/// Requests of the well-behaved client per round, each on its own connection.
const REQUESTS: usize = 200;

/// Rounds without an attack: enough for a meaningful p99.
const QUIET_ROUNDS: usize = 25;

/// A child that ends with its owner.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attack(mode: &[&str], path: &str) -> Result<()> {
    let namespace = Namespace::new()?;
    let mut up = namespace.command(program());
    up.args(["up", "--net", &format!("tap:{TAP}"), "--address", &format!("{GUEST}/24")]);
    let mut weir = Weir::start_command(&mut up)?;
    weir.ready(START)?;
    // The first run is slower.
    times(&namespace)?;
    let mut quiet = Vec::new();
    for _ in 0..QUIET_ROUNDS {
        quiet.extend(times(&namespace)?);
    }
    let url = format!("http://{GUEST}{path}");
    let seconds = ATTACK.as_secs().to_string();
    let attacker = namespace
        .command("slowhttptest")
        .args(mode)
        .args(["-c", "2000", "-r", "400", "-i", "10", "-p", "5", "-l", &seconds, "-u", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting slowhttptest, which Debian has as a package")?;
    let _attacker = Ending(attacker);
    let began = Instant::now();
    std::thread::sleep(OPENED);
    let open = connections(&namespace)?;
    let mut under_attack = Vec::new();
    while began.elapsed() < ATTACK - Duration::from_secs(5) {
        under_attack.extend(times(&namespace)?);
    }
    let (before, during) = (p99(&mut quiet), p99(&mut under_attack));
    eprintln!(
        "{mode:?}: {open} connections, p99 {before:?} before, {during:?} of {} requests during",
        under_attack.len()
    );
    ensure!(open >= LEAST_OPEN, "only {open} connections were open");
    ensure!(during <= 2 * before.max(SLICE), "p99 {during:?}, {before:?} without the attack");
    Ok(())
}

/// Duration of each request.
fn times(namespace: &Namespace) -> Result<Vec<Duration>> {
    let url = format!("http://{GUEST}/128?[1-{REQUESTS}]");
    let output = namespace
        .command("curl")
        .args([
            "-sS",
            "--max-time",
            "20",
            "-H",
            "Connection: close",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{time_total}\n",
        ])
        .arg(url)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let times = text.lines().map(|line| {
        let seconds = line.strip_prefix("200 ").with_context(|| format!("the honest client got {line:?}"))?;
        Ok(Duration::from_secs_f64(seconds.parse()?))
    });
    let times: Vec<Duration> = times.collect::<Result<_>>()?;
    ensure!(times.len() == REQUESTS, "{} answers of {REQUESTS}", times.len());
    Ok(times)
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// Number of the attacker's open connections.
fn connections(namespace: &Namespace) -> Result<usize> {
    let output =
        namespace.command("ss").args(["-Htn", "state", "established"]).output().context("ss (iproute2)")?;
    Ok(String::from_utf8(output.stdout)?.lines().filter(|line| line.contains(GUEST)).count())
}
