//! The network between clients and the appliance: simultaneous connections, and client addresses seen by the appliance.

use crate::bench::Bench;
use crate::lifecycle::START;
use crate::logs::read_logs;
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use weir_tests::curl::curl;
use weir_tests::net::Namespace;
use weir_tests::process::survivors;
use weir_tests::require::require;
use weir_tests::weir::{Weir, command, program};
use weir_tests::{PATIENCE, free_port, may_mount, pattern};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("network::a_thousand_at_once_are_all_answered", thousand),
    ("network::clients_have_their_addresses", addresses),
    ("network::a_tap_of_its_own_comes_and_goes", own_tap),
    ("network::without_passt_there_is_qemus_own", without_passt),
    ("network::an_end_of_passt_is_noticed", passt_killed),
];

const CLIENTS: usize = 1000;
const FILE: usize = 4096;

/// A site with files; `more`: additional lines.
fn site(directory: &Path, more: &str) -> Result<String> {
    std::fs::create_dir(directory.join("www"))?;
    std::fs::write(directory.join("www/file"), pattern(FILE))?;
    Ok(format!("{more}[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n"))
}

/// All clients connect, and send their requests once the last one is connected.
fn thousand() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let directory = TempDir::new()?;
    let config = site(directory.path(), "")?;
    let bench = Bench::boot(directory, &config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(async {
        let connected = Arc::new(Barrier::new(CLIENTS));
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(client(bench.at, connected.clone()))).collect();
        tokio::time::timeout(PATIENCE, async {
            for (number, client) in clients.into_iter().enumerate() {
                client.await?.with_context(|| format!("client {number}"))?;
            }
            anyhow::Ok(())
        })
        .await
    });
    answers
        .with_context(|| format!("not all answered within {PATIENCE:?}"))?
        .with_context(|| format!("{}{}", bench.ctl(&["metrics"]).unwrap_or_default(), bench.weir.log()))
}

async fn client(at: SocketAddr, connected: Arc<Barrier>) -> Result<()> {
    let stream = TcpStream::connect(at).await;
    connected.wait().await;
    let mut stream = stream.context("connecting")?;
    stream.write_all(b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("reading")?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{:?}",
        String::from_utf8_lossy(&answer[..answer.len().min(80)])
    );
    ensure!(answer.ends_with(&pattern(FILE)), "{} bytes", answer.len());
    Ok(())
}

/// In a separate network namespace where this machine has several addresses.
fn addresses() -> Result<()> {
    if !Namespace::required() {
        return Ok(());
    }
    let namespace = Namespace::new()?;
    for address in ["192.0.2.1/24", "192.0.2.7/24", "192.0.2.8/24"] {
        let added = namespace.command("ip").args(["addr", "add", address, "dev", "lo"]).status()?;
        ensure!(added.success(), "adding {address}");
    }
    let directory = TempDir::new()?;
    let log = "[log]\ndirectory = \"logs\"\nfields = [\"c-ip\", \"cs-uri-stem\"]\n";
    std::fs::write(directory.path().join("weir.toml"), site(directory.path(), log)?)?;
    let mut up = namespace.command(program());
    up.arg("up").arg(directory.path().join("weir.toml")).args(["--listen", "0.0.0.0", "--http-port", "80"]);
    let mut weir = Weir::start_command(&mut up)?;
    ensure!(weir.ready(START)?.to_string() == "127.0.0.1:80", "{}", weir.log());
    for (from, path) in [("192.0.2.7", "/seven"), ("192.0.2.8", "/eight"), ("127.0.0.1", "/itself")] {
        let to = if from.starts_with("127") { "127.0.0.1" } else { "192.0.2.1" };
        let mut curl = namespace.command("curl");
        curl.args(["-sS", "--max-time", "300", "--interface", from, "-o", "/dev/null"]);
        let status = curl.arg(format!("http://{to}{path}")).status()?;
        ensure!(status.success(), "{from}: {status}");
    }
    weir.signal(rustix::process::Signal::TERM)?;
    ensure!(weir.wait(PATIENCE)?.success(), "{}", weir.log());
    let lines = read_logs(&directory.path().join("logs"), "access")?;
    // This machine is the gateway of the appliance's network.
    for line in ["192.0.2.7 /seven", "192.0.2.8 /eight", "10.0.2.2 /itself"] {
        ensure!(lines.iter().any(|found| found == line), "no {line:?}: {lines:#?}");
    }
    Ok(())
}

fn without_passt() -> Result<()> {
    // Hidden from this command in a mount namespace.
    if !may_mount() {
        return Ok(());
    }
    let directory = TempDir::new()?;
    let config = directory.path().join("weir.toml");
    std::fs::write(&config, site(directory.path(), "")?)?;
    let hide = "mount --bind /dev/null \"$(command -v passt)\"; exec \"$@\"";
    let (http, https) = (free_port()?.to_string(), free_port()?.to_string());
    let mut up = command("unshare");
    up.args(["--mount", "sh", "-c", hide, "sh"]).arg(program());
    up.arg("up").arg(&config).args(["--http-port", &http, "--https-port", &https]);
    let mut weir = Weir::start_command(&mut up)?;
    let at = weir.ready(START)?;
    ensure!(curl([format!("http://{at}/file")])?.stdout == pattern(FILE));
    let log = weir.log();
    ensure!(log.lines().filter(|line| line.contains("install passt")).count() == 1, "{log}");
    Ok(())
}

fn passt_killed() -> Result<()> {
    let directory = TempDir::new()?;
    let config = site(directory.path(), "")?;
    let mut bench = Bench::boot(directory, &config)?;
    let processes = bench.weir.processes();
    let is = |command: &str| command.split(' ').next().is_some_and(|program| program.contains("passt"));
    let passt = processes.iter().find(|process| is(&process.command)).context("no passt")?;
    passt.kill();
    let status = bench.weir.wait(START)?;
    let log = bench.weir.log();
    ensure!(
        !status.success()
            && log.lines().any(|line| line.starts_with("weir: appliance: its network program, passt")),
        "{log}"
    );
    ensure!(survivors(&processes, PATIENCE).is_empty(), "still there");
    Ok(())
}

/// Its ports are forwarded from this machine's, and everything is removed at the end, or, after a killed run, by the next one.
fn own_tap() -> Result<()> {
    if !Namespace::required() || !require("nft", image::toolchain::in_path("nft").is_some()) {
        return Ok(());
    }
    let namespace = Namespace::new()?;
    let added = namespace.command("ip").args(["addr", "add", "192.0.2.1/24", "dev", "lo"]).status()?;
    ensure!(added.success(), "adding an address");
    let directory = TempDir::new()?;
    let config = directory.path().join("weir.toml");
    let log = "[log]\ndirectory = \"logs\"\nfields = [\"c-ip\", \"cs-uri-stem\"]\n";
    std::fs::write(&config, site(directory.path(), log)?)?;
    let start = |listen: &str| -> Result<Weir> {
        let mut up = namespace.command(program());
        up.arg("up").arg(&config).args(["--net", "tap", "--listen", listen, "--http-port", "8080"]);
        Weir::start_command(&mut up)
    };
    let said = |words: &[&str]| -> Result<String> {
        let output = namespace.command(words[0]).args(&words[1..]).output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let left = || -> Result<String> { Ok(said(&["ip", "-o", "link"])? + &said(&["nft", "list", "tables"])?) };
    let before = left()?;
    let mut refused = start("0.0.0.0")?;
    ensure!(
        !refused.wait(PATIENCE)?.success() && refused.log().contains("net.ipv4.ip_forward"),
        "{}",
        refused.log()
    );
    said(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;

    let mut first = start("127.0.0.1")?;
    first.ready(START)?;
    first.signal(rustix::process::Signal::KILL)?;
    first.wait(PATIENCE)?;
    ensure!(left()? != before, "a killed run leaves its rules behind");
    let mut second = start("0.0.0.0")?;
    let at = second.ready(START)?;
    ensure!(at.to_string() == "127.0.0.1:8080", "{at}");
    for (to, path) in [("127.0.0.1", "/itself"), ("192.0.2.1", "/other")] {
        said(&["curl", "-sS", "--max-time", "300", "-o", "/dev/null", &format!("http://{to}:8080{path}")])?;
    }
    second.signal(rustix::process::Signal::TERM)?;
    ensure!(second.wait(PATIENCE)?.success(), "{}", second.log());
    ensure!(left()? == before, "still there: {}", left()?);
    let lines = read_logs(&directory.path().join("logs"), "access")?;
    for line in ["10.83.0.1 /itself", "192.0.2.1 /other"] {
        ensure!(lines.iter().any(|found| found == line), "no {line:?}: {lines:#?}");
    }
    Ok(())
}
