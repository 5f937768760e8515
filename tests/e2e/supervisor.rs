//! The supervisor as a separate process: it is killed and replaced, stops in order, and is rejected where it does not fit.

use crate::bench::{Bench, get, shell, vms};
use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_tests::process::{Process, survivors};
use weir_tests::raw::Connection;
use weir_tests::weir::Weir;
use weir_tests::{PATIENCE, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("supervisor::killed_under_load", killed_under_load),
    ("supervisor::takes_over", takes_over),
    ("supervisor::ends_in_order", ends_in_order),
];

const ROUNDS: u64 = 3;
/// Number of responses before a supervisor is killed, and of files while there is none.
const ANSWERS: u64 = 20;

/// Client statistics, and the longest wait in milliseconds.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    longest_ms: AtomicU64,
    /// Requests that got 502: all workers die at once, and a replay to a worker not yet known to be dead is not repeated.
    died_twice: AtomicU64,
}

/// Sends requests until told to stop. Every response must be correct, or say that workers died twice.
fn load(at: SocketAddr, path: &str, content: &[u8], stop: &AtomicBool, tally: &Tally) -> Result<()> {
    let mut connection = Connection::open(at, PATIENCE)?;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let (status, got) = get(&mut connection, path).with_context(|| path.to_owned())?;
        if status == 502 {
            tally.died_twice.fetch_add(1, Ordering::Relaxed);
            connection = Connection::open(at, PATIENCE)?;
            continue;
        }
        ensure!(status == 200 && got == content, "{path}: {status}, {} bytes", got.len());
        tally.answered.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(began.elapsed().as_millis())?;
        tally.longest_ms.fetch_max(took, Ordering::Relaxed);
    }
    Ok(())
}

/// Files are served as usual, requests for workers wait, and nothing is lost.
fn killed_under_load() -> Result<()> {
    let bench = Bench::apart(|_| vms("min_workers = 2\n", 2))?;
    let (stop, files, pool) = (AtomicBool::new(false), Tally::default(), Tally::default());
    let (small, large) = (pattern(1000), pattern(16 << 10));
    let result = std::thread::scope(|scope| {
        let (at, stop, files, pool) = (bench.at, &stop, &files, &pool);
        let mut clients: Vec<_> =
            (0..2).map(|_| scope.spawn(move || load(at, "/", b"static\n", stop, files))).collect();
        for content in [&small, &small, &large, &large] {
            let path = format!("/api/bytes/{}", content.len());
            clients.push(scope.spawn(move || load(at, &path, content, stop, pool)));
        }
        let rounds = (0..ROUNDS).try_for_each(|_| die_and_come_back(&bench, files, pool));
        // The last supervisor is still needed by waiting requests.
        let last = rounds.and_then(|()| bench.supervise());
        stop.store(true, Ordering::Relaxed);
        let ends = clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(anyhow!("panicked"))));
        let ends: Vec<Result<()>> = ends.collect();
        last.and_then(|_| ends.into_iter().collect::<Result<()>>())
    });
    result.with_context(|| format!("{}\n{:?}", bench.weir.log(), bench.ctl(&["metrics"])))?;
    let [submitted, served, replayed] = ["queue_submitted", "served_by_workers", "replayed"]
        .map(|name| bench.counter(&format!("weir_{name}_total")));
    let (submitted, served, replayed) = (submitted?, served?, replayed?);
    let of =
        |tally: &Tally| (tally.answered.load(Ordering::Relaxed), tally.longest_ms.load(Ordering::Relaxed));
    let [of_files, twice] = [&files, &pool].map(|tally| tally.died_twice.load(Ordering::Relaxed));
    ensure!(of_files == 0, "{of_files} files were answered 502");
    let ((files, files_ms), (pool, pool_ms)) = (of(&files), of(&pool));
    println!(
        "supervisor killed {ROUNDS} times: {files} files, longest {files_ms} ms; {pool} requests of workers, longest \
         {pool_ms} ms, {replayed} replayed, {twice} of them lost to a second death"
    );
    ensure!(served == pool, "{served} served, {pool} answered");
    ensure!(
        submitted == pool + twice && twice <= replayed,
        "{submitted} queued, {pool} answered, {twice} died twice"
    );
    ensure!(bench.counter("weir_links_in_use")? == 0 && bench.counter("weir_held_bytes")? == 0);
    Ok(())
}

/// A supervisor that serves for a while and is killed; then, without one, files are served and requests for workers wait.
fn die_and_come_back(bench: &Bench, files: &Tally, pool: &Tally) -> Result<()> {
    let answered = |tally: &Tally| tally.answered.load(Ordering::Relaxed);
    let before = answered(pool);
    let mut supervisor = bench.supervise()?;
    let served = || Ok((answered(pool) >= before + ANSWERS).then_some(()));
    wait_for(|| format!("workers do not answer: {}", supervisor.log()), served)?;
    kill(&mut supervisor)?;
    let before = answered(files);
    let served = || Ok((answered(files) >= before + ANSWERS).then_some(()));
    wait_for(|| "files are not served without a supervisor".into(), served)
}

/// Nothing it started directly outlives it.
fn kill(supervisor: &mut Weir) -> Result<()> {
    let mut children = supervisor.processes();
    // A worker's own children are left for the next supervisor.
    children.retain(|process| !is_grandchild(process));
    supervisor.signal(Signal::KILL)?;
    supervisor.wait(PATIENCE)?;
    let left = survivors(&children, PATIENCE);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}

/// What the shell of [`takes_over`] starts.
fn is_grandchild(process: &Process) -> bool {
    process.command.contains("worker.py") && !process.command.contains("sh -c ")
}

/// Leftovers of an earlier supervisor are ended, and administrators' commands stay in effect.
fn takes_over() -> Result<()> {
    let bench = Bench::apart(|directory| shell(directory, "min_workers = 1\n", "$worker & wait"))?;
    let ask = || bench.get("/api/bytes/1000").map(|(status, content)| (status, content == pattern(1000)));
    let mut first = bench.supervise()?;
    ensure!(ask()? == (200, true));
    let second = bench.supervise().err().map_or_else(String::new, |error| error.to_string());
    ensure!(second.contains("another supervisor runs there"), "{second}");
    let grandchildren: Vec<_> = first.processes().into_iter().filter(is_grandchild).collect();
    ensure!(grandchildren.len() == 1, "{:#?}", first.processes());
    bench.ctl_at("supervisor", &["pool", "app", "stop"])?;
    ensure!(ask()?.0 == 503);
    kill(&mut first)?;
    let mut second = bench.supervise()?;
    ensure!(survivors(&grandchildren, PATIENCE).is_empty(), "{}", second.log());
    ensure!(ask()?.0 == 503, "a pool that was stopped is in service again");
    bench.ctl_at("supervisor", &["pool", "app", "start"])?;
    ensure!(ask()? == (200, true));
    for (socket, order, says) in [
        ("control", &["pool", "app", "stop"][..], "managed by `weir supervise`"),
        ("supervisor", &["drain"], "send drain to that of `weir up`"),
    ] {
        let refused = bench.ctl_at(socket, order).err().map_or_else(String::new, |error| error.to_string());
        ensure!(refused.contains(says), "{order:?} at {socket}: {refused}");
    }
    kill(&mut second)?;
    let config = bench.directory.path().join("weir.toml");
    let other = std::fs::read_to_string(&config)?.replace("\"app\"", "\"other\"");
    std::fs::write(&config, other)?;
    let refused = bench.supervise().err().map_or_else(String::new, |error| error.to_string());
    ensure!(refused.contains("the appliance has the pools app, the configuration other"), "{refused}");
    Ok(())
}

/// A supervisor that is stopped lets its workers finish their requests; new ones wait for the next supervisor.
fn ends_in_order() -> Result<()> {
    let bench = Bench::apart(|directory| shell(directory, "min_workers = 1\n", "exec $worker"))?;
    let mut supervisor = bench.supervise()?;
    let children = supervisor.processes();
    let at = bench.at;
    let ask = move |path: &str| get(&mut Connection::open(at, PATIENCE)?, path);
    let ended = std::thread::scope(|scope| {
        let slow = scope.spawn(move || ask("/api/held/1000"));
        let in_hand = || bench.counter("weir_links_in_use").map(|links| (links == 1).then_some(()));
        let begun = wait_for(|| "the worker has no request".into(), in_hand).and_then(|()| {
            supervisor.signal(Signal::TERM)?;
            // The appliance knows too, and gives the worker no more requests.
            let leaves = || Ok(bench.ctl(&["status"])?.contains("leaving").then_some(()));
            wait_for(|| format!("the worker does not leave: {}", supervisor.log()), leaves)
        });
        let next = scope.spawn(move || ask("/api/bytes/10"));
        std::fs::write(bench.directory.path().join("log-held"), "")?;
        begun?;
        let status = supervisor.wait(PATIENCE)?;
        ensure!(status.success(), "{status}: {}", supervisor.log());
        let left = survivors(&children, Duration::ZERO);
        ensure!(left.is_empty(), "still there: {left:#?}");
        let slow = slow.join().map_err(|_| anyhow!("panicked"))??;
        ensure!(slow == (200, pattern(1000)), "the request in progress: {}", slow.0);
        ensure!(!next.is_finished(), "there is nobody to answer");
        let _supervisor = bench.supervise()?;
        let next = next.join().map_err(|_| anyhow!("panicked"))??;
        ensure!(next == (200, pattern(10)), "what waited: {}", next.0);
        Ok(())
    });
    ended.with_context(|| supervisor.log())?;
    ensure!(bench.counter("weir_replayed_total")? == 0);
    Ok(())
}
