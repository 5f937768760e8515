//! Signals that also reach the children of `weir`: from a terminal or `timeout` to the process group, from systemd to every
//! process of the service. Requests in progress are completed all the same.

use crate::bench::{Bench, vms};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::process::survivors;
use weir_tests::{PATIENCE, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("ends::sigint_to_the_process_group_loses_nothing", || nothing_is_lost(&group(Signal::INT))),
    ("ends::sigterm_to_every_process_loses_nothing", || nothing_is_lost(&everybody)),
    ("ends::sighup_of_a_terminal_that_is_gone_loses_nothing", terminal_gone),
];

/// Length of a download, at this many KiB per second.
const LEN: usize = 4 * (64 << 10);

/// A slow site with files and a pool of one VM.
fn config(directory: &TempDir) -> Result<String> {
    let www = directory.path().join("www");
    std::fs::create_dir(&www)?;
    std::fs::write(www.join("large.bin"), pattern(LEN))?;
    let pool = vms("min_workers = 1\n", 1);
    Ok(format!(
        "[[site]]\nname = \"a\"\n[site.bandwidth]\nceil = \"128 KiB/s\"\nburst = \"4 KiB\"\n[[site.prefix]]\n\
         url = \"http://*:80/\"\nfiles = \"www\"\n[[site.prefix]]\nurl = \"http://*:80/api/\"\npool = \"app\"\n\
         [[pool]]\nname = \"app\"\n{pool}"
    ))
}

/// Starts a download; returns when its first bytes have arrived.
fn download(bench: &Bench, path: &str, name: &str) -> Result<(Child, PathBuf)> {
    let got = bench.directory.path().join(name);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--no-buffer", "--max-time", "300", "-o"]).arg(&got);
    let child = curl.arg(format!("http://{}{path}", bench.at)).spawn().context("starting curl")?;
    let begun = || Ok(std::fs::metadata(&got).is_ok_and(|file| file.len() > 0).then_some(()));
    wait_for(|| format!("{path}: no first byte: {}", bench.weir.log()), begun)?;
    Ok((child, got))
}

fn group(signal: Signal) -> impl Fn(&Bench) -> Result<()> {
    move |bench| {
        let group = Pid::from_raw(bench.weir.pid()).context("pid")?;
        kill_process_group(group, signal).context("signalling weir's process group")
    }
}

/// Signals all processes, as systemd does with `KillMode=control-group`; and twice, as `timeout` does.
fn everybody(bench: &Bench) -> Result<()> {
    let children = bench.weir.processes();
    ensure!(children.len() >= 4, "expected two QEMUs and two daemons at least: {children:#?}");
    children.iter().for_each(|process| process.signal(Signal::TERM));
    bench.weir.signal(Signal::TERM)?;
    bench.weir.signal(Signal::HUP)
}

fn nothing_is_lost(end: &dyn Fn(&Bench) -> Result<()>) -> Result<()> {
    let directory = TempDir::new()?;
    let config = config(&directory)?;
    let mut bench = Bench::boot(directory, &config)?;
    finish(&mut bench, end)?;
    ensure!(bench.weir.log().contains("[weir] drained in "), "{}", bench.weir.log());
    Ok(())
}

fn finish(bench: &mut Bench, end: &dyn Fn(&Bench) -> Result<()>) -> Result<()> {
    let processes = bench.weir.processes();
    let downloads =
        [download(bench, "/large.bin", "file")?, download(bench, &format!("/api/bytes/{LEN}"), "answer")?];
    end(bench)?;
    for (mut curl, got) in downloads {
        let status = curl.wait()?;
        let bytes = std::fs::read(&got)?;
        ensure!(status.success(), "{status} after {} bytes of {LEN}: {}", bytes.len(), bench.weir.log());
        ensure!(bytes == pattern(LEN), "other bytes");
    }
    let status = bench.weir.wait(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", bench.weir.log());
    let left = survivors(&processes, Duration::ZERO);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

/// Output is no longer read: that alone must not end anything.
fn terminal_gone() -> Result<()> {
    let directory = TempDir::new()?;
    let config = config(&directory)?;
    let mut bench = Bench::boot(directory, &config)?;
    bench.weir.stop_listening();
    finish(&mut bench, &group(Signal::HUP))
}
