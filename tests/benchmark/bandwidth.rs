//! Bandwidth control over a tap interface, side by side: Weir's sites with ceilings, weights and guarantees, and the nearest
//! equivalents of nginx (`limit_rate`) and HAProxy. Clients are `curl` processes with a number of connections each and their own
//! addresses; bytes are counted at their output.

use crate::curl::Curl;
use crate::machine::{Kind, Lab, Machine};
use crate::uploads::{Sink, push};
use crate::wrk::Wrk;
use crate::{Options, plot};
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_tests::net::{GUEST, TAP};
use weir_tests::raw::Connection;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(100);
const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

/// The server under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Weir,
    Nginx,
    HaProxy,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Weir => "Weir",
            Self::Nginx => "nginx limit_rate",
            Self::HaProxy => "HAProxy 2.6 before nginx",
        }
    }

    fn port(self) -> u16 {
        if self == Self::HaProxy { 8080 } else { 80 }
    }
}

/// A client: one `curl` that downloads over several connections until it is dropped.
struct Puller {
    got: Arc<AtomicU64>,
    _curl: Curl,
}

impl Puller {
    fn start(peer: Peer, host: &str, connections: u32, client: u8) -> Result<Self> {
        let port = peer.port();
        let mut command = Curl::command(host, port, connections);
        command
            .args(["-N", "--interface", &client_address(client)])
            .args((0..connections).map(|n| format!("http://{host}:{port}/1m.bin?{n}")))
            .args((0..connections * 20 + 100).map(|n| format!("http://{host}:{port}/1m.bin?again{n}")));
        let mut curl = Curl::start(command.stdout(Stdio::piped()))?;
        let got = Arc::new(AtomicU64::new(0));
        let (mut output, counter) = (curl.output().context("stdout")?, got.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 << 10];
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                counter.fetch_add(len as u64, Ordering::Relaxed);
            }
        });
        Ok(Self { got, _curl: curl })
    }
}

fn client_address(client: u8) -> String {
    format!("192.168.77.{}", 100 + client)
}

/// Cumulative bytes of each group over time.
struct Samples {
    at: Vec<f64>,
    sums: Vec<Vec<f64>>,
}

fn got(pullers: &[Puller]) -> Vec<&AtomicU64> {
    pullers.iter().map(|puller| &*puller.got).collect()
}

fn watch(groups: &[&[&AtomicU64]], duration: Duration) -> Samples {
    let (start, mut samples) = (Instant::now(), Samples { at: Vec::new(), sums: Vec::new() });
    let mut next = Duration::ZERO;
    while start.elapsed() <= duration {
        samples.at.push(start.elapsed().as_secs_f64());
        let sum =
            |group: &&[&AtomicU64]| group.iter().map(|got| got.load(Ordering::Relaxed)).sum::<u64>() as f64;
        samples.sums.push(groups.iter().map(sum).collect());
        next += STEP;
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
    samples
}

impl Samples {
    /// Mean rate of a group over the whole time, in bytes per second.
    fn rate(&self, group: usize) -> f64 {
        let (Some(first), Some(last)) = (self.sums.first(), self.sums.last()) else { return f64::NAN };
        (last[group] - first[group]) / (self.at[self.at.len() - 1] - self.at[0])
    }

    /// Largest relative error of any one-second window, in percent.
    fn worst(&self, group: usize, want: f64) -> f64 {
        let len = (SECOND.as_millis() / STEP.as_millis()) as usize;
        let rate =
            |i: usize| (self.sums[i + len][group] - self.sums[i][group]) / (self.at[i + len] - self.at[i]);
        let windows = 0..self.at.len().saturating_sub(len);
        windows.map(|i| (rate(i) / want - 1.0).abs() * 100.0).fold(0.0, f64::max)
    }

    /// Rate of each group over time, averaged over half a second.
    fn curves(&self, names: &[&str]) -> Vec<plot::Curve> {
        let len = 5;
        let curve = |(group, name): (usize, &&str)| plot::Curve {
            name: (*name).to_owned(),
            points: (0..self.at.len().saturating_sub(len))
                .map(|i| {
                    let bytes = self.sums[i + len][group] - self.sums[i][group];
                    (self.at[i + len], bytes / (self.at[i + len] - self.at[i]))
                })
                .collect(),
        };
        names.iter().enumerate().map(curve).collect()
    }
}

fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    sum * sum / (shares.len() as f64 * shares.iter().map(|s| s * s).sum::<f64>())
}

struct Report<'a> {
    dir: &'a Path,
    text: String,
}

impl Report<'_> {
    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn plot(&mut self, name: &str, title: &str, curves: &[plot::Curve]) -> Result<()> {
        std::fs::write(self.dir.join(format!("{name}.svg")), plot::svg(title, "s", "bytes/s", curves))?;
        self.line(&format!("\n![{title}]({name}.svg)\n"));
        Ok(())
    }
}

pub(crate) async fn measure(lab: &Lab, options: &Options) -> Result<()> {
    let dir = options.report.as_deref().context("--report is missing")?;
    std::fs::create_dir_all(dir)?;
    for client in 0..8 {
        let address = format!("{}/24", client_address(client));
        let status = Command::new("ip").args(["addr", "add", &address, "dev", TAP]).status()?;
        ensure!(status.success(), "ip addr add {address}: {status}");
    }
    let mut report = Report { dir, text: String::new() };
    report.line("# Bandwidth\n");
    simulated(&mut report)?;
    report.line("\n## In QEMU, over a tap, with curl\n");
    report.line(&format!("Host: {}. One vCPU under TCG each; curl on the same processors.\n", crate::host()));
    {
        let machine = boot(lab, Kind::Weir).await?;
        caps(Peer::Weir, options, &mut report)?;
        uploads(lab, options, &mut report)?;
        requests(&mut report)?;
        weights(&mut report)?;
        comes_back(&mut report)?;
        fair(Peer::Weir, &mut report)?;
        small(Peer::Weir, &mut report)?;
        drop(machine);
    }
    let machine = boot(lab, Kind::Nginx).await?;
    report.line(
        "nginx holds each request alone to `limit_rate` and lets a second's worth of it go at once, so that files of 1 MiB are \
         hardly held at all at 1 MiB/s and above (0: curl was through with all of them).\n",
    );
    caps(Peer::Nginx, options, &mut report)?;
    fair(Peer::Nginx, &mut report)?;
    small(Peer::Nginx, &mut report)?;
    report.line(
        "HAProxy has bandwidth filters since 2.7; Debian 12's is 2.6 and passes on what nginx limits.\n",
    );
    caps(Peer::HaProxy, options, &mut report)?;
    drop(machine);
    std::fs::write(dir.join("report.md"), &report.text)?;
    Ok(())
}

async fn boot(lab: &Lab, kind: Kind) -> Result<Machine> {
    let machine = lab.boot(kind).await?;
    machine.first_200(Duration::from_secs(60))?;
    Ok(machine)
}

/// Results of the simulator in the same directory: exact, in virtual time.
fn simulated(report: &mut Report) -> Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(report.dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "row"))
        .collect();
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    report.line("## In the simulator (virtual time, exact)\n");
    report.line("| what | reach | measured |\n|---|---|---|");
    for path in &names {
        let row = std::fs::read_to_string(path)?;
        report.line(row.trim_end());
    }
    for path in &names {
        let table = std::fs::read_to_string(path.with_extension("csv"))?;
        let rows: Vec<Vec<f64>> =
            table.lines().map(|line| line.split(',').filter_map(|n| n.parse().ok()).collect()).collect();
        let Some(columns) = rows.first().map(Vec::len) else { continue };
        let curve = |n: usize| plot::Curve {
            name: format!("group {n}"),
            points: rows.iter().filter_map(|row| Some((*row.first()?, *row.get(n)?))).collect(),
        };
        let curves: Vec<_> = (1..columns).map(curve).collect();
        let name = path.file_stem().and_then(|n| n.to_str()).context("a file's name")?.to_owned();
        report.plot(&name, &format!("Simulator: {name}"), &curves)?;
    }
    Ok(())
}

fn caps(peer: Peer, options: &Options, report: &mut Report) -> Result<()> {
    report.line(&format!("### One site with a limit: {}\n", peer.name()));
    report.line(
        "| limit | connections | measured, KiB/s | of the limit | worst 1 s window |\n|---|---|---|---|---|",
    );
    let mut curves = Vec::new();
    for (host, limit) in [("cap16k.test", 16.0 * KIB), ("cap1m.test", MIB), ("cap8m.test", 8.0 * MIB)] {
        for connections in [1, 10, 100] {
            let clients = [Puller::start(peer, host, connections, 0)?];
            // The first second is not counted; slow starts of many connections take longer on a busy host.
            std::thread::sleep(2 * SECOND);
            let samples = watch(&[&got(&clients)], Duration::from_secs(options.seconds.into()));
            let rate = samples.rate(0);
            report.line(&format!(
                "| {:.0} KiB/s | {connections} | {:.1} | {:.3} | ± {:.1} % |",
                limit / KIB,
                rate / KIB,
                rate / limit,
                samples.worst(0, limit)
            ));
            if host == "cap1m.test" {
                curves.extend(samples.curves(&[&format!("{connections} connections")]));
            }
        }
    }
    let name = format!("qemu-cap-{}", peer.name().split(' ').next().unwrap_or("peer").to_lowercase());
    report.plot(&name, &format!("{}: 1 MiB/s, 1, 10 and 100 connections", peer.name()), &curves)
}

/// Counted at the worker.
fn uploads(lab: &Lab, options: &Options, report: &mut Report) -> Result<()> {
    report.line("### Uploads to one site with a limit of 1 MiB/s\n");
    report.line("| connections | measured, KiB/s | of the limit | worst 1 s window |\n|---|---|---|---|");
    let sink = Sink::start(&lab.vsock())?;
    let mut curves = Vec::new();
    for connections in [1, 10, 100] {
        let client = push("up1m.test", connections, lab.directory.path())?;
        std::thread::sleep(2 * SECOND);
        let samples = watch(&[&[&sink.got]], Duration::from_secs(options.seconds.into()));
        drop(client);
        let (rate, worst) = (samples.rate(0), samples.worst(0, MIB));
        report.line(&format!("| {connections} | {:.1} | {:.3} | ± {worst:.1} % |", rate / KIB, rate / MIB));
        curves.extend(samples.curves(&[&format!("{connections} connections")]));
    }
    report.plot("qemu-uploads", "Uploads at 1 MiB/s over 1, 10 and 100 connections", &curves)
}

/// Many small responses on keep-alive connections, requested by `wrk`.
fn requests(report: &mut Report) -> Result<()> {
    report.line("### Responses of 4 KiB from one site with a limit of 1 MiB/s, asked for by wrk\n");
    report.line("| connections | requests/s | KiB/s | of the limit | p99 |\n|---|---|---|---|---|");
    for connections in [1, 10, 100] {
        let wrk = Wrk {
            path: "/4k",
            host: Some("cap1m.test"),
            connections,
            close: false,
            pinned: false,
            seconds: 10,
        };
        let figures = wrk.run()?;
        let rate = figures.bytes_per_second;
        report.line(&format!(
            "| {connections} | {:.0} | {:.1} | {:.3} | {:.1} ms |",
            figures.per_second,
            rate / KIB,
            rate / MIB,
            figures.p99_ms
        ));
    }
    report.line("");
    Ok(())
}

fn weights(report: &mut Report) -> Result<()> {
    let one = [Puller::start(Peer::Weir, "one.test", 10, 0)?];
    let three = [Puller::start(Peer::Weir, "three.test", 10, 1)?];
    std::thread::sleep(2 * SECOND);
    let samples = watch(&[&got(&one), &got(&three)], 6 * SECOND);
    let (a, b) = (samples.rate(0), samples.rate(1));
    report.line("### Two sites, weights 1:3, under a server ceiling of 16 MiB/s\n");
    report.line(&format!(
        "{:.2} and {:.2} MiB/s, together {:.2}; shares {:.2} % and {:.2} %",
        a / MIB,
        b / MIB,
        (a + b) / MIB,
        a / (a + b) * 100.0,
        b / (a + b) * 100.0
    ));
    report.plot("qemu-weights", "Weights 1:3 under 16 MiB/s", &samples.curves(&["weight 1", "weight 3"]))
}

fn comes_back(report: &mut Report) -> Result<()> {
    let busy = [Puller::start(Peer::Weir, "three.test", 50, 0)?];
    std::thread::sleep(2 * SECOND);
    let returning = [Puller::start(Peer::Weir, "promised.test", 4, 1)?];
    let samples = watch(&[&got(&returning), &got(&busy)], 4 * SECOND);
    // From the first byte, to exclude curl's own start.
    let first = samples.sums.iter().position(|s| s[0] > 0.0).unwrap_or(0);
    let promised = 4.0 * MIB;
    let slow = samples.sums.windows(3).enumerate().rposition(|(i, w)| {
        i >= first && (w[2][0] - w[0][0]) / (samples.at[i + 2] - samples.at[i]) < promised * 0.95
    });
    let back = slow.map_or(0.0, |i| (samples.at[i + 1] - samples.at[first]).max(0.0));
    report.line("### A site with a guarantee of 4 MiB/s returns to a full server\n");
    report.line(&format!(
        "{:.0} ms from its first byte to its rate (sampled every 100 ms; curl started {:.0} ms before); then {:.2} MiB/s",
        back * 1e3,
        samples.at[first] * 1e3,
        samples.rate(0) / MIB
    ));
    report.plot(
        "qemu-return",
        "A guaranteed site returns",
        &samples.curves(&["guaranteed 4 MiB/s", "weight 3"]),
    )
}

fn fair(peer: Peer, report: &mut Report) -> Result<()> {
    let mut clients = vec![[Puller::start(peer, "cap1m.test", 50, 0)?]];
    for client in 1..6 {
        clients.push([Puller::start(peer, "cap1m.test", 1, client)?]);
    }
    std::thread::sleep(3 * SECOND);
    let counters: Vec<_> = clients.iter().map(|client| got(client)).collect();
    let groups: Vec<_> = counters.iter().map(Vec::as_slice).collect();
    let samples = watch(&groups, 10 * SECOND);
    let shares: Vec<f64> = (0..6).map(|n| samples.rate(n)).collect();
    let total: f64 = shares.iter().sum();
    report.line(&format!("### One client with 50 connections against five with one each: {}\n", peer.name()));
    report.line(&format!(
        "Jain index {:.4}; shares of {:.2} MiB/s: {}",
        jain(&shares),
        total / MIB,
        shares.iter().map(|s| format!("{:.1} %", s / total * 100.0)).collect::<Vec<_>>().join(", ")
    ));
    let name = format!("qemu-fair-{}", peer.name().split(' ').next().unwrap_or("peer").to_lowercase());
    let names = ["50 connections", "1", "1", "1", "1", "1"];
    report.plot(&name, &format!("{}: shares per client", peer.name()), &samples.curves(&names))
}

fn small(peer: Peer, report: &mut Report) -> Result<()> {
    let times = |count: u32| -> Result<f64> {
        let at = std::net::SocketAddr::new(GUEST.parse()?, peer.port());
        let mut connection = Connection::open(at, 10 * SECOND)?;
        let mut times = Vec::new();
        for n in 0..count {
            std::thread::sleep(Duration::from_millis(60 + u64::from(n % 7)));
            let asked = Instant::now();
            connection.send("GET /128 HTTP/1.1\r\nHost: cap1m.test\r\n\r\n")?;
            connection.response()?.context("no response")?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() * 99 / 100])
    };
    // A server without rate limiting may leave no capacity for it at all.
    let show =
        |times: Result<f64>| times.map_or_else(|e| format!("none ({e:#})"), |ms| format!("{ms:.1} ms"));
    let unloaded = show(times(100));
    let bulk = [Puller::start(peer, "cap1m.test", 100, 0)?];
    std::thread::sleep(2 * SECOND);
    let loaded = show(times(100));
    drop(bulk);
    report.line(&format!("### A small response beside 100 bulk downloads at 1 MiB/s: {}\n", peer.name()));
    report.line(&format!("p99 {loaded}, unloaded {unloaded}\n"));
    Ok(())
}
