//! Where the application listens.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Delay before another attempt at a Unix socket whose backlog is full, since nothing signals that there is room.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// `tcp:ADDRESS:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port. Host names are not resolved, because the application runs on the same machine.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let target = match text.split_once(':') {
            Some(("tcp", address)) => {
                address.parse().ok().filter(|a: &SocketAddr| a.port() != 0).map(Self::Tcp)
            }
            // SocketAddrUnix rejects paths of more than 107 bytes.
            Some(("unix", path)) if SocketAddrUnix::new(path).is_ok() && !path.is_empty() => {
                Some(Self::Unix(path.into()))
            }
            _ => None,
        };
        target.ok_or_else(|| {
            format!("{text:?}, expected tcp:ADDRESS:PORT such as tcp:127.0.0.1:8000, or unix:PATH")
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// Opens a non-blocking connection. Fails with [`Errno::TIMEDOUT`] after `limit`.
    pub fn open(&self, limit: Duration) -> Result<OwnedFd, Errno> {
        let until = Instant::now() + limit;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match self {
            Self::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let stream = socket_with(family, SocketType::STREAM, flags, None)?;
                sockopt::set_tcp_nodelay(&stream, true)?;
                match connect(&stream, address) {
                    Err(Errno::INPROGRESS) => connected(&stream, limit)?,
                    other => other?,
                }
                Ok(stream)
            }
            Self::Unix(path) => {
                let address = SocketAddrUnix::new(path)?;
                let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                loop {
                    match connect(&stream, &address) {
                        Err(Errno::AGAIN) if Instant::now() < until => sleep(BACKLOG_PAUSE),
                        Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
                        other => return other.map(|()| stream),
                    }
                }
            }
        }
    }
}

/// Waits for the end of a TCP handshake.
fn connected(stream: &OwnedFd, limit: Duration) -> Result<(), Errno> {
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    match poll(&mut fds, Some(&limit))? {
        0 => Err(Errno::TIMEDOUT),
        _ => sockopt::socket_error(stream)?,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn targets_are_read() {
        for good in ["tcp:127.0.0.1:8000", "tcp:[::1]:1", "unix:/run/app.sock"] {
            assert_eq!(good.parse::<Target>().map(|t| t.to_string()), Ok(good.to_owned()));
        }
        let long = format!("unix:/{}", "x".repeat(108));
        for bad in
            ["", "tcp:", "tcp:localhost:80", "tcp:1.2.3.4", "tcp:1.2.3.4:0", "unix:", "udp:1.2.3.4:5", &long]
        {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn connects_or_says_why_not() -> std::io::Result<()> {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let target = Target::Tcp(tcp.local_addr()?);
        assert!(target.open(LIMIT).is_ok());
        drop(tcp);
        assert_eq!(target.open(LIMIT).err(), Some(Errno::CONNREFUSED));

        let directory = tempfile::tempdir()?;
        let target = Target::Unix(directory.path().join("app"));
        assert_eq!(target.open(LIMIT).err(), Some(Errno::NOENT));
        let _unix = UnixListener::bind(directory.path().join("app"))?;
        assert!(target.open(LIMIT).is_ok());
        Ok(())
    }

    #[test]
    fn a_full_backlog_is_waited_for_and_no_longer() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app");
        let listener = UnixListener::bind(&path)?;
        rustix::net::listen(&listener, 0)?;
        let target = Target::Unix(path);
        let held: Vec<_> = std::iter::from_fn(|| target.open(Duration::ZERO).ok()).take(10).collect();
        assert!((1..10).contains(&held.len()), "{} connections with a backlog of 0", held.len());
        assert_eq!(target.open(Duration::from_millis(30)).err(), Some(Errno::TIMEDOUT));
        let waiting = std::thread::spawn(move || target.open(LIMIT).map(drop));
        std::thread::sleep(Duration::from_millis(30));
        listener.accept()?;
        assert!(matches!(waiting.join(), Ok(Ok(()))));
        Ok(())
    }
}
