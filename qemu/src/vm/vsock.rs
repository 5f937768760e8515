//! The vsock daemon of a VM: when it accepts connections, and whether it still works.
//!
//! The event loop of vhost-device-vsock 0.3 ends, silently and for good, if a host process connects while QEMU is setting up the
//! queues: the VM would boot with a dead vsock. The daemon does not tell when that is over, but the kernel does: the loop's epoll
//! set (`/proc/PID/fdinfo`, proc(5)) then contains the queues' numbers. Until then the socket has another name, so that nobody
//! connects.

use super::Host;
use super::serial::Serial;
use anyhow::{Context, Result, bail};
use image::place;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// How long the daemon may take to open its sockets.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long the event loop's thread may take to set its name.
const NAME_LIMIT: Duration = Duration::from_secs(1);
/// Interval of checks on a booting VM.
const READY_PAUSE: Duration = Duration::from_millis(5);
/// Extra delay: a queue is added to the set just before it is ready, and the process may be interrupted in between. An estimate.
const SETTLED: Duration = Duration::from_millis(20);
/// Interval of checks whether the event loop still runs.
const HEALTH_PAUSE: Duration = Duration::from_millis(250);
/// Name that the event loop's thread gives itself.
const EVENT_LOOP: &str = "vring_worker";
/// What the event loop watches from the start (exit, host sockets, other VMs), in hexadecimal as in proc(5).
const FROM_THE_START: [&str; 3] = ["3", "4", "5"];
/// Queues it watches once they are set up: receive and transmit.
const QUEUES: [&str; 2] = ["0", "1"];

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    /// The event loop's thread, if this daemon has one of that name.
    event_loop: Option<PathBuf>,
    /// Renames the socket; aborted with the daemon.
    _gate: JoinSet<()>,
    hidden: PathBuf,
}

impl Daemon {
    /// Starts the daemon for the VM with this context identifier. QEMU must connect to `control`. The host reaches the VM at
    /// `vsock`, which appears once the VM's driver has set up the device.
    pub(super) async fn start(
        host: &Host,
        cid: u32,
        control: &Path,
        vsock: &Path,
        serial: &Serial,
    ) -> Result<Self> {
        let hidden = hidden(vsock);
        for stale in [control, vsock, &hidden] {
            place::remove_socket(stale)?;
        }
        let cid = cid.to_string();
        let words = ["--guest-cid".as_ref(), cid.as_ref(), "--socket".as_ref(), control.as_os_str()];
        let words = words.into_iter().chain(["--uds-path".as_ref(), vsock.as_os_str()]);
        let program = &host.programs.vsock_daemon;
        let mut child = host.launcher.spawn(program, words)?;
        serial.follow(child.stdout.take(), "vsock")?;
        serial.follow(child.stderr.take(), "vsock")?;
        wait_for_socket(control, &mut child, serial).await?;
        let process = PathBuf::from(format!("/proc/{}", child.id().context("it has ended")?));
        let event_loop = event_loop(&process).await;
        let mut gate = JoinSet::new();
        if let Some((_, epoll)) = event_loop.as_ref().zip(epoll_set(&process)) {
            place::move_socket(vsock, &hidden).context("hiding its socket")?;
            let (from, vsock) = (hidden.clone(), vsock.to_owned());
            gate.spawn(async move {
                while !watches(&epoll, &QUEUES) {
                    sleep(READY_PAUSE).await;
                }
                sleep(SETTLED).await;
                if let Err(error) = place::move_socket(&from, &vsock) {
                    eprintln!("[weir] {} is unreachable: {error}", vsock.display());
                }
            });
        } else {
            eprintln!(
                "[weir] {} is not the known vsock daemon (0.3): connecting while a VM boots may break it unnoticed",
                program.display()
            );
        }
        Ok(Self { child, event_loop, _gate: gate, hidden })
    }

    /// Waits until the daemon has ended or stopped working, and says how.
    pub(super) async fn ended(&mut self) -> String {
        let described = |status: io::Result<ExitStatus>| match status {
            Ok(status) => format!("its vsock daemon ended ({status})"),
            Err(error) => format!("waiting for the vsock daemon: {error}"),
        };
        let Some(thread) = self.event_loop.clone() else { return described(self.child.wait().await) };
        let mut looks = interval(HEALTH_PAUSE);
        loop {
            tokio::select! {
                status = self.child.wait() => return described(status),
                _ = looks.tick() => if !thread.exists() && matches!(self.child.try_wait(), Ok(None)) {
                    return "the event loop of its vsock daemon has ended".into();
                }
            }
        }
    }

    /// Kills the daemon and waits for its end.
    pub(super) async fn kill(&mut self) {
        // Fails only if it has been waited for already.
        let _ = self.child.kill().await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Exists only if the VM never set up its device.
        let _ = place::remove_socket(&self.hidden);
    }
}

/// The socket's name until it accepts connections.
fn hidden(vsock: &Path) -> PathBuf {
    let mut name = OsString::from(vsock);
    name.push(".closed");
    name.into()
}

async fn wait_for_socket(path: &Path, daemon: &mut Child, serial: &Serial) -> Result<()> {
    let limit = Instant::now() + START_LIMIT;
    while !path.exists() {
        if let Some(status) = daemon.try_wait()? {
            bail!("ended at once ({status}) {}", serial.tail());
        }
        if Instant::now() > limit {
            bail!("did not open its socket within {} s", START_LIMIT.as_secs());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The event loop's thread in `/proc`, once it has set its name.
async fn event_loop(process: &Path) -> Option<PathBuf> {
    let limit = Instant::now() + NAME_LIMIT;
    while Instant::now() < limit {
        let threads = fs::read_dir(process.join("task")).ok()?;
        let mut threads = threads.filter_map(|thread| Some(thread.ok()?.path()));
        let is = |thread: &PathBuf| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == EVENT_LOOP)
        };
        if let Some(thread) = threads.find(is) {
            return Some(thread);
        }
        sleep(READY_PAUSE).await;
    }
    None
}

/// The event loop's epoll set in `/proc`.
fn epoll_set(process: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(process.join("fdinfo")).ok()?;
    files.filter_map(|file| Some(file.ok()?.path())).find(|file| watches(file, &FROM_THE_START))
}

/// Whether this file is an epoll set with entries for these data values.
fn watches(file: &Path, data: &[&str]) -> bool {
    fs::read_to_string(file).is_ok_and(|text| data.iter().all(|data| has_entry(&text, data)))
}

fn has_entry(text: &str, data: &str) -> bool {
    let of = |line: &str| {
        Some(line.strip_prefix("tfd:")?.split_once("data:")?.1.split_whitespace().next()? == data)
    };
    text.lines().any(|line| of(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t26\n\
        tfd:        4 events:       19 data:                4  pos:0 ino:1a sdev:10\n\
        tfd:        5 events:       19 data:                5  pos:0 ino:1a sdev:10\n\
        tfd:        9 events:       19 data:                3  pos:0 ino:1a sdev:10\n";

    #[test]
    fn epoll_sets_are_read() {
        assert!(FROM_THE_START.iter().all(|data| has_entry(SET, data)));
        // A descriptor's number is not its data, nor a part of it.
        assert!(!has_entry(SET, "9") && !has_entry(SET, "0") && !has_entry(SET, "1a"));
        let queues = "tfd:       17 events:       19 data:                0  pos:0 ino:1a sdev:10\n\
                      tfd:       18 events:       19 data:                1  pos:0 ino:1a sdev:10\n";
        assert!(QUEUES.iter().all(|data| has_entry(&format!("{SET}{queues}"), data)));
    }
}
