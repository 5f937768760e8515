//! Cost of TLS 1.3 for a server, with *ring* and with graviola, on this processor:
//! `cargo bench -p appliance --bench cryptography`.
//!
//! Times only the server's work. Takes the best of many short runs, so that other load does not matter; the
//! providers alternate.

use rcgen::KeyPair;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, ServerConfig, ServerConnection,
};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RUNS: usize = 300;
/// Records per run.
const RECORDS: usize = 20;

/// One suite and one group, so that both providers do the same.
fn only(mut provider: CryptoProvider) -> Arc<CryptoProvider> {
    let suite = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|s| s.suite() == suite);
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    Arc::new(provider)
}

struct Endpoints {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Endpoints {
    fn new(provider: &Arc<CryptoProvider>) -> Self {
        let key = KeyPair::generate().expect("random bytes");
        let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        let certificate: CertificateDer<'static> = params.self_signed(&key).expect("a key").into();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider.clone());
        let client = client.with_safe_default_protocol_versions().expect("TLS 1.3");
        let server = ServerConfig::builder_with_provider(provider.clone());
        let server = server.with_safe_default_protocol_versions().expect("TLS 1.3").with_no_client_auth();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Self {
            client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
            server: Arc::new(server.with_single_cert(vec![certificate], key).expect("they belong together")),
        }
    }

    /// A connection, and the server's time for its handshake.
    fn connect(&self) -> (ClientConnection, ServerConnection, Duration) {
        let name = ServerName::try_from("a.test").expect("a name");
        let mut client = ClientConnection::new(self.client.clone(), name).expect("a configuration");
        let mut server = ServerConnection::new(self.server.clone()).expect("a configuration");
        let (mut cost, mut to, mut from) = (Duration::ZERO, Vec::new(), Vec::new());
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            to.clear();
            while client.wants_write() {
                client.write_tls(&mut to).expect("a vector");
            }
            from.clear();
            let start = Instant::now();
            take(&mut to.as_slice(), |bytes| server.read_tls(bytes));
            server.process_new_packets().expect("a handshake");
            while server.wants_write() {
                server.write_tls(&mut from).expect("a vector");
            }
            cost += start.elapsed();
            take(&mut from.as_slice(), |bytes| client.read_tls(bytes));
            client.process_new_packets().expect("a handshake");
        }
        (client, server, cost)
    }
}

fn take(bytes: &mut &[u8], mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(bytes).expect("a slice");
    }
}

/// Time to send and to receive a record with this content.
fn record(client: &mut ClientConnection, server: &mut ServerConnection, content: &[u8]) -> [Duration; 2] {
    let mut wire = Vec::with_capacity(RECORDS * 20_000);
    let mut buffer = vec![0; content.len()];
    let start = Instant::now();
    for _ in 0..RECORDS {
        server.writer().write_all(content).expect("room");
        server.write_tls(&mut wire).expect("a vector");
    }
    let sending = start.elapsed() / RECORDS as u32;
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        client.read_tls(&mut rest).expect("a slice");
        let state = client.process_new_packets().expect("records");
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            left -= client.reader().read(&mut buffer).expect("content");
        }
    }
    wire.clear();
    for _ in 0..RECORDS {
        client.writer().write_all(content).expect("room");
        client.write_tls(&mut wire).expect("a vector");
    }
    let mut rest = wire.as_slice();
    let start = Instant::now();
    while !rest.is_empty() {
        server.read_tls(&mut rest).expect("a slice");
        let state = server.process_new_packets().expect("records");
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            left -= server.reader().read(&mut buffer).expect("content");
        }
    }
    [sending, start.elapsed() / RECORDS as u32]
}

const ROWS: [&str; 8] = [
    "full handshake",
    "resumed handshake",
    "128 bytes sent",
    "128 bytes received",
    "4 KiB sent",
    "4 KiB received",
    "16 KiB sent",
    "16 KiB received",
];

fn main() {
    let providers = [rustls::crypto::ring::default_provider(), rustls_graviola::default_provider()].map(only);
    let mut best = [[Duration::MAX; ROWS.len()]; 2];
    let ends = providers.map(|provider| Endpoints::new(&provider));
    for _ in 0..RUNS {
        for (ends, best) in ends.iter().zip(&mut best) {
            // Without tickets of the previous run.
            let mut fresh = ClientConfig::clone(&ends.client);
            fresh.resumption = Resumption::in_memory_sessions(8);
            let ends = Endpoints { client: Arc::new(fresh), server: ends.server.clone() };
            let mut costs = Vec::with_capacity(ROWS.len());
            let (.., full) = ends.connect();
            let (mut client, mut server, resumed) = ends.connect();
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Resumed));
            costs.extend([full, resumed]);
            for len in [128, 4 << 10, 16 << 10] {
                costs.extend(record(&mut client, &mut server, &vec![7; len]));
            }
            best.iter_mut().zip(costs).for_each(|(best, cost)| *best = (*best).min(cost));
        }
    }
    println!(
        "| server's side, TLS 1.3, X25519, ECDSA P-256, AES-128-GCM | ring, µs | graviola, µs |\n|---|---|---|"
    );
    for (row, name) in ROWS.iter().enumerate() {
        let micros = |provider: usize| best[provider][row].as_nanos() as f64 / 1e3;
        println!("| {name} | {:.1} | {:.1} |", micros(0), micros(1));
    }
}
