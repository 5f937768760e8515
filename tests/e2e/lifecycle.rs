//! Start, stop and death of machines.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::curl::curl;
use weir_tests::net::{GUEST, Namespace, TAP};
use weir_tests::process::survivors;
use weir_tests::weir::{Weir, program};
use weir_tests::{PATIENCE, free_port, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("lifecycle::sigterm_leaves_no_process", || ends_clean(Signal::TERM)),
    ("lifecycle::sigint_leaves_no_process", || ends_clean(Signal::INT)),
    ("lifecycle::sigkill_leaves_no_process", sigkill_leaves_no_process),
    ("lifecycle::worker_vm_killed", worker_vm_killed),
    ("lifecycle::appliance_killed", appliance_killed),
    ("lifecycle::vsock_daemon_killed", vsock_daemon_killed),
    ("lifecycle::static_address_and_10_megabyte_file", static_address_and_large_file),
    ("tap::hundred_parallel_clients", hundred_parallel_clients),
];

/// The time that a machine and its images, already built, may take.
pub(crate) const START: Duration = Duration::from_secs(300);
const END: Duration = PATIENCE;

fn start(args: &[&str]) -> Result<(Weir, String)> {
    let (port, tls) = (free_port()?.to_string(), free_port()?.to_string());
    let mut weir = Weir::start(args.iter().copied().chain(["--http-port", &port, "--https-port", &tls]))?;
    let at = weir.ready(START)?;
    Ok((weir, format!("http://{at}")))
}

fn ends_clean(signal: Signal) -> Result<()> {
    let (mut weir, url) = start(&[])?;
    ensure!(curl([format!("{url}/128")])?.stdout == pattern(128));
    let processes = weir.processes();
    ensure!(processes.len() >= 4, "expected two QEMUs and two daemons: {processes:#?}");
    weir.signal(signal)?;
    let status = weir.wait(END)?;
    ensure!(status.success(), "{status}: {}", weir.log());
    let left = survivors(&processes, Duration::ZERO);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

fn sigkill_leaves_no_process() -> Result<()> {
    let (mut weir, _) = start(&[])?;
    let processes = weir.processes();
    weir.signal(Signal::KILL)?;
    weir.wait(END)?;
    let left = survivors(&processes, END);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

fn worker_vm_killed() -> Result<()> {
    let (weir, url) = start(&[])?;
    let hello = format!("{url}/api/hello");
    for round in 0..3 {
        ensure!(curl([&hello])?.text() == "hello from a worker VM\n");
        weir.qemu("app-0")?.kill();
        // The appliance may respond with 502 until the worker is back.
        let comes_back = || {
            ensure!(curl([format!("{url}/128")])?.stdout == pattern(128), "static files go on");
            Ok(curl([&hello]).is_ok_and(|got| got.text() == "hello from a worker VM\n").then_some(()))
        };
        wait_for(|| format!("round {round}: no worker came back: {}", weir.log()), comes_back)?;
    }
    Ok(())
}

/// Kills a process that cannot be replaced, and expects one line about it and an end.
fn ends_with_an_error(mut weir: Weir, victim: &weir_tests::process::Process) -> Result<()> {
    let processes = weir.processes();
    victim.kill();
    let status = weir.wait(END)?;
    ensure!(!status.success(), "{}", weir.log());
    let log = weir.log();
    let last = log.lines().last().context("no line")?;
    ensure!(last.starts_with("weir: appliance: "), "{log}");
    let left = survivors(&processes, END);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

fn appliance_killed() -> Result<()> {
    let (weir, _) = start(&[])?;
    let victim = weir.qemu("appliance")?;
    ends_with_an_error(weir, &victim)
}

fn vsock_daemon_killed() -> Result<()> {
    let (weir, _) = start(&[])?;
    let daemons = weir.processes().into_iter().filter(|p| p.command.contains("vhost-device-vsock"));
    let victim = daemons.into_iter().find(|p| p.command.contains("appliance.vsock")).context("no daemon")?;
    ends_with_an_error(weir, &victim)
}

/// A configuration with one directory of files and no workers.
pub(crate) fn files_only(directory: &Path) -> Result<String> {
    std::fs::create_dir(directory.join("files"))?;
    let config = directory.join("weir.toml");
    std::fs::write(
        &config,
        "[[site]]\nname = \"files\"\n[[site.prefix]]\nurl = \"http://*:8000/down/\"\nfiles = \"files\"\n",
    )?;
    Ok(config.to_string_lossy().into_owned())
}

fn static_address_and_large_file() -> Result<()> {
    let directory = TempDir::new()?;
    let config = files_only(directory.path())?;
    let content = pattern(10_000_000);
    std::fs::write(directory.path().join("files/large.bin"), &content)?;
    let (_weir, url) = start(&[&config, "--address", "10.77.0.9/24", "--memory", "64M"])?;
    let got = curl([format!("{url}/down/large.bin")])?.stdout;
    ensure!(got == content, "{} bytes, which differ", got.len());
    let missing = curl(["-o", "/dev/null", "-w", "%{http_code}", &format!("{url}/large.bin")])?.text();
    ensure!(missing == "400" || missing == "404", "outside of every prefix: {missing}");
    Ok(())
}

/// Over a tap interface, because QEMU's user network accepts only a few connections at a time.
fn hundred_parallel_clients() -> Result<()> {
    if !Namespace::required() {
        return Ok(());
    }
    let namespace = Namespace::new()?;
    let mut up = namespace.command(program());
    up.args(["up", "--net", &format!("tap:{TAP}"), "--address", &format!("{GUEST}/24")]);
    let mut weir = Weir::start_command(&mut up)?;
    let at = weir.ready(START)?;
    let directory = TempDir::new()?;
    for (path, len) in [("/4k", 4096), ("/1m.bin", 1 << 20), ("/api/bytes/100000", 100_000)] {
        let files = directory.path().join("#1");
        let mut curl = namespace.command("curl");
        curl.args([
            "-sS",
            "--max-time",
            "300",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "100",
            "-o",
        ]);
        let output = curl.arg(&files).arg(format!("http://{at}{path}?[1-100]")).output()?;
        ensure!(output.status.success(), "{path}: curl ended with {}", output.status);
        let expected = pattern(len);
        for n in 1..=100 {
            ensure!(std::fs::read(directory.path().join(n.to_string()))? == expected, "{path}: client {n}");
        }
    }
    drop(weir);
    Ok(())
}
