//! Finds the host programs that Weir runs, and checks ports.

use anyhow::{Context, Result, bail};
use image::toolchain::in_path;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Programs of the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// `vhost-device-vsock`.
    pub vsock_daemon: PathBuf,
    /// `passt`, if installed.
    pub passt: Option<PathBuf>,
}

impl Programs {
    /// Searches PATH, and for the daemon also where `qemu/up` installs it (`tools/bin` in the checkout's target directory).
    pub fn find(workspace: &Path) -> Result<Self> {
        let installed = workspace.join("target/tools/bin/vhost-device-vsock");
        Ok(Self {
            qemu: in_path("qemu-system-x86_64")
                .context("no QEMU: qemu-system-x86_64 is not in PATH; install qemu-system-x86")?,
            passt: in_path("passt"),
            vsock_daemon: match in_path("vhost-device-vsock") {
                Some(found) => found,
                None if installed.is_file() => installed,
                None => bail!(
                    "no vsock daemon: vhost-device-vsock is not in PATH, nor is there {}; \
                     run cargo install --locked vhost-device-vsock@0.3.0",
                    installed.display()
                ),
            },
        })
    }
}

/// Fails with a one-line error if a port of this address is taken, or the address is not this machine's. QEMU's own message names
/// neither cause nor remedy.
pub fn check_port_free(address: Ipv4Addr, port: u16) -> Result<()> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {address}:{port} is in use; choose another with --http-port or --https-port")
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            bail!("--listen {address}: not an address of this machine; expected one, or 0.0.0.0 for all")
        }
        Err(error) => Err(error).with_context(|| format!("port {address}:{port}")),
    }
}
