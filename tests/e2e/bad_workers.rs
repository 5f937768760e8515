//! Misbehaving workers: half a response, no reading, a stalled vsock.

use crate::bench::{Bench, get, processes, vms};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weir_tests::process::Process;
use weir_tests::raw::Connection;
use weir_tests::{PATIENCE, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("bad_workers::half_answers", half_answers),
    ("bad_workers::surplus_answers_nobody", surplus_answers_nobody),
    ("bad_workers::one_that_stops_reading", stops_reading),
    ("bad_workers::a_stalled_vsock", stalled_vsock),
];

/// Duration of the stall. Nothing is expected to be faster or slower than this.
const STALL: Duration = Duration::from_secs(3);
/// Number of responses before the stall.
const BEFORE_STALL: usize = 20;

/// Small responses are all or nothing; truncation of large ones is visible.
fn half_answers() -> Result<()> {
    let bench = Bench::start(|directory| processes(directory, "min_workers = 1\n", 1))?;
    let once = bench.get("/api/once/10000")?;
    ensure!(once == (200, pattern(10_000)), "asked again: {}", once.0);
    ensure!(bench.counter("weir_replayed_total")? == 1);
    let (status, content) = bench.get("/api/half/10000")?;
    ensure!(status == 502 && content.len() < 1000, "{status}, {} bytes", content.len());
    let mut connection = Connection::open(bench.at, PATIENCE)?;
    let large = get(&mut connection, "/api/half/1000000");
    ensure!(large.is_err(), "half of a large response passes for a whole one");
    ensure!(bench.counter("weir_truncated_total")? == 1);
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)), "the worker is not given up");
    ensure!(bench.counter("weir_links_in_use")? == 0 && bench.counter("weir_held_bytes")? == 0);
    Ok(())
}

/// One link, a client that makes the worker send more than a response, and a client waiting behind it: the response is intact,
/// and the surplus reaches neither.
fn surplus_answers_nobody() -> Result<()> {
    let bench = Bench::start(|dir| processes(dir, "min_workers = 1\nrequests_per_worker = 1\n", 1))?;
    for (kind, status) in [
        ("head", 200),
        ("head-unframed", 200),
        ("no-content", 204),
        ("not-modified", 304),
        ("empty", 200),
        ("length", 200),
        ("chunked", 200),
    ] {
        let method = if kind.starts_with("head") { "HEAD" } else { "GET" };
        for round in 0..4 {
            let mut evil = Connection::open(bench.at, PATIENCE)?;
            evil.send(format!("{method} /api/evil/{kind} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
            let got = bench.get("/api/bytes/1000")?;
            ensure!(got == (200, pattern(1000)), "{kind}, round {round}: {}, {:?}", got.0, got.1);
            let answer = evil.reply(method == "HEAD")?.context("no answer")?;
            ensure!(answer.status == status, "{kind}: {}", answer.status);
        }
    }
    ensure!(bench.counter("weir_malformed_responses_total")? == 0);
    Ok(())
}

/// An upload that the worker does not read uses bounded memory and affects nobody; its end is the client's decision.
fn stops_reading() -> Result<()> {
    const CONTENT: usize = 20 << 20;
    let bench = Bench::start(|directory| processes(directory, "min_workers = 1\n", 1))?;
    let mut upload = Connection::open(bench.at, PATIENCE)?;
    upload.send(format!("POST /api/deaf HTTP/1.1\r\nHost: test\r\nContent-Length: {CONTENT}\r\n\r\n"))?;
    let sender = std::thread::spawn(move || {
        let sent = upload.send(vec![b'x'; CONTENT]);
        (upload, sent.is_ok())
    });
    let held = || bench.counter("weir_held_bytes").map(|held| (held > 0).then_some(()));
    wait_for(|| "nothing of the upload has arrived".into(), held)?;
    for _ in 0..10 {
        ensure!(bench.get("/api/bytes/10000")? == (200, pattern(10_000)));
        let held = bench.counter("weir_held_bytes")?;
        ensure!(held <= 256 << 10, "{held} bytes held for an upload that nobody reads");
    }
    ensure!(!sender.is_finished(), "20 MiB went somewhere");
    let worker = bench.weir.processes().into_iter().find(|p| p.command.contains("worker.py"));
    worker.context("no worker")?.kill();
    let (mut upload, _) = sender.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    let answer = upload.response();
    ensure!(!matches!(&answer, Ok(Some(r)) if r.status != 502), "{answer:?}");
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)), "the next worker serves");
    ensure!(bench.counter("weir_links_in_use")? == 0 && bench.counter("weir_held_bytes")? == 0);
    Ok(())
}

/// The vsock daemon of a worker VM is stopped for three seconds: requests wait, and none is lost.
fn stalled_vsock() -> Result<()> {
    let bench = Bench::start(|_| vms("min_workers = 2\n", 2))?;
    let daemon = |p: &Process| p.command.contains("vhost-device-vsock") && p.command.contains("app-0");
    let daemon = bench.weir.processes().into_iter().find(daemon).context("no vsock daemon")?;
    let answered = AtomicUsize::new(0);
    let load = |turns: usize| -> Result<()> {
        let mut connection = Connection::open(bench.at, PATIENCE)?;
        for turn in 0..turns {
            let len = [0, 1000, 16 << 10][turn % 3];
            let got = get(&mut connection, &format!("/api/bytes/{len}"))?;
            ensure!(got == (200, pattern(len)), "GET of {len} bytes: {}", got.0);
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| load(200))).collect();
        let begun = || Ok((answered.load(Ordering::Relaxed) >= BEFORE_STALL).then_some(()));
        let begun = wait_for(|| "no answers".into(), begun);
        daemon.signal(Signal::STOP);
        std::thread::sleep(STALL);
        daemon.signal(Signal::CONT);
        let ends = clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))));
        ends.collect::<Result<Vec<()>>>().and(begun)
    })
    .with_context(|| bench.weir.log())?;
    load(100)?;
    ensure!(bench.counter("weir_links_in_use")? == 0 && bench.counter("weir_held_bytes")? == 0);
    Ok(())
}
