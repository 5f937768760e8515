//! The connection with rustls's client, with the bytes cut in every way.

mod client_certificates;
mod hostile;
mod store;

use super::*;
use alloc::sync::Arc;
use model::id::SiteId;
use model::settings::{Certificate, ClientCertificates, Handler, Key, Prefix, Secret, Settings, Site, Tls};
use model::tls::TlsError;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore};
use std::io::{Read, Write};

pub(super) const NOW: u64 = 1_790_000_000;

/// A certification authority.
pub(super) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pub(super) der: Vec<u8>,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der }
    }

    fn issue(&self, name: &str, key: &KeyPair, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        edit(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }

    pub(super) fn certificate(
        &self,
        name: &str,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> Certificate {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let chain = vec![self.issue(name, &key, |_| {})];
        Certificate { chain, key: Key::Der(Secret::new(key.serialize_der())), ocsp: None }
    }
}

fn site(name: &str, hosts: &[&str], tls: Tls) -> Site {
    let prefix = |host: &&str| Prefix {
        url: format!("https://{host}:443/"),
        handler: Handler::Files(0),
        client_certificates: None,
        passthrough: Default::default(),
    };
    Site {
        name: name.into(),
        prefixes: hosts.iter().map(prefix).collect(),
        tls: Some(tls),
        ..Site::default()
    }
}

fn with(certificates: Vec<Certificate>) -> Tls {
    Tls { certificates, tls12: true, resumption: true, ..Tls::default() }
}

fn store_of(sites: Vec<Site>) -> Result<Store, TlsError> {
    let clock = Arc::new(WallClock::default());
    clock.set(NOW);
    Store::new(&Settings { sites, ..Settings::default() }, Keys::NONE, clock)
}

pub(super) fn one(ca: &Ca) -> Store {
    store_of(vec![site(
        "a",
        &["a.test"],
        with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]),
    )])
    .unwrap()
}

#[derive(Clone)]
struct Client(ClientConfig);

impl Client {
    fn new(ca: &Ca) -> Self {
        Self::versions(ca, &[&rustls::version::TLS13, &rustls::version::TLS12], None)
    }

    fn versions(
        ca: &Ca,
        versions: &[&'static rustls::SupportedProtocolVersion],
        auth: Option<(Vec<u8>, KeyPair)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Self(match auth {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from(chain)],
                    PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
                )
                .unwrap(),
        })
    }

    fn connect(&self, name: &'static str) -> ClientConnection {
        ClientConnection::new(Arc::new(self.0.clone()), ServerName::try_from(name).unwrap()).unwrap()
    }
}

/// A receive buffer of limited size, like a TCP socket's.
struct Link {
    server: ServerTls,
    buffer: Vec<u8>,
    capacity: usize,
    /// Bytes that arrive at once.
    step: usize,
    received: Vec<u8>,
}

impl Link {
    fn new(capacity: usize, step: usize) -> Self {
        Self { server: ServerTls::new(443), buffer: Vec::new(), capacity, step, received: Vec::new() }
    }

    fn arrive(&mut self, mut bytes: &[u8], store: &Store) {
        while !bytes.is_empty() || !self.buffer.is_empty() {
            // Like TCP, which does not send into a small window.
            let window = self.capacity - self.buffer.len();
            let window = if window < self.capacity / 4 { 0 } else { window };
            let n = bytes.len().min(self.step).min(window);
            self.buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            let mut progress = n > 0;
            loop {
                let queued = self.buffer.len();
                let full = ServerTls::is_full(queued, queued, self.capacity);
                let before = (self.server.plaintext().len(), self.server.is_gathering());
                let gathered = self.server.receive_gathered(Some(store));
                let done =
                    if gathered { 0 } else { self.server.receive(&mut self.buffer, full, Some(store)) };
                self.buffer.drain(..done);
                let plain = self.server.plaintext().to_vec();
                self.server.consume(plain.len());
                self.received.extend_from_slice(&plain);
                let after = (plain.len(), self.server.is_gathering());
                if done == 0 && !gathered && before == after && plain.is_empty() {
                    break;
                }
                progress = true;
            }
            if !progress {
                break;
            }
        }
    }

    /// Exchanges bytes until neither side has any.
    fn run(&mut self, client: &mut ClientConnection, store: &Store) -> Result<(), rustls::Error> {
        loop {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            self.arrive(&sent, store);
            let output = self.server.output().to_vec();
            self.server.sent(output.len());
            let mut output = &output[..];
            let had_output = !output.is_empty();
            while !output.is_empty() {
                client.read_tls(&mut output).unwrap();
                client.process_new_packets()?;
            }
            if sent.is_empty() && !had_output {
                return Ok(());
            }
        }
    }

    /// Sends content to the client through a buffer of `room` bytes.
    fn send(&mut self, content: &[u8], client: &mut ClientConnection, room: usize) -> Vec<u8> {
        let (mut sent, mut out) = (0, vec![0; room]);
        let mut read = Vec::new();
        while sent < content.len() {
            let (taken, len) = self.server.encrypt(&content[sent..], &mut out);
            assert!(taken > 0 && len <= room, "{:?}", self.server.fault());
            assert!(len <= taken + MAX_RECORD_OVERHEAD);
            sent += taken;
            let wire = [self.server.output(), &out[..len]].concat();
            self.server.sent(self.server.output().len());
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
                let mut buffer = [0; 20_000];
                while let Ok(n) = client.reader().read(&mut buffer) {
                    read.extend_from_slice(&buffer[..n]);
                    if n == 0 {
                        break;
                    }
                }
            }
        }
        read
    }
}

#[test]
fn both_versions_every_key_and_content_both_ways() {
    let ca = Ca::new("ca");
    let kinds: [&'static rcgen::SignatureAlgorithm; 3] =
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    for algorithm in kinds {
        let store =
            store_of(vec![site("a", &["a.test"], with(vec![ca.certificate("a.test", algorithm)]))]).unwrap();
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut client = Client::versions(&ca, &[version], None).connect("a.test");
            let mut link = Link::new(16 << 10, usize::MAX);
            link.run(&mut client, &store).unwrap();
            assert!(link.server.is_open() && !link.server.is_gathering());
            assert_eq!(link.server.version(), Some(version.version));
            let content: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
            client.set_buffer_limit(None);
            client.writer().write_all(&content).unwrap();
            link.run(&mut client, &store).unwrap();
            assert!(link.received == content);
            assert!(!link.server.holds_input(), "nothing is held when nothing is under way");
            assert!(link.send(&content, &mut client, 17_000) == content);
        }
    }
}

#[test]
fn a_request_that_comes_with_the_end_of_the_handshake() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = Client::versions(&ca, &[version], None).connect("a.test");
        client.writer().write_all(b"GET / HTTP/1.1\r\n").unwrap();
        let mut link = Link::new(16 << 10, usize::MAX);
        let (mut hello, mut rest) = (Vec::new(), Vec::new());
        while link.received.is_empty() {
            client.write_tls(&mut hello).unwrap();
            let buffer = &mut std::mem::take(&mut hello)[..];
            let done = link.server.receive(buffer, false, Some(&store));
            assert!(done == buffer.len() || !link.server.plaintext().is_empty());
            rest.extend_from_slice(&buffer[done..]);
            link.received.extend_from_slice(link.server.plaintext());
            assert!(link.received.is_empty() || link.server.is_open());
            let mut output = link.server.output();
            while !output.is_empty() {
                client.read_tls(&mut output).unwrap();
                client.process_new_packets().unwrap();
            }
            let len = link.server.output().len();
            link.server.sent(len);
        }
        assert_eq!(link.received, b"GET / HTTP/1.1\r\n");
    }
}

#[test]
fn alpn_is_http_1_1_and_nothing_else() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let offer = |protocols: &[&[u8]]| {
        let mut client = Client::new(&ca);
        client.0.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        let mut client = client.connect("a.test");
        let mut link = Link::new(16 << 10, usize::MAX);
        let result = link.run(&mut client, &store);
        (result.is_ok(), link.server.protocol().map(<[u8]>::to_vec), link.server.fault())
    };
    assert_eq!(offer(&[]), (true, None, None));
    assert_eq!(offer(&[b"h2", b"http/1.1"]), (true, Some(b"http/1.1".to_vec()), None));
    assert_eq!(offer(&[b"h2"]), (false, None, Some(Fault::Handshake)));
}

fn webpki_ec() -> &'static dyn rustls::pki_types::SignatureVerificationAlgorithm {
    let all = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let scheme = rustls::SignatureScheme::ECDSA_NISTP256_SHA256;
    all.mapping.iter().find(|(s, _)| *s == scheme).unwrap().1[0]
}

#[test]
fn tls_1_2_has_a_switch() {
    let ca = Ca::new("ca");
    let mut tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    tls.tls12 = false;
    let store = store_of(vec![site("a", &["a.test"], tls)]).unwrap();
    let mut client = Client::versions(&ca, &[&rustls::version::TLS12], None).connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    assert!(link.run(&mut client, &store).is_err());
    assert_eq!(link.server.fault(), Some(Fault::Handshake));
}

/// Connects and returns the kind of handshake.
fn handshake(client: &Client, store: &Store) -> HandshakeKind {
    let mut connection = client.connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut connection, store).unwrap();
    let kind = connection.handshake_kind().unwrap();
    assert_eq!(link.server.is_resumed(), kind == HandshakeKind::Resumed);
    kind
}

#[test]
fn sessions_are_resumed_in_both_versions_until_two_key_rotations() {
    let ca = Ca::new("ca");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut store = one(&ca);
        let client = Client::versions(&ca, &[version], None);
        assert_eq!(handshake(&client, &store), HandshakeKind::Full);
        assert_eq!(handshake(&client, &store), HandshakeKind::Resumed);
        let later = |store: &mut Store, hours: u64| {
            let clock = store.clock().clone();
            clock.set(clock.seconds() + hours * 3600);
            store.rotate();
        };
        store.rotate();
        later(&mut store, 6);
        assert_eq!(handshake(&client, &store), HandshakeKind::Resumed, "with the keys before");
        // A ticket under the first keys, held back while the keys are rotated twice.
        let old = Client::versions(&ca, &[version], None);
        handshake(&old, &store);
        later(&mut store, 6);
        later(&mut store, 6);
        assert_eq!(handshake(&old, &store), HandshakeKind::Full);
    }
}

#[test]
fn resumption_has_a_switch() {
    let ca = Ca::new("ca");
    let mut tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    tls.resumption = false;
    let store = store_of(vec![site("a", &["a.test"], tls)]).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Client::versions(&ca, &[version], None);
        assert_eq!(handshake(&client, &store), HandshakeKind::Full);
        assert_eq!(handshake(&client, &store), HandshakeKind::Full);
    }
}

#[test]
fn a_ticket_of_one_site_does_not_open_another() {
    use rustls::server::ProducesTickets as _;
    let random = rustls::crypto::ring::default_provider().secure_random;
    let (a, b) = (ticket::TicketKeys::new(random).unwrap(), ticket::TicketKeys::new(random).unwrap());
    let mut sealed = a.encrypt(b"state").unwrap();
    assert_eq!(a.decrypt(&sealed).as_deref(), Some(&b"state"[..]));
    assert_eq!(b.decrypt(&sealed), None);
    for at in 0..sealed.len() {
        sealed[at] ^= 1;
        assert_eq!(a.decrypt(&sealed), None, "byte {at}");
        sealed[at] ^= 1;
    }
    assert_eq!(a.decrypt(&sealed[..20]), None);
    assert_eq!(a.decrypt(&[]), None);
}

#[test]
fn close_notify_both_ways() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = Client::versions(&ca, &[version], None).connect("a.test");
        let mut link = Link::new(16 << 10, usize::MAX);
        link.run(&mut client, &store).unwrap();
        client.writer().write_all(b"last words").unwrap();
        client.send_close_notify();
        link.run(&mut client, &store).unwrap();
        assert_eq!(link.received, b"last words");
        assert!(link.server.has_ended());
        link.server.close();
        assert!(!link.server.output().is_empty());
        link.run(&mut client, &store).unwrap();
        assert!(matches!(client.reader().read(&mut [0; 1]), Ok(0)), "an orderly end");
    }
}

#[test]
fn requests_and_key_updates_cross() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let mut client = Client::versions(&ca, &[&rustls::version::TLS13], None).connect("a.test");
    let mut link = Link::new(700, 300);
    link.run(&mut client, &store).unwrap();
    for n in 0..20_u8 {
        client.writer().write_all(&[n; 900]).unwrap();
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(&[n; 900]).unwrap();
        link.run(&mut client, &store).unwrap();
        assert_eq!(link.received.len(), 1800);
        link.received.clear();
        assert_eq!(link.send(&[n; 5000], &mut client, 1000), [n; 5000]);
    }
}
