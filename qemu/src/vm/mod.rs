//! One virtual machine: a vsock daemon of its own, QEMU, and the serial line.

pub mod net;
pub mod qemu;
pub mod serial;

use crate::host::accel::Accel;
use crate::host::child::Launcher;
use crate::host::programs::Programs;
use anyhow::{Context, Result, bail};
use net::Net;
use serial::Serial;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// How long the vsock daemon may take to open its socket.
const DAEMON_START_LIMIT: Duration = Duration::from_secs(10);

/// What a VM is.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Prefix of its serial lines and name in messages.
    pub name: String,
    /// The multiboot loader, or a Linux kernel.
    pub kernel: PathBuf,
    /// The image that the loader starts, or the Linux kernel's initial RAM file system.
    pub initrd: PathBuf,
    /// Command line of a Linux kernel; the multiboot loader takes none.
    pub append: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Its vsock context identifier. Only its own daemon sees it.
    pub cid: u32,
    /// Accelerator.
    pub accel: Accel,
    /// Network card, if it has one.
    pub net: Option<Net>,
    /// Further arguments for QEMU.
    pub more: Vec<String>,
}

/// What starting a VM takes of the host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Starts children.
    pub launcher: Launcher,
    /// QEMU and the vsock daemon.
    pub programs: Programs,
}

/// A running VM. Dropping it kills it.
#[derive(Debug)]
pub struct Vm {
    name: String,
    qemu: Child,
    daemon: Child,
    serial: Serial,
    vsock: PathBuf,
}

impl Vm {
    /// Starts the daemon and QEMU. `directory`, which must exist, gets their sockets; `vsock` is the path that the
    /// host reaches the VM at, and `vsock` + `_PORT` those that the VM reaches on the host.
    pub async fn start(spec: &Spec, host: &Host, directory: &Path, vsock: &Path) -> Result<Self> {
        let control = directory.join("vhost-user");
        for stale in [&control, vsock] {
            let _ = std::fs::remove_file(stale);
        }
        let mut daemon = host.launcher.spawn(
            &host.programs.vsock_daemon,
            [
                "--guest-cid".as_ref(),
                spec.cid.to_string().as_ref(),
                "--socket".as_ref(),
                control.as_os_str(),
                "--uds-path".as_ref(),
                vsock.as_os_str(),
            ],
        )?;
        let serial = Serial::new(&spec.name);
        serial.follow(daemon.stdout.take(), "vsock")?;
        serial.follow(daemon.stderr.take(), "vsock")?;
        wait_for_socket(&control, &mut daemon, &serial)
            .await
            .with_context(|| format!("{}: vsock daemon", spec.name))?;
        let mut qemu = host.launcher.spawn(&host.programs.qemu, qemu::args(spec, &control))?;
        serial.follow(qemu.stdout.take(), "")?;
        serial.follow(qemu.stderr.take(), "qemu")?;
        Ok(Self { name: spec.name.clone(), qemu, daemon, serial, vsock: vsock.to_owned() })
    }

    /// Waits for the VM's end, which needs both QEMU and the daemon, and says why in one line. A QEMU whose daemon
    /// is gone still runs, but its vsock is dead for good.
    pub async fn ended(&mut self) -> String {
        let cause = tokio::select! {
            status = self.qemu.wait() => match status {
                Ok(status) => qemu::describe_exit(status),
                Err(error) => format!("waiting for QEMU: {error}"),
            },
            status = self.daemon.wait() => match status {
                Ok(status) => format!("its vsock daemon ended ({status})"),
                Err(error) => format!("waiting for the vsock daemon: {error}"),
            },
        };
        // The last lines may still be in the pipe.
        sleep(Duration::from_millis(50)).await;
        match self.serial.tail() {
            tail if tail.is_empty() => format!("{}: {cause}", self.name),
            tail => format!("{}: {cause}; last lines: {tail}", self.name),
        }
    }

    /// Kills QEMU and the daemon and waits for both. There is nothing in either to be saved.
    pub async fn stop(mut self) {
        for child in [&mut self.qemu, &mut self.daemon] {
            // Fails only if the child has been waited for.
            let _ = child.kill().await;
        }
    }

    /// QEMU's process number; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.qemu.id()
    }

    /// The socket at which the host reaches the VM.
    pub fn vsock(&self) -> &Path {
        &self.vsock
    }

    /// The serial line.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }
}

async fn wait_for_socket(path: &Path, daemon: &mut Child, serial: &Serial) -> Result<()> {
    let limit = Instant::now() + DAEMON_START_LIMIT;
    while !path.exists() {
        if let Some(status) = daemon.try_wait()? {
            bail!("ended at once ({status}) {}", serial.tail());
        }
        if Instant::now() > limit {
            bail!("did not open its socket within {} s", DAEMON_START_LIMIT.as_secs());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
