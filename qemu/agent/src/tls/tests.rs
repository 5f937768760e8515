use super::*;
use crate::server::{Counters, relay};
use crate::target::Target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// A CA whose certificates are in files.
struct Authority {
    directory: tempfile::TempDir,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random bytes");
        let certificate = params.self_signed(&key).expect("a key that signs");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { directory, params, key }
    }

    fn files(&self, name: &str) -> TlsFiles {
        let at = |suffix: &str| self.directory.path().join(format!("{name}{suffix}"));
        let key = KeyPair::generate().expect("random bytes");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a host name");
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key));
        std::fs::write(at(".pem"), certificate.expect("a key that signs").pem()).expect("written");
        std::fs::write(at(".key"), key.serialize_pem()).expect("written");
        TlsFiles {
            chain: at(".pem"),
            key: at(".key"),
            ca: self.directory.path().join("ca.pem"),
            name: "weir".into(),
        }
    }

    /// Behaviour of an appliance.
    fn appliance(&self) -> ClientConfig {
        self.client(Some((self, "weir")))
    }

    /// Behaviour of a client with a certificate of a CA for a name, or without one.
    fn client(&self, shown: Option<(&Self, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let anchors = certificates(&self.directory.path().join("ca.pem")).expect("a certificate");
        anchors.into_iter().for_each(|anchor| roots.add(anchor).expect("an anchor"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
        let builder = builder.expect("suites").with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some((authority, name)) => {
                let files = authority.files(name);
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                builder
                    .with_client_auth_cert(certificates(&files.chain).expect("a certificate"), key)
                    .expect("they belong together")
            }
        }
    }
}

/// A relayed stream with TLS, and the application's end.
struct Relayed {
    host: UnixStream,
    listener: TcpListener,
    counters: Arc<Counters>,
    thread: JoinHandle<()>,
}

impl Relayed {
    fn start(tls: &Tls) -> Self {
        let (host, near) = UnixStream::pair().expect("a pair");
        host.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = Target::Tcp(listener.local_addr().expect("an address"));
        let (counters, tls) = (Arc::<Counters>::default(), tls.clone());
        let of_stream = counters.clone();
        let thread = std::thread::spawn(move || relay(&near.into(), 7, Some(&tls), &target, &of_stream));
        Self { host, listener, counters, thread }
    }

    fn connect(&self, config: ClientConfig) -> StreamOwned<ClientConnection, UnixStream> {
        let name = ServerName::try_from("app.workers").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a configuration that works");
        StreamOwned::new(connection, self.host.try_clone().expect("a copy"))
    }

    fn accept(&self) -> TcpStream {
        self.listener.accept().expect("a connection").0
    }
}

fn agent(authority: &Authority) -> Tls {
    Tls::load(&authority.files("app.workers")).expect("good files")
}

#[test]
fn megabytes_cross_in_both_directions_and_the_ends_are_told() -> io::Result<()> {
    let authority = Authority::new();
    let relayed = Relayed::start(&agent(&authority));
    let mut client = relayed.connect(authority.appliance());
    client.write_all(b"GET")?;
    let mut application = relayed.accept();
    let mut got = [0; 3];
    application.read_exact(&mut got)?;
    assert_eq!(&got, b"GET");
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n >> 4) as u8).collect();
    let sent = large.clone();
    let sender = std::thread::spawn(move || application.write_all(&sent));
    // A slow reader at first.
    std::thread::sleep(Duration::from_millis(200));
    let mut received = Vec::new();
    // Without close_notify this would be an error.
    client.read_to_end(&mut received)?;
    assert!(received == large, "differs");
    sender.join().map_err(|_| io::Error::other("panic"))??;
    drop((client, relayed.host));
    relayed.thread.join().map_err(|_| io::Error::other("panic"))?;

    let relayed = Relayed::start(&agent(&authority));
    let mut client = relayed.connect(authority.appliance());
    client.write_all(&large)?;
    client.conn.send_close_notify();
    client.flush()?;
    let mut received = Vec::new();
    let mut application = relayed.accept();
    application.read_to_end(&mut received)?;
    assert!(received == large, "differs");
    Ok(())
}

#[test]
fn a_stream_that_just_stops_is_a_reset_for_the_application() -> io::Result<()> {
    let authority = Authority::new();
    let relayed = Relayed::start(&agent(&authority));
    let mut client = relayed.connect(authority.appliance());
    client.write_all(b"half of a request")?;
    client.flush()?;
    let mut application = relayed.accept();
    application.read_exact(&mut [0; 17])?;
    drop((client, relayed.host));
    let error = application.read(&mut [0]).expect_err("cut off");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    Ok(())
}

#[test]
fn whoever_is_not_the_appliance_does_not_reach_the_application() -> io::Result<()> {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = agent(&authority);
    let turned_away = |talk: &dyn Fn(&Relayed)| -> io::Result<()> {
        let relayed = Relayed::start(&tls);
        relayed.listener.set_nonblocking(true)?;
        talk(&relayed);
        drop(relayed.host);
        relayed.thread.join().map_err(|_| io::Error::other("panic"))?;
        assert_eq!(relayed.counters.turned_away.load(Ordering::Relaxed), 1);
        assert_eq!(relayed.listener.accept().err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
        Ok(())
    };
    for shown in [None, Some((&other, "weir"))] {
        turned_away(&|relayed| {
            let mut client = relayed.connect(authority.client(shown));
            let error = client.read(&mut [0]).expect_err("an alert");
            assert!(error.to_string().starts_with("received fatal alert"), "{error}");
        })?;
    }
    // A worker's certificate gives no access to another worker.
    turned_away(&|relayed| {
        let mut client = relayed.connect(authority.client(Some((&authority, "app.workers"))));
        assert_eq!(client.read(&mut [0]).expect_err("the end").kind(), ErrorKind::UnexpectedEof);
    })?;
    turned_away(&|relayed| {
        (&relayed.host).write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        let mut alert = Vec::new();
        (&relayed.host).read_to_end(&mut alert).expect("an alert and the end");
        assert_eq!(alert.first(), Some(&21));
    })?;
    turned_away(&|_| ())
}

#[test]
fn a_handshake_has_an_end() -> io::Result<()> {
    let authority = Authority::new();
    let (_host, near) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let tls = agent(&authority);
    let error = tls.accept(std::os::fd::AsFd::as_fd(&near), Duration::from_millis(50)).expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    Ok(())
}

#[test]
fn bad_files_are_named_in_one_line() {
    let authority = Authority::new();
    let (good, other) = (authority.files("a.workers"), authority.files("b.workers"));
    let nowhere = || authority.directory.path().join("nowhere");
    for files in [
        TlsFiles { chain: nowhere(), ..good.clone() },
        TlsFiles { key: nowhere(), ..good.clone() },
        TlsFiles { ca: nowhere(), ..good.clone() },
        TlsFiles { chain: good.key.clone(), ..good.clone() },
        TlsFiles { key: good.chain.clone(), ..good.clone() },
        TlsFiles { key: other.key, ..good.clone() },
    ] {
        let error = Tls::load(&files).expect_err("bad files");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(&*authority.directory.path().to_string_lossy()), "{error}");
    }
}
