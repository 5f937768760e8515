//! The vsock daemon, whose event loop does not survive a connection from the host while QEMU sets up its queues.

use crate::bench::{Bench, processes};
use crate::lifecycle::{START, files_only};
use anyhow::{Context, Result, ensure};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::weir::{Weir, command, program};
use weir_tests::{PATIENCE, free_port, pattern, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("vsock::connected_to_while_it_boots", connected_to_while_it_boots),
    ("vsock::a_dead_one_is_noticed", a_dead_one_is_noticed),
];

const DAEMON: &str = "vhost-device-vsock";

/// Connects to a socket repeatedly, like supervisors waiting for a VM, only more often.
struct Eager {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Eager {
    fn start(path: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let (path, stop) = (path.to_owned(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = ask(&path);
                    std::thread::sleep(Duration::from_micros(200));
                }
            })
        };
        let threads = (0..4).map(thread).collect();
        Self { stop, threads }
    }
}

impl Drop for Eager {
    /// After the VM, whose end ends open connections.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Connects to a port without a listener and waits for the reply, because the daemon does not survive clients that do not wait.
fn ask(path: &Path) -> std::io::Result<usize> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"CONNECT 4321\n")?;
    stream.read(&mut [0; 16])
}

fn connected_to_while_it_boots() -> Result<()> {
    let eager = RefCell::new(None);
    let bench = Bench::apart(|directory| {
        *eager.borrow_mut() = Some(Eager::start(&directory.join("run/appliance.vsock")));
        processes(directory, "min_workers = 1\n", 1)
    })?;
    let _supervisor = bench.supervise()?;
    ensure!(bench.get("/api/bytes/1000")? == (200, pattern(1000)), "{}", bench.weir.log());
    Ok(())
}

/// `weir up` ends, so that a service manager can restart it. The fault comes from a daemon of the test's own: the real one,
/// beside a process that `weir up` takes for its event loop and that ends on request.
fn a_dead_one_is_noticed() -> Result<()> {
    let directory = TempDir::new()?;
    let config = files_only(directory.path())?;
    let (own, told) = (directory.path().join("bin"), directory.path().join("give-up"));
    std::fs::create_dir(&own)?;
    std::os::unix::fs::symlink(workspace().canonicalize()?.join("tests/e2e/daemon.py"), own.join(DAEMON))?;
    let others = std::env::var_os("PATH").unwrap_or_default();
    let installed = workspace().canonicalize()?.join("target/tools/bin");
    let others: Vec<_> = std::env::split_paths(&others).chain([installed]).collect();
    let real = others.iter().map(|place| place.join(DAEMON)).find(|path| path.is_file());
    let mut up = command(program());
    up.arg("up").arg(config).args(["--http-port", &free_port()?.to_string()]);
    up.args(["--https-port", &free_port()?.to_string()]);
    up.env("PATH", std::env::join_paths([own].iter().chain(&others))?);
    up.env("WEIR_TEST_DAEMON", real.context("no vsock daemon")?).env("WEIR_TEST_GIVE_UP", &told);
    let mut weir = Weir::start_command(&mut up)?;
    weir.ready(START)?;
    std::fs::write(told, "")?;
    let status = weir.wait(PATIENCE)?;
    let log = weir.log();
    ensure!(!status.success(), "{status}: {log}");
    ensure!(log.contains("the event loop of its vsock daemon has ended"), "{log}");
    Ok(())
}
