//! One virtual machine: its own vsock daemon, QEMU, and the serial console.

pub mod net;
mod passt;
pub mod qemu;
pub mod serial;
mod vsock;

use crate::host::accel::Accel;
use crate::host::child::Launcher;
use crate::host::programs::Programs;
use crate::host::tap::{Ports, Tap};
use anyhow::{Context, Result, bail};
use net::{Net, NetKind};
use serial::Serial;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout_at};
use vsock::Daemon;

/// How long QEMU may take to end after its daemon's event loop (which a guest ends by powering off), or after its network.
const END_PAUSE: Duration = Duration::from_secs(2);

/// Waits for the end of a VM's network program; forever if there is none.
async fn ended(passt: Option<&mut Child>) -> String {
    let Some(passt) = passt else { return std::future::pending().await };
    match passt.wait().await {
        Ok(status) => format!("its network program, passt, ended ({status}); --net user does not need it"),
        Err(error) => format!("waiting for passt: {error}"),
    }
}

/// Description of a VM.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Prefix of its serial lines, and its name in messages.
    pub name: String,
    /// The multiboot loader, or a Linux kernel.
    pub kernel: PathBuf,
    /// The image for the loader, or the Linux kernel's initial RAM file system.
    pub initrd: PathBuf,
    /// Command line of a Linux kernel; unused by the multiboot loader.
    pub append: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Its vsock context identifier, seen only by its own daemon.
    pub cid: u32,
    /// Accelerator.
    pub accel: Accel,
    /// Network card, if any.
    pub net: Option<Net>,
    /// Additional arguments for QEMU.
    pub more: Vec<String>,
}

/// What starting a VM requires of the host.
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
    daemon: Daemon,
    /// Its network program, if any.
    passt: Option<Child>,
    _tap: Option<Tap>,
    /// A program it depends on has ended: how, and until when QEMU may end by itself.
    lost: Option<(String, Instant)>,
    serial: Serial,
    vsock: PathBuf,
}

impl Vm {
    /// Starts the daemon and QEMU, whose sockets go to the existing `directory`. The host reaches the VM at `vsock`, which
    /// appears once the VM has set up its device; the VM reaches the host at `vsock` + `_PORT`.
    pub async fn start(spec: &Spec, host: &Host, directory: &Path, vsock: &Path) -> Result<Self> {
        let control = directory.join("vhost-user");
        let serial = Serial::new(&spec.name);
        let daemon = Daemon::start(host, spec.cid, &control, vsock, &serial)
            .await
            .with_context(|| format!("{}: vsock daemon", spec.name))?;
        let args = qemu::args(spec, &control);
        let (mut qemu, passt) = match &spec.net {
            Some(net) if net.kind == NetKind::Passt => {
                let (passt, socket) = passt::start(host, net, &serial)?;
                (host.launcher.spawn_on(&host.programs.qemu, args, socket)?, Some(passt))
            }
            _ => (host.launcher.spawn(&host.programs.qemu, args)?, None),
        };
        serial.follow(qemu.stdout.take(), "")?;
        serial.follow(qemu.stderr.take(), "qemu")?;
        let tap = match &spec.net {
            Some(net) if net.kind == NetKind::OwnTap => {
                let address = net.address.as_ref().context("a tap interface without an address")?;
                let ports = Ports { address, listen: net.listen, forwards: &net.forwards };
                tokio::select! {
                    tap = Tap::bring_up(&ports) => Some(tap.context("the tap interface")?),
                    status = qemu.wait() => bail!("{}; last lines: {}", qemu::describe_exit(status), serial.tail()),
                }
            }
            _ => None,
        };
        let (name, vsock) = (spec.name.clone(), vsock.to_owned());
        Ok(Self { name, qemu, daemon, passt, _tap: tap, lost: None, serial, vsock })
    }

    /// Waits for the end of the VM, that is, of QEMU, the daemon or its network, and says why in one line. A QEMU without daemon
    /// or network still runs, but is unreachable. May be cancelled and called again.
    pub async fn ended(&mut self) -> String {
        let (cause, until) = match self.lost.clone() {
            Some(known) => known,
            None => tokio::select! {
                status = self.qemu.wait() => return self.last_words(qemu::describe_exit(status)).await,
                cause = self.daemon.ended() => self.lost.insert((cause, Instant::now() + END_PAUSE)).clone(),
                cause = ended(self.passt.as_mut()) => self.lost.insert((cause, Instant::now() + END_PAUSE)).clone(),
            },
        };
        let cause = timeout_at(until, self.qemu.wait()).await.map_or(cause, qemu::describe_exit);
        self.last_words(cause).await
    }

    async fn last_words(&self, cause: String) -> String {
        // The last lines may still be in the pipe.
        sleep(Duration::from_millis(50)).await;
        match self.serial.tail() {
            tail if tail.is_empty() => format!("{}: {cause}", self.name),
            tail => format!("{}: {cause}; last lines: {tail}", self.name),
        }
    }

    /// Kills QEMU and its helper programs and waits for all of them. They have nothing to save.
    pub async fn stop(mut self) {
        // Fails only if it has been waited for already.
        let _ = self.qemu.kill().await;
        self.daemon.kill().await;
        if let Some(passt) = &mut self.passt {
            let _ = passt.kill().await;
        }
    }

    /// QEMU's process ID; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.qemu.id()
    }

    /// The socket at which the host reaches the VM.
    pub fn vsock(&self) -> &Path {
        &self.vsock
    }

    /// The serial console.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }
}
