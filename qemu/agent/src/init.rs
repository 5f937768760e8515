//! The agent as init: file systems, kernel modules, the loopback interface, and power off.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::system::{RebootCommand, finit_module, reboot};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The agent's arguments, one per line. The kernel command line is not used, because the kernel passes on only part of it.
pub const ARGUMENTS: &str = "/etc/weir-agent";
/// Kernel modules to load, one path per line, in order.
pub const MODULES: &str = "/etc/weir-agent.modules";

const LOOPBACK_INDEX: i32 = 1;
/// Protocol 0 of AF_NETLINK.
const NETLINK_ROUTE: Option<Protocol> = None;

/// Whether this process is init.
pub fn is_first() -> bool {
    rustix::process::getpid().is_init()
}

/// Mounts file systems, loads modules and brings up the loopback interface. The error is one line and names the file.
pub fn prepare() -> Result<(), String> {
    for (path, kind) in [
        ("/proc", Some("proc")),
        ("/sys", Some("sysfs")),
        ("/dev", Some("devtmpfs")),
        ("/tmp", None),
        ("/run", None),
    ] {
        std::fs::create_dir_all(path).map_err(|error| format!("{path}: {error}"))?;
        let Some(kind) = kind else { continue };
        match mount(kind, path, kind, MountFlags::NOSUID, None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(format!("mounting {path}: {error}")),
        }
    }
    for module in lines(MODULES)? {
        load(Path::new(&module)).map_err(|error| format!("{}: {error}", module.to_string_lossy()))?;
    }
    loopback_up().map_err(|error| format!("loopback interface: {error}"))
}

/// The agent's arguments as init.
pub fn arguments() -> Result<Vec<OsString>, String> {
    lines(ARGUMENTS)
}

/// Powers the machine off. Returns only on failure.
pub fn power_off() -> Errno {
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff).err().unwrap_or(Errno::NOSYS)
}

/// The non-empty lines of a file; none if the file does not exist.
fn lines(path: &str) -> Result<Vec<OsString>, String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(split(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn split(bytes: &[u8]) -> Vec<OsString> {
    let lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| OsString::from_vec(line.to_vec())).collect()
}

fn load(path: &Path) -> io::Result<()> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match finit_module(&file, c"", 0) {
        // Built in, or already loaded.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Linux's error for a symbol without a module (init_module(2)).
        Err(Errno::NOENT) => Err(io::Error::other("needs a module that is not loaded before it")),
        Err(error) => Err(error.into()),
    }
}

/// Sets IFF_UP through netlink (rtnetlink(7)); the kernel then assigns 127.0.0.1 by itself.
fn loopback_up() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, NETLINK_ROUTE)?;
    send(&socket, &link_up(LOOPBACK_INDEX), SendFlags::empty())?;
    let mut answer = [0; 512];
    let (len, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    match acknowledged(&answer[..len]) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(-code)),
        None => Err(Errno::PROTO),
    }
}

/// An `RTM_NEWLINK` message (struct nlmsghdr, struct ifinfomsg) that sets IFF_UP and requests an acknowledgement.
fn link_up(index: i32) -> [u8; 32] {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = [0; 32];
    message[0..4].copy_from_slice(&32u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// The code of an `NLMSG_ERROR` message (struct nlmsgerr): 0 or a negative errno.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    const NLMSG_ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_lines() {
        assert_eq!(split(b"--to\nunix:/a b\n\nlast"), ["--to", "unix:/a b", "last"]);
        assert_eq!(lines("/nowhere"), Ok(Vec::new()));
        assert!(lines("/").is_err());
    }

    #[test]
    fn acknowledgements() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(acknowledged(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Some(-1));
        assert_eq!(acknowledged(&answer[..19]), None);
        answer[4] = 3;
        assert_eq!(acknowledged(&answer), None);
    }

    /// Linux refuses an unprivileged process; for a privileged one nothing changes, because the interface is already up.
    #[test]
    fn the_kernel_understands_the_request() {
        assert!(matches!(loopback_up(), Ok(()) | Err(Errno::PERM)), "{:?}", loopback_up());
    }
}
