//! Shared parts of the tests and benchmarks that boot real machines.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod curl;
pub mod machine;
pub mod net;
pub mod process;
pub mod raw;
pub mod require;
pub mod weir;

use anyhow::{Context, Result, ensure};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time limit that only a failure reaches, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Polling interval.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Polls until there is a result, at most for [`PATIENCE`]; the error says what was missing.
pub fn wait_for<T>(missing: impl Fn() -> String, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < limit, "not within {PATIENCE:?}: {}", missing());
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// Whether a test that mounts something for one command alone can continue ([`require`](require::require)).
#[must_use]
pub fn may_mount() -> bool {
    let mount = ["--mount", "mount", "-t", "tmpfs", "weir-test", "/tmp"];
    let tried = std::process::Command::new("unshare").args(mount).output();
    require::require("mounts", tried.is_ok_and(|output| output.status.success()))
}

/// The checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A TCP port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// The pattern of the demo's files and of `/api/bytes/N` ([`weir_worker::pattern`]).
pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    weir_worker::pattern::fill(0, &mut bytes);
    bytes
}
