//! A Linux worker VM with weir-agent and an unmodified server: httpbin in gunicorn, from Debian packages.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};
use weir_agent::CONTROL_PORT;
use weir_agent::protocol::{Answer, Request};
use weir_tests::curl::curl;
use weir_tests::process::Process;
use weir_tests::require::require;
use weir_tests::weir::{Weir, program};
use weir_tests::{PATIENCE, free_port, wait_for, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[("linux::python_wsgi_server", python_wsgi_server)];

/// Time limit for booting the appliance and Linux with an interpreter, on a busy host.
const START: Duration = Duration::from_secs(120);

fn python_wsgi_server() -> Result<()> {
    // Its machine is made of Debian's packages.
    if !require("apt-get", Command::new("apt-get").arg("--version").output().is_ok()) {
        return Ok(());
    }
    let machine = machine()?;
    let directory = TempDir::new()?;
    let config = directory.path().join("weir.toml");
    let file = |name: &str| machine.join(name).display().to_string();
    std::fs::write(
        &config,
        format!(
            "[[site]]\nname = \"httpbin\"\n[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"python\"\n\
             [[pool]]\nname = \"python\"\n[[pool.worker]]\nkind = \"vm\"\nkernel = {:?}\ninitrd = {:?}\n\
             append = \"weir.test\"\nmemory = \"256M\"\n",
            file("vmlinuz"),
            file("initrd")
        ),
    )?;
    let (port, control) = (free_port()?.to_string(), directory.path().join("control"));
    let words = [config.as_os_str(), "--http-port".as_ref(), port.as_ref(), "--control".as_ref()];
    let mut weir = Weir::start(words.into_iter().chain([control.as_os_str()]))?;
    let url = format!("http://{}", weir.ready(START)?);
    pages(&url)?;
    uploads(&url)?;
    in_parallel(&url)?;
    dies_and_comes_back(&weir, &url)?;
    ends_in_order_and_comes_back(&weir, &url)?;
    is_recycled_in_order(&weir, &url, &control)
}

/// The kernel and initial RAM file system, built once.
fn machine() -> Result<PathBuf> {
    let directory = workspace().join("target/httpbin");
    let output = Command::new(workspace().join("qemu/agent/httpbin.sh"))
        .arg(&directory)
        .stdin(Stdio::null())
        .output()
        .context("starting httpbin.sh")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory.canonicalize().context("target/httpbin")
}

fn pages(url: &str) -> Result<()> {
    let got = curl(["-v", &format!("{url}/get?word=weir"), &format!("{url}/html")])?;
    ensure!(got.text().contains("\"word\":\"weir\"") && got.text().contains("Moby-Dick"), "{}", got.text());
    ensure!(got.stderr.contains("Re-using existing connection"), "{}", got.stderr);
    ensure!(got.field("server").as_deref() == Some("gunicorn"), "{}", got.stderr);
    let forged = curl(["-H", "X-Forwarded-For: 192.0.2.66", &format!("{url}/ip")])?.text();
    ensure!(!forged.contains("192.0.2.66"), "{forged}");
    let missing = curl(["-o", "/dev/null", "-w", "%{http_code}", &format!("{url}/status/418")])?;
    ensure!(missing.text() == "418", "{}", missing.text());
    // The alphabet, repeated; httpbin serves at most 100 KiB.
    let range = curl([format!("{url}/range/102400")])?.stdout;
    let alphabet: Vec<u8> = (b'a'..=b'z').cycle().take(102_400).collect();
    ensure!(range == alphabet, "{} bytes, which differ", range.len());
    let chunked = curl(["-v", &format!("{url}/stream/50")])?;
    ensure!(chunked.text().lines().count() == 50, "{}", chunked.text());
    ensure!(chunked.field("transfer-encoding").as_deref() == Some("chunked"), "{}", chunked.stderr);
    Ok(())
}

/// Megabytes up and, in the response, down again.
fn uploads(url: &str) -> Result<()> {
    let form = curl(["--data", "a=1&b=two", &format!("{url}/post")])?.text();
    let form: Value = serde_json::from_str(&form).with_context(|| form.clone())?;
    ensure!(form["form"] == serde_json::json!({"a": "1", "b": "two"}), "{form}");
    let mut line = 0u32;
    let content: String = std::iter::from_fn(|| {
        line += 1;
        Some(format!("{:08x}\n", line.wrapping_mul(0x9e37_79b1)))
    })
    .take(500_000)
    .collect();
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(content.as_bytes())?;
    let data = format!("@{}", file.path().display());
    let url = format!("{url}/anything");
    for more in ["Expect:", "Transfer-Encoding: chunked"] {
        let got = curl(["-H", "Content-Type: text/plain", "-H", more, "--data-binary", &data, &url])?;
        let answer: Value = serde_json::from_slice(&got.stdout).context("not JSON")?;
        let echoed = answer["data"].as_str().context("no data")?;
        let (expected, given) = (crc32fast::hash(content.as_bytes()), crc32fast::hash(echoed.as_bytes()));
        ensure!(
            echoed.len() == content.len() && expected == given,
            "{more} {} bytes, CRC-32 {given:08x}; sent {} bytes, {expected:08x}",
            echoed.len(),
            content.len()
        );
    }
    Ok(())
}

fn in_parallel(url: &str) -> Result<()> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|n| {
                scope.spawn(move || {
                    let got = curl([format!("{url}/anything?client={n}")])?.text();
                    let answer: Value = serde_json::from_str(&got).with_context(|| got.clone())?;
                    ensure!(
                        answer["args"]["client"].as_str() == Some(&n.to_string()),
                        "client {n} got {got}"
                    );
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| bail!("panicked")))
    })
}

fn dies_and_comes_back(weir: &Weir, url: &str) -> Result<()> {
    // In the middle of a response whose first byte has arrived.
    let victim = weir.qemu("python-0")?;
    let (slow, got) = (format!("{url}/drip?duration=4&numbytes=20&code=200"), NamedTempFile::new()?);
    let path = got.path().to_owned();
    let waiting = std::thread::spawn(move || {
        curl(["--no-buffer".as_ref(), "--dump-header".as_ref(), path.as_os_str(), slow.as_ref()])
    });
    let begun = || Ok((got.as_file().metadata()?.len() > 0).then_some(()));
    wait_for(|| format!("no answer begins: {}", weir.log()), begun)?;
    victim.kill();
    let outcome = waiting.join();
    // Complete after a replay, or an error; never silence.
    if let Ok(Ok(got)) = outcome {
        let whole = got.stdout == [b'*'; 20];
        ensure!(whole || got.text().contains("502"), "{} bytes without an error", got.stdout.len());
    }
    comes_back(weir, url)
}

fn ends_in_order_and_comes_back(weir: &Weir, url: &str) -> Result<()> {
    let is = |p: &Process| p.command.contains("vhost-device-vsock") && p.command.contains("python-0-");
    let daemon = weir.processes().into_iter().find(is);
    let daemon = daemon.context("no vsock daemon of python-0")?;
    let path =
        daemon.command.split(' ').skip_while(|word| *word != "--uds-path").nth(1).context("no path")?;
    let mut control = Control::open(Path::new(path))?;
    let Answer::Ok(status) = control.ask(Request::Ping)? else { bail!("the worker is not well") };
    let memory = status.memory.context("no memory")?;
    ensure!((16 << 20..256 << 20).contains(&memory), "{memory} bytes in a machine of 256 MiB");
    ensure!(control.ask(Request::Stop { seconds: 2 })? == Answer::Stopping);
    weir.says("Shutting down: Master")?;
    ensure!(control.line()?.is_none(), "the machine goes on");
    comes_back(weir, url)
}

/// Its successor is ready before it is asked to end, and the server in it is asked too.
fn is_recycled_in_order(weir: &Weir, url: &str, control: &Path) -> Result<()> {
    let before = weir.log().len();
    let is_over = || {
        ensure!(curl([format!("{url}/get?still=1")])?.text().contains("\"still\":\"1\""), "no answer");
        let log = weir.log();
        let new = log.get(before..).unwrap_or_default();
        let over = new.contains("Shutting down: Master") && new.contains("the machine powered itself off");
        Ok(over.then_some(()))
    };
    let mut ctl = Command::new(program());
    let status = ctl.args(["ctl", "--control"]).arg(control).args(["pool", "python", "recycle"]).status()?;
    ensure!(status.success(), "weir ctl: {status}");
    wait_for(|| format!("the old machine did not end in order: {}", weir.log()), is_over)?;
    comes_back(weir, url)
}

fn comes_back(weir: &Weir, url: &str) -> Result<()> {
    let page = format!("{url}/get?again=1");
    let back = || Ok(curl([&page]).is_ok_and(|got| got.text().contains("\"again\":\"1\"")).then_some(()));
    wait_for(|| format!("the worker did not come back: {}", weir.log()), back)
}

/// A stream to the agent's control port.
struct Control(BufReader<UnixStream>);

impl Control {
    fn open(vsock: &Path) -> Result<Self> {
        let stream = UnixStream::connect(vsock).context("vsock of the worker")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut control = Self(BufReader::new(stream));
        control.send(&format!("CONNECT {CONTROL_PORT}\n"))?;
        let line = control.line()?.context("control port does not accept")?;
        ensure!(line.starts_with("OK "), "{line}");
        Ok(control)
    }

    fn ask(&mut self, request: Request) -> Result<Answer> {
        self.send(&request.to_string())?;
        let line = self.line()?.context("no answer")?;
        Answer::parse(line.as_bytes()).with_context(|| line.clone())
    }

    fn send(&mut self, line: &str) -> Result<()> {
        self.0.get_mut().write_all(line.as_bytes()).context("asking")
    }

    /// `None` at the end of the stream.
    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end_matches('\n').to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error).context("no answer"),
        }
    }
}
