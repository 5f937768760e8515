//! The default network: passt(1), which accepts connections on the host's own sockets and hands them to the appliance's card as
//! frames. So the host's TCP queues them, however many come at once, and the appliance sees who they are from.
//!
//! passt and QEMU get the two ends of a socket pair: as root passt becomes `nobody`, who could open no path of ours. It ends when
//! QEMU does, and would by then have lost its tie to us, which the kernel cuts when a process changes its user.

use super::Host;
use super::net::Net;
use super::serial::Serial;
use crate::host::tether::SOCKET;
use anyhow::{Context, Result};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use tokio::process::Child;

/// Starts passt for this network, and returns the end of the pair that QEMU gets.
pub(super) fn start(host: &Host, net: &Net, serial: &Serial) -> Result<(Child, OwnedFd)> {
    let program = host.programs.passt.as_deref();
    let program = program.context("no passt in PATH; install passt, or take --net user")?;
    let (theirs, qemus) = UnixStream::pair().context("a pair of sockets")?;
    let mut child = host.launcher.spawn_on(program, net.passt_args(SOCKET), theirs.into())?;
    serial.follow(child.stdout.take(), "passt")?;
    serial.follow(child.stderr.take(), "passt")?;
    Ok((child, qemus.into()))
}
