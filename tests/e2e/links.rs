//! Links to workers over TLS: with `weir-agent`, and with OpenSSL.

use crate::bench::{Bench, get, processes, processes_with};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use weir_agent::arguments::TlsFiles;
use weir_agent::server::{self, Bell, Counters};
use weir_agent::target::Target;
use weir_agent::tls::Tls;
use weir_tests::raw::Connection;
use weir_tests::{PATIENCE, free_port, pattern, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("links::tls_with_weir_agent", weir_agent),
    ("links::tls_with_openssl", openssl),
    ("links::workers_that_are_not_who_they_should_be", impostors),
];

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// Certificates for the appliance, for its workers and for an impostor.
fn lab() -> Result<Lab> {
    let lab = Lab::new()?;
    lab.certificate("weir", EC, "ca", "weir.appliance", 30)?;
    lab.certificate("worker", EC, "ca", "app.workers", 30)?;
    lab.certificate("rsa", "-newkey rsa:2048", "ca", "app.workers", 30)?;
    lab.certificate("namesake", EC, "ca", "other.workers", 30)?;
    Ok(lab)
}

/// `[pool.tls]` and the keys before it.
fn secured(lab: &Lab, keys: &str) -> String {
    format!(
        "{keys}[pool.tls]\nname = \"app.workers\"\nca = [{:?}]\ncertificate = {{ chain = {:?}, key = {:?} }}\n",
        lab.path("ca.pem"),
        lab.path("weir.pem"),
        lab.path("weir.key")
    )
}

/// The application behind an agent.
struct Application(Child);

impl Application {
    fn start(directory: &Path, port: u16) -> Result<Self> {
        let pattern_file = directory.join("pattern");
        std::fs::write(&pattern_file, pattern(1 << 20))?;
        let mut command = Command::new("python3");
        command.arg(workspace().join("tests/e2e/worker.py")).arg(port.to_string());
        let child = command.arg(pattern_file).arg(directory.join("log")).spawn().context("python3")?;
        Ok(Self(child))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Small and large, in both directions, many at a time.
fn exchange(bench: &Bench) -> Result<()> {
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)));
    let at = bench.at;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    let mut connection = Connection::open(at, PATIENCE)?;
                    for size in [0, 1, 5000, 100_000, 1_000_000] {
                        let (status, content) = get(&mut connection, &format!("/api/bytes/{size}"))?;
                        ensure!(status == 200 && content == pattern(size), "{status}, {size} bytes");
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a panic"))?)
    })?;
    let mut upload = Connection::open(bench.at, PATIENCE)?;
    let content = pattern(2_000_000);
    upload.send(format!(
        "POST /api/mark/m HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ))?;
    upload.send(content)?;
    let response = upload.response()?.context("no response")?;
    ensure!(response.status == 200 && response.content == b"m", "{}", response.status);
    let handshakes = bench.counter("weir_link_handshakes_total")?;
    ensure!((1..=16).contains(&handshakes), "{handshakes} handshakes");
    for name in ["link_handshakes_failed", "links_broken", "links_cut"] {
        ensure!(bench.counter(&format!("weir_{name}_total"))? == 0, "{name}");
    }
    Ok(())
}

fn weir_agent() -> Result<()> {
    let lab = lab()?;
    let directory = lab.0.path();
    let port = free_port()?;
    let _application = Application::start(directory, port)?;
    let files = TlsFiles {
        chain: lab.path("worker.pem").into(),
        key: lab.path("worker.key").into(),
        ca: lab.path("ca.pem").into(),
        name: "weir.appliance".into(),
    };
    let tls = Tls::load(&files).map_err(anyhow::Error::msg)?;
    // The host has no vsock, so a Unix socket takes the place of the worker's.
    let socket = directory.join("agent");
    let listener = UnixListener::bind(&socket)?;
    let (counters, stop) = (Arc::<Counters>::default(), Arc::new(Bell::new()?));
    let target = Target::Tcp(([127, 0, 0, 1], port).into());
    let (accepting, bell) = (counters.clone(), stop.clone());
    let agent = std::thread::spawn(move || {
        let of_stream = accepting.clone();
        let serve = move |stream| server::relay(&stream, 7, Some(&tls), &target, &of_stream);
        server::accept(listener.into(), 256, &accepting, &bell, serve);
    });
    let worker = format!("[[pool.worker]]\nkind = \"address\"\nat = \"unix:{}\"\n", socket.display());
    let bench = Bench::start(|_| secured(&lab, "") + &worker)?;
    let told = exchange(&bench);
    drop(bench);
    stop.ring();
    ensure!(agent.join().is_ok(), "the agent");
    told
}

/// Python's ssl module: an RSA certificate, and unsolicited tickets.
fn openssl() -> Result<()> {
    let lab = lab()?;
    let files = ["rsa.pem", "rsa.key", "ca.pem"].map(|name| lab.path(name));
    let files = files.each_ref().map(String::as_str);
    let bench =
        Bench::start(|directory| processes_with(directory, &secured(&lab, "min_workers = 1\n"), 1, &files))?;
    exchange(&bench)
}

/// Impostors get no requests, and the counters show why.
fn impostors() -> Result<()> {
    let lab = lab()?;
    let keys = "min_workers = 1\nqueue_timeout = 3\n";
    let namesake = ["namesake.pem", "namesake.key", "ca.pem"].map(|name| lab.path(name));
    let namesake = namesake.each_ref().map(String::as_str);
    let bench = Bench::start(|directory| processes_with(directory, &secured(&lab, keys), 1, &namesake))?;
    let (status, _) = bench.get("/api/bytes/10")?;
    ensure!(status == 503, "{status} from a worker of another name");
    ensure!(bench.counter("weir_link_certificates_of_other_names_total")? > 0);
    ensure!(bench.counter("weir_link_handshakes_total")? == 0);
    drop(bench);
    let bench = Bench::start(|directory| processes(directory, &secured(&lab, keys), 1))?;
    let (status, _) = bench.get("/api/bytes/10")?;
    ensure!(status == 503, "{status} from a worker without TLS");
    ensure!(bench.counter("weir_link_handshakes_failed_total")? > 0);
    ensure!(bench.get("/")? == (200, b"static\n".to_vec()), "files are served all the same");
    Ok(())
}
