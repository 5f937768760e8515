//! Workers that are started on demand, die, are replaced, or never start, as seen by clients.
//!
//! `WEIR_CHAOS_SECONDS` is the duration of the chaos test; default 20.

use crate::bench::{Bench, get, processes, shell, vms};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_tests::raw::Connection;
use weir_tests::require::require;
use weir_tests::{PATIENCE, pattern, wait_for};

type Test = fn() -> Result<()>;

/// Minimum number of faults, however long that takes, and of responses before each.
const WRECKED_MIN: u64 = 4;
const ANSWERS_BETWEEN: u64 = 20;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("workers::demand_start", demand_start),
    ("workers::recycling_is_not_seen", recycling_is_not_seen),
    ("workers::what_never_starts_takes_its_pool_out_of_service", never_starts),
    ("workers::orders", orders),
    ("workers::one_that_does_not_end_is_killed", does_not_end),
    ("workers::processes_have_their_surroundings", surroundings),
    ("workers::chaos_of_vms", chaos_of_vms),
    ("workers::chaos_of_processes", chaos_of_processes),
];

fn demand_start() -> Result<()> {
    let bench = Bench::start(|_| vms("", 1))?;
    ensure!(bench.weir.qemu("app-0").is_err(), "a worker that nobody has asked for");
    ensure!(bench.get("/")? == (200, b"static\n".to_vec()));
    let began = Instant::now();
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)));
    println!("first request to response with a cold worker VM: {} ms", began.elapsed().as_millis());
    let demands = || bench.weir.log().matches("pool app needs a worker").count();
    ensure!(demands() == 1, "{}", bench.weir.log());
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)));
    ensure!(demands() == 1, "the worker is there now: {}", bench.weir.log());
    Ok(())
}

fn chaos_seconds() -> Duration {
    let said = std::env::var("WEIR_CHAOS_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(said.unwrap_or(20))
}

/// Client statistics.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    cut_off: AtomicU64,
    posted: AtomicU64,
    refused_posts: AtomicU64,
}

/// Steady load from four clients until `stop`: GETs of up to 16 KiB that must not fail, large ones that may be truncated but
/// never wrong, and POSTs if `marks`.
fn load(at: SocketAddr, stop: &AtomicBool, tally: &Tally, marks: bool) -> Result<()> {
    let content = pattern(1 << 20);
    let client = |number: u64| -> Result<()> {
        let mut connection = None;
        for turn in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(at, PATIENCE)?,
            };
            match turn % 8 {
                6 if marks => {
                    let mark = format!("{number}x{turn}");
                    open.send(format!(
                        "POST /api/mark/{mark} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nmark"
                    ))?;
                    match open.response()? {
                        Some(response) if response.status == 200 => {
                            ensure!(response.content == mark.as_bytes(), "another's answer");
                            tally.posted.fetch_add(1, Ordering::Relaxed);
                            connection = Some(open);
                        }
                        Some(response) => {
                            ensure!(response.status == 502, "{}", response.head);
                            tally.refused_posts.fetch_add(1, Ordering::Relaxed);
                        }
                        None => drop(tally.cut_off.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                7 => {
                    let len = content.len();
                    let wanted = get(&mut open, &format!("/api/bytes/{len}"));
                    match wanted {
                        Ok((200, got)) => {
                            ensure!(got == content, "a large response that is wrong");
                            connection = Some(open);
                        }
                        // The second worker died as well.
                        Ok((502, _)) | Err(_) => drop(tally.cut_off.fetch_add(1, Ordering::Relaxed)),
                        Ok((status, _)) => anyhow::bail!("a large GET was answered {status}"),
                    }
                }
                _ => {
                    let len = [0, 128, 1000, 4096, 10_000, 16 << 10][(turn % 6) as usize];
                    let (status, got) = get(&mut open, &format!("/api/bytes/{len}"))
                        .with_context(|| format!("GET of {len} bytes"))?;
                    ensure!(status == 200, "GET of {len} bytes: {status}");
                    ensure!(got == content[..len], "GET of {len} bytes: wrong content");
                    connection = Some(open);
                }
            }
            tally.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|number| scope.spawn(move || client(number))).collect();
        let results =
            clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))));
        results.collect::<Result<Vec<()>>>().map(drop)
    })
}

/// Load while `wreck` causes a fault every other second, but only after there have been responses since the last one.
fn chaos(bench: &Bench, marks: bool, mut wreck: impl FnMut() -> Result<()>) -> Result<Tally> {
    let (stop, tally, at) = (AtomicBool::new(false), Tally::default(), bench.at);
    let wrecked = std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| load(at, &stop, &tally, marks));
        let (end, mut result, mut wrecked) = (Instant::now() + chaos_seconds(), Ok(()), 0);
        let answered = || tally.answered.load(Ordering::Relaxed);
        while (Instant::now() < end || wrecked < WRECKED_MIN) && result.is_ok() && !load.is_finished() {
            std::thread::sleep(Duration::from_secs(2));
            let before = answered();
            let more = || Ok((load.is_finished() || answered() >= before + ANSWERS_BETWEEN).then_some(()));
            result =
                wait_for(|| format!("only {} answers", answered() - before), more).and_then(|()| wreck());
            wrecked += 1;
        }
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))).and(result)
    });
    wrecked.with_context(|| format!("{}\n{:?}", bench.weir.log(), bench.ctl(&["metrics"])))?;
    let (answered, cut_off) = (tally.answered.load(Ordering::Relaxed), tally.cut_off.load(Ordering::Relaxed));
    let [submitted, replayed, served] = ["queue_submitted", "replayed", "served_by_workers"]
        .map(|name| bench.counter(&format!("weir_{name}_total")));
    let (submitted, replayed, served) = (submitted?, replayed?, served?);
    println!(
        "{answered} requests, {cut_off} cut off, {} POSTs refused; queued {submitted}, served {served}, replayed {replayed}",
        tally.refused_posts.load(Ordering::Relaxed)
    );
    ensure!(answered >= ANSWERS_BETWEEN * WRECKED_MIN, "{answered} requests only");
    ensure!(
        bench.counter("weir_links_in_use")? == 0 && bench.counter("weir_held_bytes")? == 0,
        "something is left"
    );
    // Everything queued was served, truncated or rejected.
    let (truncated, malformed) =
        (bench.counter("weir_truncated_total")?, bench.counter("weir_malformed_responses_total")?);
    let refused = tally.refused_posts.load(Ordering::Relaxed);
    ensure!(
        submitted == served + truncated + malformed + refused,
        "{submitted} queued; {served} served, {truncated} truncated, {malformed} malformed, {refused} refused"
    );
    Ok(tally)
}

fn rapid_fail_off(keys: &str) -> String {
    format!("{keys}[pool.rapid_fail]\nfailures = 0\n")
}

fn chaos_of_vms() -> Result<()> {
    let bench = Bench::start(|_| vms(&rapid_fail_off("min_workers = 2\n"), 2))?;
    let mut killed = 0;
    chaos(&bench, false, || {
        let victim = bench.weir.qemu("app-0");
        victim.iter().for_each(weir_tests::process::Process::kill);
        killed += u32::from(victim.is_ok());
        Ok(())
    })?;
    ensure!(killed >= 3, "{killed} killed");
    Ok(())
}

fn chaos_of_processes() -> Result<()> {
    let bench = Bench::start(|directory| processes(directory, &rapid_fail_off("min_workers = 2\n"), 2))?;
    let mut killed = 0;
    let tally = chaos(&bench, true, || {
        let victim = bench.weir.processes().into_iter().find(|p| p.command.contains("worker.py"));
        victim.iter().for_each(weir_tests::process::Process::kill);
        killed += u32::from(victim.is_some());
        Ok(())
    })?;
    ensure!(killed >= 3, "{killed} killed");
    let log = std::fs::read_to_string(bench.directory.path().join("log"))?;
    let mut times = BTreeMap::new();
    log.lines().for_each(|mark| *times.entry(mark).or_insert(0) += 1);
    let twice: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    ensure!(twice.is_empty(), "POSTs that were delivered twice: {twice:?}");
    ensure!(
        times.len() as u64 >= tally.posted.load(Ordering::Relaxed),
        "a POST that was answered but not delivered"
    );
    Ok(())
}

fn recycling_is_not_seen() -> Result<()> {
    let bench = Bench::start(|directory| processes(directory, "min_workers = 1\n", 1))?;
    let pid = || bench.get("/api/pid").map(|(_, content)| content);
    let first = pid()?;
    chaos(&bench, false, || bench.ctl(&["pool", "app", "recycle"]).map(drop))?;
    ensure!(bench.counter("weir_truncated_total")? == 0, "somebody saw it");
    ensure!(pid()? != first, "the same worker as before");
    let worker = |p: &&weir_tests::process::Process| p.command.contains("worker.py");
    let alone = || Ok((bench.weir.processes().iter().filter(worker).count() == 1).then_some(()));
    wait_for(|| format!("old workers are left: {}", bench.weir.log()), alone)
}

/// A process that ignores SIGTERM is killed after its stop limit.
fn does_not_end() -> Result<()> {
    const STOP_LIMIT: Duration = Duration::from_secs(2);
    let keys = "min_workers = 1\nstop_limit = 2\n";
    let bench = Bench::start(|directory| shell(directory, keys, "trap '' TERM; exec $worker"))?;
    let worker = |p: &weir_tests::process::Process| p.command.contains("worker.py");
    let first = bench.weir.processes().into_iter().find(worker).context("no worker")?;
    ensure!(bench.get("/api/bytes/10")? == (200, pattern(10)));
    let began = Instant::now();
    bench.ctl(&["pool", "app", "recycle"])?;
    let gone = || Ok((!first.is_there()).then_some(()));
    wait_for(|| format!("it goes on: {}", bench.weir.log()), gone)?;
    ensure!(began.elapsed() >= STOP_LIMIT, "it was not asked: {:?}", began.elapsed());
    ensure!(bench.get("/api/bytes/10")? == (200, pattern(10)));
    Ok(())
}

fn never_starts() -> Result<()> {
    let bench = Bench::start(|_| "[[pool.worker]]\nkind = \"process\"\ncommand = [\"false\"]\n".into())?;
    let began = Instant::now();
    let (status, _) = bench.get("/api/x")?;
    ensure!(status == 503, "{status}");
    ensure!(began.elapsed() > Duration::from_secs(4), "five attempts, and pauses that grow");
    ensure!(bench.get("/api/x")?.0 == 503);
    ensure!(bench.get("/")? == (200, b"static\n".to_vec()), "the rest is served");
    let log = bench.weir.log();
    ensure!(log.contains("pool app: out of service: 5 failures in a short time"), "{log}");
    ensure!(bench.ctl(&["status"])?.contains("pool app: Disabled"));
    Ok(())
}

/// A server that reports where and as which user it runs: at the socket in its argument, or at PORT.
const TELLER: &str = r"
import http.server, os, socketserver, sys
class Teller(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def address_string(self):
        return 'client'
    def do_GET(self):
        known = {name: os.environ.get(name, '-') for name in ('PORT', 'GREETING', 'HOME', 'USER')}
        said = f'{os.getcwd()} {os.getuid()}:{os.getgid()}:{sorted(os.getgroups())} {known}'.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(said)))
        self.end_headers()
        self.wfile.write(said)
if len(sys.argv) > 1:
    server = socketserver.UnixStreamServer(sys.argv[1], Teller)
else:
    server = http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Teller)
server.serve_forever()
";

/// Directory, environment and user of process workers; a command without a placeholder gets PORT.
fn surroundings() -> Result<()> {
    let directory = TempDir::new()?;
    std::fs::create_dir(directory.path().join("www"))?;
    // A directory below a home directory may be inaccessible to other users.
    let python = ["/usr/bin/python3", "python3"][usize::from(!Path::new("/usr/bin/python3").is_file())];
    let pool = |name: &str, words: &str, keys: &str| {
        let prefix = format!("[[site.prefix]]\nurl = \"http://*:80/{name}/\"\npool = \"{name}\"\n");
        let pool = format!(
            "[[pool]]\nname = \"{name}\"\n[[pool.worker]]\nkind = \"process\"\n\
             command = [{python:?}, \"-c\", {TELLER:?}{words}]\n{keys}"
        );
        (prefix, pool)
    };
    let mut pools = vec![pool("plain", "", "environment = { GREETING = \"at {port}\" }\n")];
    let is_root = require("root", rustix::process::getuid().is_root());
    if is_root {
        let keys = "user = \"nobody\"\ndirectory = \"/usr\"\nenvironment = { GREETING = \"moin\" }\n";
        pools.push(pool("other", ", \"{socket}\"", keys));
    }
    let (prefixes, pools): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
    let (prefixes, pools) = (prefixes.concat(), pools.concat());
    let at = directory.path().canonicalize()?.display().to_string();
    let bench = Bench::boot(directory, &format!("[[site]]\nname = \"a\"\n{prefixes}{pools}"))?;
    let said = |path: &str| -> Result<String> {
        let (status, content) = bench.get(path)?;
        ensure!(status == 200, "{path}: {status}: {}", bench.weir.log());
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    let plain = said("/plain/")?;
    let port = plain.split("'PORT': '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default();
    ensure!(plain.starts_with(&format!("{at} ")) && port.parse::<u16>().is_ok(), "{plain}");
    ensure!(plain.contains(&format!("'GREETING': 'at {port}'")), "{plain}");
    if is_root {
        let id = |which: &str| -> Result<String> {
            let output = std::process::Command::new("id").args([which, "nobody"]).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let groups = id("-G")?.replace(' ', ", ");
        let whose = format!("/usr {}:{}:[{groups}] ", id("-u")?, id("-g")?);
        let other = said("/other/")?;
        ensure!(
            other.starts_with(&whose) && other.contains("'GREETING': 'moin'"),
            "{other}, expected {whose}"
        );
        ensure!(other.contains("'USER': 'nobody'") && !other.contains("'HOME': '/root'"), "{other}");
    }
    Ok(())
}

fn orders() -> Result<()> {
    let bench = Bench::start(|directory| processes(directory, "", 1))?;
    ensure!(bench.ctl(&["status"])?.contains("pool app: Initialized, 0 waiting"));
    ensure!(bench.get("/api/bytes/10")? == (200, pattern(10)));
    ensure!(bench.ctl(&["status"])?.contains("pool app: Running"));
    bench.ctl(&["pool", "app", "stop"])?;
    ensure!(bench.get("/api/bytes/10")?.0 == 503);
    bench.ctl(&["pool", "app", "start"])?;
    ensure!(bench.get("/api/bytes/10")? == (200, pattern(10)));
    bench.ctl(&["site", "a", "--ceil", "64 KiB/s"])?;
    let began = Instant::now();
    ensure!(bench.get("/api/bytes/200000")? == (200, pattern(200_000)));
    let seconds = began.elapsed().as_secs_f64();
    // How much more it is depends on the host.
    ensure!(seconds >= 2.5, "200,000 bytes at 64 KiB/s in {seconds:.2} s");
    bench.ctl(&["site", "a", "--ceil", "none"])?;
    for (arguments, says) in [
        (&["site", "a", "--ceil", "5"][..], "ceil \"5\", expected a number with"),
        (&["site", "a", "--ceil", "1 B/s"], "expected 1024 to"),
        (&["site", "nobody", "--ceil", "1 MB/s"], "unknown site \"nobody\""),
        (&["pool", "nobody", "recycle"], "unknown pool \"nobody\""),
    ] {
        let error = bench.ctl(arguments).err().map_or_else(String::new, |e| e.to_string());
        ensure!(error.lines().count() == 1 && error.contains(says), "{arguments:?}: {error}");
    }
    ensure!(bench.get("/api/bytes/10")? == (200, pattern(10)), "and everything is as it was");
    Ok(())
}
