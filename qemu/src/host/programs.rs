//! Finding the programs that Weir runs and the ports that it needs.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Programs of the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// `vhost-device-vsock`.
    pub vsock_daemon: PathBuf,
}

impl Programs {
    /// Looks in PATH, and for the daemon also where `qemu/up` installs it (`tools/bin` of the checkout's target
    /// directory).
    pub fn find(workspace: &Path) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<_> = std::env::split_paths(&path).collect();
        let tools = workspace.join("target/tools/bin");
        Ok(Self {
            qemu: find("qemu-system-x86_64", &path)
                .context("no QEMU: qemu-system-x86_64 is not in PATH; install qemu-system-x86")?,
            vsock_daemon: find("vhost-device-vsock", path.iter().chain([&tools])).with_context(|| {
                format!(
                    "no vsock daemon: vhost-device-vsock is neither in PATH nor in {}; \
                     run cargo install --locked vhost-device-vsock@0.3.0",
                    tools.display()
                )
            })?,
        })
    }
}

fn find<'a>(name: &str, directories: impl IntoIterator<Item = &'a PathBuf>) -> Option<PathBuf> {
    directories.into_iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Fails with one clear line if a port of the loopback interface is taken; QEMU's own message names neither cause nor
/// remedy.
pub fn check_port_free(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port 127.0.0.1:{port} is in use; choose another with --http-port or --https-port")
        }
        Err(error) => Err(error).with_context(|| format!("port 127.0.0.1:{port}")),
    }
}
