//! A network namespace with a tap interface, for tests that QEMU's user network would distort: it accepts connections through a
//! backlog of one.

use crate::require::require;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The tap interface in the namespace.
pub const TAP: &str = "weir0";
/// The namespace's own address.
pub const HOST: &str = "192.168.77.1/24";
/// The address for the machine at the other end.
pub const GUEST: &str = "192.168.77.2";

/// The Ethernet address QEMU gives the only card of a machine.
const GUEST_MAC: &str = "52:54:00:12:34:56";

/// A namespace of this process. Dropping it removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace with the tap interface up. Requires root and iproute2.
    pub fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        let n = namespace.name.as_str();
        ip(&["-n", n, "link", "set", "lo", "up"])?;
        ip(&["-n", n, "tuntap", "add", "dev", TAP, "mode", "tap"])?;
        ip(&["-n", n, "addr", "add", HOST, "dev", TAP])?;
        ip(&["-n", n, "link", "set", TAP, "up", "txqueuelen", "2000"])?;
        // An unanswered ARP request is only repeated after a second, which would dominate measured start-up times.
        ip(&["-n", n, "neigh", "replace", GUEST, "lladdr", GUEST_MAC, "dev", TAP, "nud", "permanent"])?;
        // Otherwise a load generator runs out of ports.
        for setting in ["net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1"] {
            let _ = namespace.command("sysctl").args(["-qw", setting]).status();
        }
        Ok(namespace)
    }

    /// Whether a test that needs a namespace can continue ([`require`]).
    #[must_use]
    pub fn required() -> bool {
        require("namespaces", Self::new().is_ok())
    }

    /// A command that runs in the namespace and ends with the thread that starts it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "setpriv", "--pdeathsig", "TERM", "--"]).arg(program);
        command.stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("starting ip (iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
