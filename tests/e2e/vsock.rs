//! The vsock daemon, whose event loop does not survive a connection from the host while QEMU sets its queues up.

use crate::bench::{Bench, processes, vms};
use anyhow::{Result, ensure};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_tests::pattern;

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("vsock::connected_to_while_it_boots", connected_to_while_it_boots),
    ("vsock::a_dead_one_is_noticed", a_dead_one_is_noticed),
];

/// Boots in which the daemon may be lucky.
const ATTEMPTS: usize = 5;
const NOTICED: Duration = Duration::from_secs(5);

/// Connects to a socket over and over, as supervisors do that wait for a VM, only more often.
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
    /// After the VM, whose end ends what is under way.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Asks for a port at which nobody listens, and waits for the answer: the daemon does not survive those who do not.
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

/// `weir up` ends, for whoever looks after it to start it again.
fn a_dead_one_is_noticed() -> Result<()> {
    for _ in 0..ATTEMPTS {
        let eager = RefCell::new(None);
        let booted = Bench::apart(|directory| {
            *eager.borrow_mut() = Some(Eager::start(&directory.join("run/appliance.vsock.closed")));
            vms("", 1)
        });
        let log = match booted {
            Err(error) => format!("{error:#}"),
            Ok(mut bench) => match bench.weir.wait(NOTICED) {
                Err(_) => continue,
                Ok(status) => {
                    ensure!(!status.success(), "{status}");
                    bench.weir.log()
                }
            },
        };
        ensure!(log.contains("its vsock daemon has given up its event loop"), "{log}");
        return Ok(());
    }
    anyhow::bail!("the daemon has survived {ATTEMPTS} boots: is there need for this any more?")
}
