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
use rustix::net::sockopt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::process::Child;

/// Room for frames on their way from passt to QEMU, in bytes as they are asked for; Linux doubles them, and counts some 800 for
/// a frame of 60. passt drops what finds no room and sends no SYN twice, so that a client would be reset ten seconds later.
/// By default there is room for 250 small frames; this is for a thousand, and not for many more: whatever waits here delays
/// what comes behind it. The other way has no need of it: QEMU waits for room, and the appliance for QEMU.
const FRAMES_ROOM: usize = 512 << 10;

/// Starts passt for this network, and returns the end of the pair that QEMU gets.
pub(super) fn start(host: &Host, net: &Net, serial: &Serial) -> Result<(Child, OwnedFd)> {
    let program = host.programs.passt.as_deref();
    let program = program.context("no passt in PATH; install passt, or take --net user")?;
    let (theirs, qemus) = UnixStream::pair().context("a pair of sockets")?;
    make_room(&theirs);
    let mut child = host.launcher.spawn_on(program, net.passt_args(SOCKET), theirs.into())?;
    serial.follow(child.stdout.take(), "passt")?;
    serial.follow(child.stderr.take(), "passt")?;
    Ok((child, qemus.into()))
}

/// Makes room for what this end sends: as much as is wanted for root, and as much as the system allows for others
/// (`net.core.wmem_max`).
fn make_room(end: impl AsFd) {
    if sockopt::set_socket_send_buffer_size_force(&end, FRAMES_ROOM).is_err() {
        // Whatever there is then is better than nothing.
        let _ = sockopt::set_socket_send_buffer_size(&end, FRAMES_ROOM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require::require;
    use std::io::Write;

    #[test]
    fn a_thousand_small_frames_have_room() {
        let (mut passt, _qemu) = UnixStream::pair().expect("pair");
        passt.set_nonblocking(true).expect("flag");
        make_room(&passt);
        let has_room = sockopt::socket_send_buffer_size(&passt).expect("size") >= 2 * FRAMES_ROOM;
        if !require("net-admin", has_room) {
            return;
        }
        assert!((0..1024).all(|_| matches!(passt.write(&[0; 64]), Ok(64))));
    }
}
