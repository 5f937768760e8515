//! A running `weir up`.

use crate::process::{Process, descendants};
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A supervisor with its VMs. Dropping it ends it.
#[derive(Debug)]
pub struct Weir {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Disconnected once all of standard error has been read.
    logged: Receiver<()>,
    stdout: Receiver<String>,
    https: Option<SocketAddr>,
    /// Whether standard error is still being read.
    listens: Arc<AtomicBool>,
}

/// The `weir` program: `WEIR`, or the checkout's script, which builds and runs it.
pub fn program() -> PathBuf {
    std::env::var_os("WEIR").map_or_else(|| crate::workspace().join("qemu/weir"), PathBuf::from)
}

/// Starts a command that ends with this process. Must be called on the main thread, because the kernel checks the thread.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program).stdin(Stdio::null());
    command
}

impl Weir {
    /// Starts `weir up ARGS`, with a free https port unless they specify one, because tests run in parallel.
    pub fn start(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let mut up = command(program());
        up.arg("up").args(args);
        if !up.get_args().any(|arg| arg == "--https-port") {
            up.args(["--https-port", &crate::free_port()?.to_string()]);
        }
        Self::start_command(&mut up)
    }

    /// Starts a prepared `weir up` or `weir supervise`.
    pub fn start_command(command: &mut Command) -> Result<Self> {
        // In its own process group, as a shell would do, so that signals to it do not end the tests.
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting weir through setpriv")?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, stdout) = channel();
        let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        each_line(out, move |line| sender.send(line).is_ok());
        let listens = Arc::new(AtomicBool::new(true));
        let goes_on = listens.clone();
        let lines = log.clone();
        let (logging, logged) = channel::<()>();
        each_line(err, move |line| {
            let _until_the_end = &logging;
            if std::env::var_os("WEIR_TEST_LOG").is_some() {
                eprintln!("{line}");
            }
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_str(&line);
            lines.push('\n');
            goes_on.load(Ordering::Relaxed)
        });
        Ok(Self { child, log, logged, stdout, https: None, listens })
    }

    /// Waits for the next line on standard output.
    pub fn line(&self, patience: Duration) -> Result<String> {
        self.stdout.recv_timeout(patience).map_err(|error| {
            if error == RecvTimeoutError::Disconnected {
                self.wait_for_log();
            }
            anyhow!("not ready: {}", self.log())
        })
    }

    /// Waits for the `ready` line and returns the address in it.
    pub fn ready(&mut self, patience: Duration) -> Result<SocketAddr> {
        let line = self.line(patience)?;
        let mut urls = line.strip_prefix("ready ").unwrap_or_default().split(' ');
        let mut url = |scheme: &str| urls.next().and_then(|url| url.strip_prefix(scheme)?.parse().ok());
        let http = url("http://").with_context(|| format!("stdout says {line:?}"))?;
        self.https = url("https://");
        Ok(http)
    }

    /// The second address of the `ready` line.
    pub fn https(&self) -> Result<SocketAddr> {
        self.https.context("no https in the ready line")
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes its standard error after the next line, like a terminal that is closed.
    pub fn stop_listening(&self) {
        self.listens.store(false, Ordering::Relaxed);
    }

    /// The processes it started.
    pub fn processes(&self) -> Vec<Process> {
        descendants(self.pid())
    }

    /// QEMU of the VM with this name, to which the supervisor may have appended a number.
    pub fn qemu(&self, name: &str) -> Result<Process> {
        let mark = format!(" -name {name}");
        let is =
            |p: &Process| p.command.split_once(&mark).is_some_and(|(_, rest)| rest.starts_with([' ', '-']));
        let found = self.processes().into_iter().find(is);
        found.with_context(|| format!("no QEMU named {name}"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid()).context("pid")?;
        kill_process(pid, signal).context("signalling weir")
    }

    /// Waits until a line of standard error contains this.
    pub fn says(&self, text: &str) -> Result<()> {
        let there = || Ok(self.log().contains(text).then_some(()));
        crate::wait_for(|| format!("no {text:?} in {}", self.log()), there)
    }

    /// Waits until all its output has been read: after its end, the last lines may still be in the pipe.
    fn wait_for_log(&self) {
        // Nothing is ever sent; the channel is disconnected when the reader ends.
        let _ = self.logged.recv_timeout(crate::PATIENCE);
    }

    /// Waits for its end and its last output.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let limit = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.wait_for_log();
                return Ok(status);
            }
            if Instant::now() > limit {
                bail!("weir still runs after {patience:?}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process ID, which is also its process group ID.
    pub fn pid(&self) -> i32 {
        // setpriv becomes the program it runs.
        i32::try_from(self.child.id()).unwrap_or(0)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // The second signal ends requests that a test has left in progress.
        let ends = |limit| self.signal(Signal::TERM).is_ok() && self.wait(Duration::from_secs(limit)).is_ok();
        if !([2, 10].into_iter().any(ends)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads lines until `take` returns false.
fn each_line(output: impl Read + Send + 'static, mut take: impl FnMut(String) -> bool + Send + 'static) {
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).all(&mut take));
}
