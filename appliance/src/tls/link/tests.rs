//! Sessions with rustls's server, with the bytes cut in every way.

use super::super::tests::{Ca, NOW};
use super::*;
use model::settings::{Certificate, Key};
use proptest::prelude::*;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::io::{Read, Write};

const NAME: &str = "app.workers";

fn client_at(now: u64, ca: &Ca, ours: Certificate) -> Result<Arc<LinkTls>, TlsError> {
    let clock = Arc::new(WallClock::default());
    clock.set(now);
    let settings = settings::LinkTls { name: NAME.into(), anchors: vec![ca.der.clone()], certificate: ours };
    LinkTls::new(&settings, Keys::NONE, clock).map(Arc::new)
}

fn client(ca: &Ca) -> Arc<LinkTls> {
    client_at(NOW, ca, ca.certificate("weir", &PKCS_ECDSA_P256_SHA256)).unwrap()
}

fn server_config(
    ca: &Ca,
    own: &Certificate,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der.clone())).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let Key::Der(key) = &own.key else { panic!("a key") };
    let chain = own.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(key.expose().to_vec()).unwrap();
    builder.with_client_cert_verifier(verifier.build().unwrap()).with_single_cert(chain, key).unwrap()
}

fn server(ca: &Ca, own: &Certificate) -> ServerConnection {
    let config = server_config(ca, own, &[&rustls::version::TLS13]);
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Both ends, and how many bytes move at once.
struct Link {
    session: LinkSession,
    server: ServerConnection,
    step: usize,
    got: Vec<u8>,
}

impl Link {
    fn new(config: &Arc<LinkTls>, server: ServerConnection, step: usize) -> Self {
        Self { session: LinkSession::start(config.clone()).unwrap(), server, step, got: Vec::new() }
    }

    fn between(ca: &Ca, step: usize) -> Self {
        Self::new(&client(ca), server(ca, &ca.certificate(NAME, &PKCS_ECDSA_P256_SHA256)), step)
    }

    /// Moves bytes until nothing moves. Reads the session's plaintext as it arrives.
    fn settle(&mut self) {
        loop {
            let mut moved = 0;
            while !self.session.output().is_empty() {
                let piece = self.session.output();
                let mut piece = &piece[..piece.len().min(self.step)];
                let n = self.server.read_tls(&mut piece).unwrap();
                self.session.sent(n);
                moved += n;
                // Errors are sent as alerts, which the session must receive.
                let _ = self.server.process_new_packets();
            }
            let mut bytes = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut bytes).unwrap();
            }
            moved += bytes.len();
            for piece in bytes.chunks(self.step) {
                self.arrive(piece);
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn arrive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.session.receive(bytes)..];
            self.got.extend_from_slice(self.session.plaintext());
            self.session.consume(self.session.plaintext().len());
        }
    }

    fn send(&mut self, mut plaintext: &[u8]) {
        while !plaintext.is_empty() {
            let n = self.session.send(plaintext);
            assert!(n > 0, "{:?}", self.session.fault());
            plaintext = &plaintext[n..];
            self.settle();
        }
    }

    fn server_got(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // WouldBlock when all is read.
        let _ = self.server.reader().read_to_end(&mut out);
        out
    }
}

#[test]
fn bytes_travel_both_ways_however_they_are_cut() {
    let ca = Ca::new("workers");
    let large: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    for step in [1, 2, 5, 7, 100, 16_384, 1 << 20] {
        let mut link = Link::between(&ca, step);
        assert_eq!(link.session.send(b"too early"), 0);
        link.settle();
        assert!(link.session.is_established() && !link.server.is_handshaking(), "{:?}", link.session.fault());
        assert!(link.server.peer_certificates().is_some());
        let amount = if step < 100 { 1000 } else { large.len() };
        link.server.set_buffer_limit(None);
        link.send(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(link.server_got(), b"GET / HTTP/1.1\r\n\r\n");
        link.server.writer().write_all(&large[..amount]).unwrap();
        link.settle();
        assert!(link.got == large[..amount], "step {step}");
        let mut received = Vec::new();
        for piece in large[..amount].chunks(9000) {
            link.send(piece);
            received.extend(link.server_got());
        }
        assert!(received == large[..amount], "step {step}");
        assert_eq!(link.session.fault(), None);
    }
}

#[test]
fn orderly_ends_differ_from_cuts() {
    let ca = Ca::new("workers");
    let mut link = Link::between(&ca, 100);
    link.settle();
    link.server.writer().write_all(b"last words").unwrap();
    link.server.send_close_notify();
    link.settle();
    assert_eq!((&link.got[..], link.session.fault()), (&b"last words"[..], Some(LinkFault::Closed)));

    let mut link = Link::between(&ca, 100);
    link.settle();
    link.send(b"last words");
    link.session.close();
    link.settle();
    assert_eq!(link.server_got(), b"last words");
    assert!(link.server.process_new_packets().unwrap().peer_has_closed());
    assert_eq!(link.session.fault(), Some(LinkFault::Closed));
    assert_eq!(link.session.send(b"too late"), 0);
}

#[test]
fn workers_are_authenticated() {
    let (ca, other) = (Ca::new("workers"), Ca::new("somebody else"));
    let good = ca.certificate(NAME, &PKCS_ECDSA_P256_SHA256);
    let stranger = other.certificate(NAME, &PKCS_ECDSA_P256_SHA256);
    let namesake = ca.certificate("other.workers", &PKCS_ECDSA_P256_SHA256);
    let late = client_at(4_000_000_000, &ca, ca.certificate("weir", &PKCS_ECDSA_P256_SHA256)).unwrap();
    let early = client_at(1_000_000_000, &ca, ca.certificate("weir", &PKCS_ECDSA_P256_SHA256)).unwrap();
    let config = client(&ca);
    for (config, own, expected) in [
        (&config, &good, None),
        (&config, &stranger, Some(LinkFault::Untrusted)),
        (&config, &namesake, Some(LinkFault::OtherName)),
        (&late, &good, Some(LinkFault::Expired)),
        (&early, &good, Some(LinkFault::Expired)),
    ] {
        let mut link = Link::new(config, server(&ca, own), 1000);
        link.settle();
        assert_eq!(link.session.fault(), expected);
        assert_eq!(link.session.is_established(), expected.is_none());
    }
    let verifier = verifier::Verifier::new(&config);
    assert_eq!(
        verifier.verdict(),
        Err(LinkFault::Handshake),
        "a handshake without a certificate proves nothing"
    );
}

#[test]
fn keys_of_each_kind_sign() {
    let ca = Ca::new("workers");
    for (ours, theirs) in [
        (&PKCS_ED25519, &PKCS_ED25519),
        (&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P384_SHA384),
        (&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519),
    ] {
        let config = client_at(NOW, &ca, ca.certificate("weir", ours)).unwrap();
        let mut link = Link::new(&config, server(&ca, &ca.certificate(NAME, theirs)), 1000);
        link.settle();
        assert_eq!(link.session.fault(), None);
        assert!(!link.server.is_handshaking());
    }
}

#[test]
fn invalid_link_settings_are_refused() {
    let ca = Ca::new("workers");
    let good = || ca.certificate("weir", &PKCS_ECDSA_P256_SHA256);
    let refused = |edit: &dyn Fn(&mut settings::LinkTls)| {
        let mut settings =
            settings::LinkTls { name: NAME.into(), anchors: vec![ca.der.clone()], certificate: good() };
        edit(&mut settings);
        LinkTls::new(&settings, Keys::NONE, Arc::default()).err()
    };
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|s| s.anchors.clear()), Some(TlsError::LinkAnchors));
    assert_eq!(refused(&|s| s.anchors = vec![vec![1, 2, 3]]), Some(TlsError::LinkAnchors));
    assert_eq!(refused(&|s| s.name = "not a name".into()), Some(TlsError::LinkName));
    assert_eq!(refused(&|s| s.certificate.key = good().key), Some(TlsError::KeyMismatch));
    assert_eq!(refused(&|s| s.certificate.key = Key::Handed("k".into())), Some(TlsError::KeyMissing));
}

#[test]
fn a_worker_that_refuses_us_is_a_broken_link() {
    let (ca, other) = (Ca::new("workers"), Ca::new("somebody else"));
    let config = client_at(NOW, &ca, other.certificate("weir", &PKCS_ECDSA_P256_SHA256)).unwrap();
    let mut link = Link::new(&config, server(&ca, &ca.certificate(NAME, &PKCS_ECDSA_P256_SHA256)), 1000);
    link.settle();
    assert_eq!(link.session.fault(), Some(LinkFault::Broken));
}

#[test]
fn other_protocols_fail_in_the_handshake() {
    let ca = Ca::new("workers");
    let own = ca.certificate(NAME, &PKCS_ECDSA_P256_SHA256);
    let old = server_config(&ca, &own, &[&rustls::version::TLS12]);
    let mut link = Link::new(&client(&ca), ServerConnection::new(Arc::new(old)).unwrap(), 1000);
    link.settle();
    assert_eq!(link.session.fault(), Some(LinkFault::Handshake));

    for answer in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[22, 3, 3, 255, 255], &[0; 64], &[23, 3, 3, 0, 20]]
    {
        let mut session = LinkSession::start(client(&ca)).unwrap();
        session.receive(answer);
        assert_eq!(session.fault(), Some(LinkFault::Handshake), "{answer:?}");
        assert_eq!(session.receive(b"more"), 4);
    }
}

#[test]
fn altered_records_break_the_link() {
    let ca = Ca::new("workers");
    for (at, mask) in [(0, 1), (3, 0x80), (8, 1)] {
        let mut link = Link::between(&ca, 1000);
        link.settle();
        link.server.writer().write_all(b"hello").unwrap();
        let mut bytes = Vec::new();
        link.server.write_tls(&mut bytes).unwrap();
        bytes[at] ^= mask;
        link.arrive(&bytes);
        assert_eq!((link.session.fault(), link.got.len()), (Some(LinkFault::Broken), 0), "byte {at}");
    }
}

#[test]
fn a_key_update_ends_a_link_at_once() {
    let ca = Ca::new("workers");
    let mut link = Link::between(&ca, 1000);
    link.settle();
    link.server.refresh_traffic_keys().unwrap();
    link.settle();
    assert_eq!(link.session.fault(), Some(LinkFault::Broken));
}

#[test]
fn keys_have_a_record_limit_in_both_directions() {
    let ca = Ca::new("workers");
    let mut link = Link::between(&ca, 1000);
    link.settle();
    link.send(&[1; MAX_SENT]);
    assert_eq!((link.session.records, link.server_got().len()), (1, MAX_SENT), "one record");
    assert!(!link.session.is_key_exhausted());
    link.session.records = RECORD_LIMIT;
    assert!(link.session.is_key_exhausted());
}

#[test]
fn plaintext_is_read_before_more_is_taken() {
    let ca = Ca::new("workers");
    let mut link = Link::between(&ca, 1 << 20);
    link.settle();
    link.server.set_buffer_limit(None);
    link.server.writer().write_all(&[7; 100_000]).unwrap();
    let mut bytes = Vec::new();
    while link.server.wants_write() {
        link.server.write_tls(&mut bytes).unwrap();
    }
    let taken = link.session.receive(&bytes);
    let held = link.session.plaintext().len();
    assert!(
        (1..=HEADER + MAX_RECORD).contains(&taken) && (1..=MAX_RECORD).contains(&held),
        "{taken}, {held}"
    );
    assert_eq!(link.session.receive(&bytes[taken..]), 0);
}

proptest! {
    /// Whatever a worker answers, the session ends or waits.
    #[test]
    fn a_damaged_handshake_is_no_handshake(
        at in 0usize..2000, bytes in prop::collection::vec(any::<u8>(), 1..40), step in 1usize..300,
    ) {
        let ca = Ca::new("workers");
        let mut link = Link::between(&ca, step);
        while !link.session.output().is_empty() {
            let n = link.server.read_tls(&mut link.session.output()).unwrap();
            link.session.sent(n);
        }
        let _ = link.server.process_new_packets();
        let mut flight = Vec::new();
        while link.server.wants_write() {
            link.server.write_tls(&mut flight).unwrap();
        }
        let at = at % flight.len();
        let before = flight.clone();
        for (old, new) in flight[at..].iter_mut().zip(&bytes) {
            *old = *new;
        }
        prop_assume!(flight != before);
        for piece in flight.chunks(step) {
            link.arrive(piece);
        }
        // Everything is protected except the versions of the first two records and the content of
        // ChangeCipherSpec.
        let hello = HEADER + usize::from(u16::from_be_bytes([before[3], before[4]]));
        let free = [1, 2, hello + 1, hello + 2, hello + HEADER];
        let differs = |at: &usize| before[*at] != flight[*at];
        let harmless = (0..flight.len()).filter(differs).all(|at| free.contains(&at));
        prop_assert!(!link.session.is_established() || harmless);
    }
}
