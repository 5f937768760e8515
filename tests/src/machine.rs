//! A deployed image in QEMU, without the supervisor, as an operator runs it.

use crate::free_port;
use crate::raw::Connection;
use crate::weir::command;
use anyhow::{Context, Result, bail};
use image::deploy::Format;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Debian's UEFI firmware (package `ovmf`).
const OVMF: &str = "/usr/share/OVMF/OVMF_CODE.fd";

/// Configuration of a machine.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The image.
    pub image: PathBuf,
    /// Its format.
    pub format: Format,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// With QEMU's `isa-debug-exit`, which sets the exit status.
    pub debug_exit: bool,
    /// Boot with UEFI instead of BIOS.
    pub uefi: bool,
    /// Additional arguments for QEMU.
    pub extra: Vec<OsString>,
}

impl Setup {
    /// An image of this format with 64 MiB, booted with BIOS.
    pub fn new(format: Format, image: &Path) -> Self {
        let image = image.to_owned();
        Self { image, format, memory_mib: 64, debug_exit: true, uefi: false, extra: Vec::new() }
    }

    fn arguments(&self, port: u16) -> Vec<OsString> {
        let image = self.image.to_string_lossy().into_owned();
        let mut all: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| all.extend(words.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        add(&["-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", &format!("{}M", self.memory_mib)]);
        add(&["-device", "virtio-rng-pci"]);
        if self.debug_exit {
            add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        }
        add(&["-netdev", &format!("user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80")]);
        add(&["-device", "virtio-net-pci,netdev=n,romfile="]);
        if self.uefi {
            add(&["-drive", &format!("if=pflash,format=raw,readonly=on,file={OVMF}")]);
        }
        match self.format {
            Format::Elf => add(&["-kernel", &format!("{image}.loader"), "-initrd", &image]),
            Format::Iso => add(&["-cdrom", &image]),
            other => {
                // GCP turns the tarball into a raw disk; callers unpack it.
                let kind = if other == Format::Gcp { "raw" } else { other.name() };
                add(&["-drive", &format!("file={image},format={kind},if=none,id=d,snapshot=on")]);
                add(&["-device", "virtio-blk-pci,drive=d"]);
            }
        }
        all.extend(self.extra.iter().cloned());
        all
    }
}

/// Whether UEFI's firmware is installed.
pub fn has_uefi() -> bool {
    Path::new(OVMF).exists()
}

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    output: NamedTempFile,
    at: SocketAddr,
    started: Instant,
}

impl Machine {
    /// Starts QEMU. Must be called on the main thread, see [`command`].
    pub fn boot(setup: &Setup) -> Result<Self> {
        let port = free_port()?;
        let output = NamedTempFile::new().context("a file for the serial line")?;
        let file = || output.as_file().try_clone().map(Stdio::from);
        let started = Instant::now();
        let mut qemu = command("qemu-system-x86_64");
        let child = qemu.args(setup.arguments(port)).stdout(file()?).stderr(file()?).spawn();
        let child = child.context("starting QEMU through setpriv")?;
        Ok(Self { child, output, at: (Ipv4Addr::LOCALHOST, port).into(), started })
    }

    /// Loopback port forwarded to the machine's port 80.
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// Requests `path` until there is a 200 response; returns the time since the start, and the content.
    pub fn first_200(&mut self, path: &str, patience: Duration) -> Result<(Duration, Vec<u8>)> {
        loop {
            if let Ok(Some(content)) = self.get(path) {
                return Ok((self.started.elapsed(), content));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended with {status}: {}", self.log());
            }
            if self.started.elapsed() > patience {
                bail!("no 200 within {patience:?}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        // Short, because a SYN that reaches a machine before its network is up is only repeated after a second.
        let patience = (self.started.elapsed() / 8).max(Duration::from_millis(50));
        let mut connection = Connection::open(self.at, patience)?;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))?;
        Ok(connection.response()?.filter(|r| r.status == 200).map(|r| r.content))
    }

    /// Waits until this has been printed; returns the time since the start.
    pub fn line(&mut self, text: &str, patience: Duration) -> Result<Duration> {
        while !self.log().contains(text) {
            if self.started.elapsed() > patience {
                bail!("no {text:?} within {patience:?}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self.started.elapsed())
    }

    /// Waits for the machine's end; returns QEMU's exit status and all output.
    pub fn ended(mut self, patience: Duration) -> Result<(Option<i32>, String)> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status.code(), self.log()));
            }
            if self.started.elapsed() > patience {
                bail!("QEMU still runs after {patience:?}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All output of the serial console and QEMU so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.output.path()).unwrap_or_default();
        let lines = String::from_utf8_lossy(&bytes).into_owned();
        lines.lines().filter(|line| !line.starts_with("[LOADER]")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
