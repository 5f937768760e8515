//! Workers that are dead, hung or absent, and how they show in responses, on standard error and in `weir ctl status`.

use crate::bench::Bench;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use weir_tests::curl::curl;
use weir_tests::process::Process;
use weir_tests::{free_port, wait_for, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("health::ends_hangs_and_deaths", ends_hangs_and_deaths),
    ("health::a_pool_that_failed_is_tried_again", tried_again),
];

/// A server started by the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(port: u16) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg(script()).arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Process::find(self.0.id().try_into()?).context("the server is gone")?.signal(signal);
        Ok(())
    }
}

fn script() -> String {
    workspace().join("tests/e2e/unwell.py").display().to_string()
}

/// A process, a server at an address, and a name that does not exist, each in its own pool.
fn bench(port: u16) -> Result<Bench> {
    let directory = TempDir::new()?;
    std::fs::create_dir(directory.path().join("www"))?;
    let prefix = |path: &str, pool: &str| {
        format!("[[site.prefix]]\nurl = \"http://*:80/{path}/\"\npool = \"{pool}\"\n")
    };
    let pool = |name: &str, worker: String| {
        format!(
            "[[pool]]\nname = \"{name}\"\n[pool.ping]\ninterval = 1\nlimit = 3\n\
             [pool.rapid_fail]\nfailures = 0\n[[pool.worker]]\n{worker}\n"
        )
    };
    let process = format!("kind = \"process\"\ncommand = [\"python3\", {:?}, \"{{port}}\"]", script());
    let config = [
        "[[site]]\nname = \"a\"\n".to_owned(),
        prefix("process", "process") + &prefix("there", "there") + &prefix("nowhere", "nowhere"),
        pool("process", process),
        pool("there", format!("kind = \"address\"\nat = \"tcp:127.0.0.1:{port}\"")),
        pool("nowhere", "kind = \"address\"\nat = \"tcp:nosuchhost.invalid:9000\"".into()),
    ];
    Bench::boot(directory, &config.concat())
}

impl Bench {
    /// Fetches a path with curl; an error if the response is incomplete.
    fn fetch(&self, path: &str) -> Result<String> {
        Ok(curl(["--fail".to_owned(), format!("http://{}{path}", self.at)])?.text())
    }

    /// Waits until `weir ctl status` shows this.
    fn status_says(&self, what: &[&str]) -> Result<String> {
        let says = || {
            let status = self.ctl(&["status"])?;
            let found = status.lines().any(|line| what.iter().all(|word| line.contains(word)));
            Ok(found.then_some(status))
        };
        wait_for(|| format!("no {what:?} in {:?}{}", self.ctl(&["status"]), self.weir.log()), says)
    }
}

fn ends_hangs_and_deaths() -> Result<()> {
    let port = free_port()?;
    let server = Server::start(port)?;
    let bench = bench(port)?;
    bench.status_says(&["down", "tcp:nosuchhost.invalid:9000 cannot be connected to"])?;
    ensure!(bench.weir.log().contains("pool nowhere: tcp:nosuchhost.invalid:9000 is down"));
    ends(&bench)?;
    hangs(&bench, &server, port)?;
    deaths(&bench)
}

/// A response whose end is marked only by the end of the connection.
fn ends(bench: &Bench) -> Result<()> {
    for pool in ["process", "there"] {
        for len in [0, 100, 300_000] {
            let got = bench.fetch(&format!("/{pool}/whole/{len}"))?;
            ensure!(got.len() == len, "{pool}: {} of {len} bytes", got.len());
        }
        for len in [100, 300_000] {
            let got = bench.fetch(&format!("/{pool}/reset/{len}"));
            ensure!(got.is_err(), "{pool}: a reset after half of {len} bytes passes for the end");
        }
    }
    for len in [100, 300_000] {
        let got = bench.fetch(&format!("/process/killed/{len}"));
        ensure!(got.is_err(), "the death of a process after half of {len} bytes passes for the end");
    }
    ensure!(bench.counter("weir_links_unconfirmed_total")? == 0, "somebody was not told how a stream ended");
    Ok(())
}

/// A stopped process accepts connections and does nothing else.
fn hangs(bench: &Bench, server: &Server, port: u16) -> Result<()> {
    let pid: i32 = bench.fetch("/process/pid")?.parse()?;
    let worker = Process::find(pid).context("the worker is gone")?;
    worker.signal(Signal::STOP);
    server.signal(Signal::STOP)?;
    let gone = || Ok((!worker.is_there()).then_some(()));
    wait_for(|| format!("a process that is stopped is taken to be well: {}", bench.weir.log()), gone)?;
    ensure!(bench.weir.log().contains("answered no ping within its limit"), "{}", bench.weir.log());
    ensure!(bench.fetch("/process/pid")?.parse::<i32>()? != pid, "another one answers");
    let name = format!("tcp:127.0.0.1:{port}");
    bench.status_says(&["down", &name, "does not answer its pings"])?;
    ensure!(bench.weir.log().contains(&format!("pool there: {name} is down")), "{}", bench.weir.log());
    server.signal(Signal::CONT)?;
    bench.status_says(&["healthy", &name])?;
    bench.fetch("/there/pid")?;
    Ok(())
}

/// A request that kills its worker is given to two workers, and then to none.
fn deaths(bench: &Bench) -> Result<()> {
    // The death in the middle of a response has been counted by now: another worker has started since.
    let before = bench.counter("weir_fatal_targets_total")?;
    ensure!(bench.get("/process/kill")?.0 == 502);
    // Reported by the supervisor, a moment after the streams have ended.
    let told = || Ok((bench.counter("weir_fatal_targets_total")? != before).then_some(()));
    wait_for(|| bench.weir.log(), told)?;
    let pid = bench.fetch("/process/pid")?;
    for query in 0..5 {
        let (status, _) = bench.get(&format!("/process/kill?{query}"))?;
        ensure!(status == 502, "{status}");
    }
    ensure!(bench.fetch("/process/pid")? == pid, "the same request has ended another worker");
    bench.status_says(&["refused Request_Ends_Workers: 5"])?;
    Ok(())
}

/// A pool that went out of service says why, and comes back by itself once its workers start.
fn tried_again() -> Result<()> {
    let directory = TempDir::new()?;
    std::fs::create_dir(directory.path().join("www"))?;
    let mended = directory.path().join("mended");
    let line = format!("test -e {} || exit 7; exec python3 {} {{port}}", mended.display(), script());
    let config = format!(
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"app\"\n[[pool]]\nname = \"app\"\n\
         [[pool.worker]]\nkind = \"process\"\ncommand = [\"sh\", \"-c\", {line:?}]\n"
    );
    let bench = Bench::boot(directory, &config)?;
    ensure!(bench.get("/pid")?.0 == 503);
    let status = bench.status_says(&["out of service: 5 failures", "weir ctl pool app start"])?;
    ensure!(status.contains("pool app: Disabled") && status.contains("tried again at"), "{status}");
    ensure!(status.contains("exit status: 7"), "{status}");
    std::fs::write(mended, "")?;
    let comes_back = || match bench.get("/pid")?.0 {
        200 => Ok(Some(())),
        503 => Ok(None),
        status => bail!("{status}"),
    };
    wait_for(|| format!("it stays out of service: {}", bench.weir.log()), comes_back)
}
