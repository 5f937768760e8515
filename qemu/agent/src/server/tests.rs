use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;

/// A server on a Unix socket instead of vsock.
struct Served {
    directory: tempfile::TempDir,
    counters: Arc<Counters>,
    stop: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(target: Target, most: u64) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let listener = UnixListener::bind(directory.path().join("vsock"))?;
        let (counters, stop) = (Arc::<Counters>::default(), Arc::new(Bell::new()?));
        let (c, s) = (counters.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let of_stream = c.clone();
            accept(listener.into(), most, &c, &s, move |host| relay(&host, 7, None, &target, &of_stream));
        });
        Ok(Self { directory, counters, stop, thread: Some(thread) })
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.path())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }

    fn path(&self) -> impl AsRef<Path> {
        self.directory.path().join("vsock")
    }

    fn streams(&self) -> u64 {
        self.counters.streams.load(Ordering::Relaxed)
    }

    fn wait_for_streams(&self, number: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.streams() != number {
            assert!(Instant::now() < until, "{} streams, not {number}", self.streams());
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.ring();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Echoes everything, on every connection.
fn echo() -> io::Result<Target> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let target = Target::Tcp(listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(target)
}

#[test]
fn one_stream_too_many_is_closed_at_once_and_counted() -> io::Result<()> {
    let served = Served::start(echo()?, 2)?;
    let mut held = [served.connect()?, served.connect()?];
    served.wait_for_streams(2);
    for n in 1..=3 {
        let mut refused = served.connect()?;
        assert_eq!(refused.read(&mut [0])?, 0);
        assert_eq!(served.counters.refused.load(Ordering::Relaxed), n);
    }
    for stream in &mut held {
        stream.write_all(b"still")?;
        let mut got = [0; 5];
        stream.read_exact(&mut got)?;
        assert_eq!(&got, b"still");
    }
    let [one, _other] = held;
    drop(one);
    served.wait_for_streams(1);
    let mut next = served.connect()?;
    next.write_all(b"x")?;
    next.read_exact(&mut [0])?;
    Ok(())
}

#[test]
fn an_application_that_is_not_there_ends_the_stream() -> io::Result<()> {
    let served = Served::start(Target::Unix("/nowhere".into()), 2)?;
    assert_eq!(served.connect()?.read(&mut [0])?, 0);
    served.wait_for_streams(0);
    assert_eq!(served.counters.unreachable.load(Ordering::Relaxed), 1);
    Ok(())
}

#[test]
fn stopping_leaves_streams_in_hand_alone() -> io::Result<()> {
    let mut served = Served::start(echo()?, 8)?;
    let mut held = served.connect()?;
    served.wait_for_streams(1);
    served.stop.ring();
    served.thread.take().map(JoinHandle::join);
    assert_eq!(served.connect().err().map(|e| e.kind()), Some(ErrorKind::ConnectionRefused));
    held.write_all(b"go on")?;
    held.read_exact(&mut [0; 5])?;
    drop(held);
    served.wait_for_streams(0);
    Ok(())
}

#[test]
fn a_host_that_leaves_early_is_a_reset_for_the_application() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let served = Served::start(Target::Tcp(listener.local_addr()?), 8)?;
    let mut host = served.connect()?;
    let (mut application, _) = listener.accept()?;
    host.write_all(b"GET")?;
    application.read_exact(&mut [0; 3])?;
    let flood = std::thread::spawn(move || {
        let error = loop {
            if let Err(error) = application.write_all(&[0; 65_536]) {
                break error;
            }
        };
        error.kind()
    });
    host.read_exact(&mut [0; 1000])?;
    drop(host);
    let kind = flood.join().map_err(|_| io::Error::other("panic"))?;
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
    Ok(())
}

#[test]
fn many_streams_at_once_do_not_mix() -> io::Result<()> {
    let served = Served::start(echo()?, 64)?;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..32u8)
            .map(|n| {
                let mut stream = served.connect()?;
                Ok(scope.spawn(move || -> io::Result<()> {
                    for _ in 0..20 {
                        stream.write_all(&[n; 5000])?;
                        let mut got = [0; 5000];
                        stream.read_exact(&mut got)?;
                        assert_eq!(got, [n; 5000]);
                    }
                    Ok(())
                }))
            })
            .collect::<io::Result<_>>()?;
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| io::Error::other("panic"))?)
    })?;
    served.wait_for_streams(0);
    Ok(())
}
