//! The connection with rustls's client, with the bytes cut in every way.

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
        passing: Default::default(),
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

#[test]
fn names_lead_to_sites() {
    let ca = Ca::new("ca");
    let tls = |name: &str| with(vec![ca.certificate(name, &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let store = store_of(vec![
        site("exact", &["A.test"], tls("a.test")),
        site("wild", &["*.w.test"], tls("*.w.test")),
        site("deeper", &["*.x.w.test"], tls("*.x.w.test")),
        site("default", &["*"], tls("default.test")),
    ])
    .unwrap();
    for (name, expected) in [
        (Some("a.test"), 0),
        (Some("A.TEST."), 0),
        (Some("b.w.test"), 1),
        (Some("b.x.w.test"), 2),
        (Some("w.test"), 3),
        (Some("other"), 3),
        (None, 3),
    ] {
        assert_eq!(store.select(443, name.map(str::as_bytes)), Some(SiteId(expected)), "{name:?}");
    }
    assert_eq!(store.select(444, Some(b"a.test")), None);
    let mut client = Client::new(&ca).connect("b.x.w.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    assert_eq!(link.server.site(), SiteId(2));
}

#[test]
fn an_unknown_name_is_told_so() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let mut client = Client::new(&ca).connect("b.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    let error = link.run(&mut client, &store).unwrap_err();
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
    assert_eq!(link.server.fault(), Some(Fault::UnknownName));
}

#[test]
fn the_first_certificate_that_suits_is_used() {
    let ca = Ca::new("ca");
    let (ed, ec) = (&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256);
    let certificates = vec![ca.certificate("a.test", ed), ca.certificate("a.test", ec)];
    let expected = certificates[1].chain[0].clone();
    let store = store_of(vec![site("a", &["a.test"], with(certificates))]).unwrap();
    // A client that cannot verify Ed25519.
    let mut config = Client::new(&ca);
    let mut provider = rustls::crypto::ring::default_provider();
    let all: &'static [_] = Box::leak(Box::new([webpki_ec()]));
    let mapping: &'static [_] = Box::leak(Box::new([(rustls::SignatureScheme::ECDSA_NISTP256_SHA256, all)]));
    provider.signature_verification_algorithms = rustls::crypto::WebPkiSupportedAlgorithms { all, mapping };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der.clone())).unwrap();
    config.0 = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = config.connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    assert_eq!(client.peer_certificates().unwrap()[0].as_ref(), expected);
}

/// The certificate that a site presents to a client that accepts any.
fn shown(store: &Store, ca: &Ca) -> Vec<u8> {
    let mut client = Client::new(ca).connect("a.test");
    Link::new(16 << 10, usize::MAX).run(&mut client, store).unwrap();
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_new_certificate_replaces_those_with_its_kind_of_key_alone() {
    let ca = Ca::new("ca");
    let (ed, ec) = (&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256);
    let [old_ec, old_ed, new_ec, new_ed] = [ec, ed, ec, ed].map(|kind| ca.certificate("a.test", kind));
    let first = |c: &Certificate| c.chain[0].clone();
    let mut store =
        store_of(vec![site("a", &["a.test"], with(vec![old_ec.clone(), old_ed.clone()]))]).unwrap();
    // By position, and by what is presented when the other one is removed.
    store.set_certificates(SiteId(0), core::slice::from_ref(&new_ec)).unwrap();
    assert_eq!(shown(&store, &ca), first(&new_ec));
    assert_eq!(store.expires(SiteId(0)).len(), 2, "the other kind is still there");
    store.set_certificates(SiteId(0), core::slice::from_ref(&new_ed)).unwrap();
    assert_eq!((shown(&store, &ca), store.expires(SiteId(0)).len()), (first(&new_ec), 2));
    let mut store = store_of(vec![site("a", &["a.test"], with(vec![old_ed]))]).unwrap();
    store.set_certificates(SiteId(0), &[old_ec, new_ed.clone()]).unwrap();
    assert_eq!((shown(&store, &ca), store.expires(SiteId(0)).len()), (first(&new_ed), 2));
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
fn sessions_are_resumed_in_both_versions_until_the_keys_have_gone_twice() {
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

fn first_bytes(bytes: &[u8]) -> (Option<Fault>, Vec<u8>) {
    let store = one(&Ca::new("ca"));
    let mut link = Link::new(16 << 10, usize::MAX);
    link.arrive(bytes, &store);
    (link.server.fault(), link.server.output().to_vec())
}

#[test]
fn garbage_is_ended_with_an_alert_and_http_is_left_to_be_answered() {
    for garbage in [&b"\0"[..], b"\x16\x02\x01\x00\x05hello", b"quit\r\n"] {
        let (fault, output) = first_bytes(garbage);
        assert_eq!((fault, &output[..]), (Some(Fault::Garbage), &[21, 3, 3, 0, 2, 2, 10][..]));
    }
    let (fault, output) = first_bytes(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(fault, Some(Fault::PlainHttp));
    // Answered in plaintext by the owner of the connection.
    assert_eq!(output, b"");
}

#[test]
fn a_hello_that_is_no_hello_fails_in_the_handshake() {
    // A handshake record with a message that rustls refuses.
    let (fault, output) = first_bytes(&[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0]);
    assert_eq!((fault, &output[..]), (Some(Fault::Handshake), &[21, 3, 3, 0, 2, 2, 50][..]));
    let ca = Ca::new("ca");
    let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let store = store_of(vec![site("a", &["*"], tls)]).unwrap();
    let mut link = Link::new(16 << 10, usize::MAX);
    link.arrive(&[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0], &store);
    assert_eq!(link.server.fault(), Some(Fault::Handshake));
    assert_eq!(link.server.output()[0], 21);
}

#[test]
fn a_truncated_hello_waits_and_an_oversized_one_is_refused() {
    let (fault, output) = first_bytes(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    assert_eq!((fault, output.len()), (None, 0));
    let (fault, output) = first_bytes(&[22, 3, 1, 0, 4, 1, 1, 0, 0]);
    assert_eq!((fault, &output[5..]), (Some(Fault::Oversized), &[2, 50][..]));
    // An endless series of records that never form a message.
    let mut flood = Vec::new();
    for _ in 0..30_000 {
        flood.extend_from_slice(&[22, 3, 1, 0, 1, 1]);
    }
    assert!(first_bytes(&flood).0.is_some());
}

#[test]
fn a_hello_fragmented_to_the_byte_is_accepted() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    for (capacity, step) in [(16 << 10, 1), (2048, 7), (600, 600)] {
        let mut client = Client::new(&ca).connect("a.test");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        // One record per byte of the message.
        let mut fragments = Vec::new();
        for byte in &hello[5..] {
            fragments.extend_from_slice(&[22, 3, 1, 0, 1, *byte]);
        }
        let mut link = Link::new(capacity, step);
        link.arrive(&fragments, &store);
        assert_eq!(link.server.fault(), None);
        assert!(!link.server.output().is_empty(), "{capacity} {step}");
        link.run(&mut client, &store).unwrap();
        assert!(link.server.is_open());
    }
}

#[test]
fn altered_records_end_the_connection_with_an_alert() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let mut client = Client::new(&ca).connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    client.writer().write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut record = Vec::new();
    client.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    link.arrive(&record, &store);
    assert_eq!((link.server.fault(), link.received.len()), (Some(Fault::Broken), 0));
    assert!(!link.server.output().is_empty() && link.server.has_ended());
    assert_eq!(link.server.encrypt(b"x", &mut [0; 100]), (0, 0));
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

/// The status of a client with this certificate at a store whose only site requests client certificates.
fn judged(tls: Tls, ca: &Ca, auth: Option<(Vec<u8>, KeyPair)>) -> ClientStatus {
    let store = store_of(vec![site("a", &["a.test"], tls)]).unwrap();
    let mut status = ClientStatus::None;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let key =
            auth.as_ref().map(|(der, key)| (der.clone(), KeyPair::try_from(key.serialize_der()).unwrap()));
        let client = Client::versions(ca, &[version], key);
        // The second time with a ticket: the certificate is remembered and verified again.
        for _ in 0..2 {
            let mut connection = client.connect("a.test");
            let mut link = Link::new(16 << 10, usize::MAX);
            link.run(&mut connection, &store).unwrap();
            assert!(link.server.is_open(), "{:?}", link.server.fault());
            status = link.server.client().map_or(ClientStatus::None, |client| client.status);
            if let Some(client) = link.server.client() {
                let fields = core::str::from_utf8(client.fields()).unwrap();
                assert_eq!(fields.contains("Subject"), status == ClientStatus::Verified, "{fields}");
                assert!(fields.ends_with("\r\n"));
            }
        }
    }
    status
}

#[test]
fn client_certificates_are_judged_after_the_handshake() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let tls = || Tls {
        client_certificates: ClientCertificates::Require,
        client_anchors: vec![ca.der.clone()],
        ..with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)])
    };
    let client = |ca: &Ca, edit: fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        Some((ca.issue("client.test", &key, edit), key))
    };
    assert_eq!(judged(tls(), &ca, None), ClientStatus::None);
    assert_eq!(judged(tls(), &ca, client(&ca, |_| {})), ClientStatus::Verified);
    assert_eq!(judged(tls(), &ca, client(&other, |_| {})), ClientStatus::Untrusted);
    let expired = client(&ca, |p| p.not_after = rcgen::date_time_ymd(2021, 1, 1));
    assert_eq!(judged(tls(), &ca, expired), ClientStatus::Expired);
    let future = client(&ca, |p| p.not_before = rcgen::date_time_ymd(2039, 1, 1));
    assert_eq!(judged(tls(), &ca, future), ClientStatus::Expired);
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client.test".into()]).unwrap();
        Some((params.self_signed(&key).unwrap().der().to_vec(), key))
    };
    assert_eq!(judged(tls(), &ca, self_signed), ClientStatus::Untrusted);
}

#[test]
fn revoked_client_certificates() {
    let ca = Ca::new("ca");
    let crl = |serial: &[u8]| {
        let revoked = rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2039, 1, 1),
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&ca.params, &ca.key)).unwrap().der().to_vec()
    };
    for (revoked, expected) in [(&[7][..], ClientStatus::Revoked), (&[8], ClientStatus::Verified)] {
        let tls = Tls {
            client_certificates: ClientCertificates::Request,
            client_anchors: vec![ca.der.clone()],
            client_crls: vec![crl(revoked)],
            ..with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)])
        };
        let key = KeyPair::generate().unwrap();
        let der =
            ca.issue("client.test", &key, |p| p.serial_number = Some(rcgen::SerialNumber::from_slice(&[7])));
        assert_eq!(judged(tls, &ca, Some((der, key))), expected);
    }
}

#[test]
fn a_staple_is_handed_out() {
    let ca = Ca::new("ca");
    let mut certificate = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    certificate.ocsp = Some(b"response".to_vec());
    let store = store_of(vec![site("a", &["a.test"], with(vec![certificate]))]).unwrap();
    let mut client = Client::versions(&ca, &[&rustls::version::TLS12], None).connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    // rustls's client requests it; in TLS 1.2 it is sent in plaintext.
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    link.arrive(&hello, &store);
    assert!(link.server.output().windows(8).any(|w| w == b"response"));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let ca = Ca::new("ca");
    let good = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let other = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let refusal =
        |certificate: Certificate| store_of(vec![site("a", &["a.test"], with(vec![certificate]))]).err();
    assert_eq!(refusal(Certificate { key: other.key, ..good.clone() }), Some(TlsError::KeyMismatch));
    let no_key = Key::Der(Secret::new(vec![1, 2, 3]));
    assert_eq!(refusal(Certificate { key: no_key, ..good.clone() }), Some(TlsError::Key));
    assert_eq!(
        refusal(Certificate { key: Key::Handed("k".into()), ..good.clone() }),
        Some(TlsError::KeyMissing)
    );
    assert_eq!(store_of(vec![site("a", &["a.test"], with(vec![]))]).err(), Some(TlsError::NoCertificate));
    let anchors = Tls { client_certificates: ClientCertificates::Require, ..with(vec![good.clone()]) };
    assert_eq!(store_of(vec![site("a", &["a.test"], anchors)]).err(), Some(TlsError::ClientAnchors));
    assert_eq!(format!("{:?}", good.key), "Der((secret))");
}

#[derive(Debug)]
struct NoRandom;

impl rustls::crypto::SecureRandom for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), rustls::crypto::GetRandomFailed> {
        Err(rustls::crypto::GetRandomFailed)
    }
}

#[test]
fn without_random_bytes_there_is_no_store() {
    let ca = Ca::new("ca");
    let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let settings = Settings { sites: vec![site("a", &["a.test"], tls)], ..Settings::default() };
    let mut provider = rustls::crypto::ring::default_provider();
    provider.secure_random = &NoRandom;
    let store = Store::with_provider(&settings, Keys::NONE, Arc::default(), Arc::new(provider));
    assert_eq!(store.err(), Some(TlsError::Entropy));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn however_the_stream_is_cut(
        capacity in 600_usize..20_000,
        step in 1_usize..3000,
        room in 100_usize..20_000,
        pieces in proptest::collection::vec(1_usize..20_000, 1..6),
        tls12: bool,
    ) {
        let ca = Ca::new("ca");
        let store = one(&ca);
        let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        let mut client = Client::versions(&ca, &[version], None).connect("a.test");
        client.set_buffer_limit(None);
        let mut link = Link::new(capacity, step);
        link.run(&mut client, &store).unwrap();
        for len in pieces {
            let content: Vec<u8> = (0..len).map(|n| (n * 31) as u8).collect();
            client.writer().write_all(&content).unwrap();
            link.run(&mut client, &store).unwrap();
            prop_assert!(link.received == content);
            link.received.clear();
            prop_assert!(link.send(&content, &mut client, room) == content);
        }
        prop_assert!(!link.server.holds_input());
    }

    #[test]
    fn any_first_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        as_record: bool,
        step in 1_usize..500,
    ) {
        let ca = Ca::new("ca");
        let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
        let store = store_of(vec![site("a", &["*"], tls)]).unwrap();
        let mut stream = Vec::new();
        if as_record {
            stream.extend_from_slice(&[22, 3, 1]);
            stream.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        }
        stream.extend_from_slice(&bytes);
        let mut link = Link::new(1 << 11, step);
        link.arrive(&stream, &store);
        prop_assert!(!link.server.is_open());
        let _ = link.server.version() == Some(ProtocolVersion::TLSv1_3);
    }

    #[test]
    fn damaged_hellos_are_survived(at in 0_usize..200, bit in 0_u8..8, cut in 0_usize..300) {
        let ca = Ca::new("ca");
        let store = one(&ca);
        let mut hello = Vec::new();
        Client::new(&ca).connect("a.test").write_tls(&mut hello).unwrap();
        if let Some(byte) = hello.get_mut(at) {
            *byte ^= 1 << bit;
        }
        hello.truncate(cut.max(1));
        let mut link = Link::new(1 << 12, usize::MAX);
        link.arrive(&hello, &store);
        prop_assert!(!link.server.is_open());
    }
}
