//! A client's TLS: rustls between its requests and its socket. Keys and nonces are rustls's own and differ between runs, so a
//! seed determines everything but those and the length of signatures.

use crate::world::UNIX_TIME;
use model::settings::{Certificate, Key, LinkTls, Prefix, Secret, Settings, Site, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, Error, HandshakeKind, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// Clients trust only this world's certificates.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

#[derive(Debug)]
struct WorldTime;

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(UNIX_TIME)))
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random bytes");
        let certificate = params.self_signed(&key).expect("a key that signs").der().clone();
        Self { params, key, certificate }
    }

    /// A certificate with its key, in the format of the settings.
    pub fn certificate(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().expect("random bytes");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let chain = vec![params.signed_by(&key, &issuer).expect("a key that signs").der().to_vec()];
        Certificate { chain, key: Key::Der(Secret::new(key.serialize_der())), ocsp: None }
    }

    /// Credentials of the appliance for links, and of the workers of that name.
    pub fn links(&self, name: &str) -> (LinkTls, Arc<ServerConfig>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a trust anchor");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let (chain, key) = shown(&self.certificate(name));
        let server = ServerConfig::builder_with_details(provider, Arc::new(WorldTime))
            .with_protocol_versions(&[&TLS13])
            .expect("suites for the version")
            .with_client_cert_verifier(verifier.expect("a trust anchor"))
            .with_single_cert(chain, key)
            .expect("they belong together");
        let anchors = vec![self.der()];
        (LinkTls { name: name.into(), anchors, certificate: self.certificate("weir") }, Arc::new(server))
    }

    /// Adds the site's prefixes with https, and a certificate for `sim`.
    pub fn secure(&self, settings: &Settings) -> Settings {
        let secure = |site: &Site| {
            let mut prefixes = site.prefixes.clone();
            for prefix in &site.prefixes {
                let url = prefix.url.replace("http://", "https://").replace(":80/", ":443/");
                prefixes.push(Prefix { url, ..prefix.clone() });
            }
            let certificates = vec![self.certificate("sim")];
            let tls = Tls { certificates, tls12: true, resumption: true, ..Tls::default() };
            Site { prefixes, tls: Some(tls), ..site.clone() }
        };
        Settings { sites: settings.sites.iter().map(secure).collect(), ..settings.clone() }
    }

    /// Client configuration; clients that share it resume each other's sessions.
    pub fn clients(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        Arc::new(self.builder(versions).with_no_client_auth())
    }

    /// The same for clients with this certificate.
    pub fn clients_with(&self, certificate: &Certificate) -> Arc<ClientConfig> {
        let (chain, key) = shown(certificate);
        Arc::new(self.builder(&[&TLS13]).with_client_auth_cert(chain, key).expect("they belong together"))
    }

    /// In DER.
    pub fn der(&self) -> Vec<u8> {
        self.certificate.to_vec()
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a trust anchor");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(WorldTime));
        let builder = builder.with_protocol_versions(versions).expect("suites for the versions");
        builder.with_root_certificates(roots)
    }
}

/// In rustls's format.
fn shown(certificate: &Certificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let Key::Der(key) = &certificate.key else { panic!("a certificate of this world") };
    let key = PrivateKeyDer::try_from(key.expose().to_vec()).expect("a key");
    (certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect(), key)
}

/// TLS state of one client.
pub struct Secure {
    config: Arc<ClientConfig>,
    connection: ClientConnection,
    /// Ciphertext that is still to be sent.
    leaving: Vec<u8>,
    /// Maximum bytes of ciphertext sent at once.
    pub piece: usize,
    /// Put every byte of handshake messages into a record of its own, while they are unencrypted.
    pub byte_by_byte: bool,
    /// Number of completed handshakes of each kind.
    pub full: usize,
    pub resumed: usize,
    /// Records received since the connection began, including those of the handshake.
    pub records: usize,
    header: Vec<u8>,
    skip: usize,
    was_handshaking: bool,
}

impl Secure {
    pub fn new(config: &Arc<ClientConfig>) -> Box<Self> {
        Box::new(Self {
            config: config.clone(),
            connection: connection(config),
            leaving: Vec::new(),
            piece: usize::MAX,
            byte_by_byte: false,
            full: 0,
            resumed: 0,
            records: 0,
            header: Vec::new(),
            skip: 0,
            was_handshaking: true,
        })
    }

    /// Starts a connection.
    pub fn begin(&mut self) {
        self.connection = connection(&self.config);
        self.leaving.clear();
        self.header.clear();
        (self.records, self.skip, self.was_handshaking) = (0, 0, true);
    }

    /// The server's certificate, in DER.
    pub fn server_certificate(&self) -> Option<&[u8]> {
        self.connection.peer_certificates().and_then(|chain| chain.first()).map(|der| &der[..])
    }

    /// Processes ciphertext; plaintext is appended to `received`.
    pub fn receive(&mut self, mut bytes: &[u8], received: &mut Vec<u8>) -> Result<(), Error> {
        self.count_records(bytes);
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).expect("a slice can be read");
            let state = self.connection.process_new_packets()?;
            let start = received.len();
            received.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut received[start..]).expect("it says that it has them");
        }
        if self.was_handshaking && !self.connection.is_handshaking() {
            self.was_handshaking = false;
            match self.connection.handshake_kind() {
                Some(HandshakeKind::Resumed) => self.resumed += 1,
                _ => self.full += 1,
            }
        }
        Ok(())
    }

    fn count_records(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.header.push(byte);
            if let [_, _, _, high, low] = self.header[..] {
                self.skip = usize::from(u16::from_be_bytes([high, low]));
                self.records += 1;
                self.header.clear();
            }
        }
    }

    /// Accepts plaintext; nothing before the handshake is complete. Returns the number of bytes.
    pub fn write(&mut self, plain: &[u8]) -> usize {
        if self.connection.is_handshaking() {
            return 0;
        }
        self.connection.writer().write(plain).unwrap_or(0)
    }

    /// Sends pending data through `socket`, which returns how much it accepts.
    pub fn send(&mut self, socket: impl FnOnce(&[u8]) -> usize) {
        while self.connection.wants_write() {
            let start = self.leaving.len();
            self.connection.write_tls(&mut self.leaving).expect("a vector takes everything");
            if self.byte_by_byte && self.connection.is_handshaking() {
                let flight = self.leaving.split_off(start);
                self.leaving.extend(fragmented(&flight));
            }
        }
        if !self.leaving.is_empty() {
            let sent = socket(&self.leaving[..self.leaving.len().min(self.piece)]);
            self.leaving.drain(..sent);
        }
    }

    /// Whether there is more to send, but not now.
    pub fn sends_in_pieces(&self) -> bool {
        self.piece < usize::MAX && !self.leaving.is_empty()
    }
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("sim").expect("a host name");
    ClientConnection::new(config.clone(), name).expect("a configuration that fits")
}

/// The handshake messages up to the first other record (after which they may be encrypted), with one byte per record.
pub fn fragmented(mut records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [22, major, minor, high, low, rest @ ..] = records {
        let (content, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        content.iter().for_each(|byte| out.extend([22, *major, *minor, 0, 1, *byte]));
        records = after;
    }
    out.extend_from_slice(records);
    out
}

/// The first bytes a client sends.
pub fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = Vec::new();
    connection(config).write_tls(&mut hello).expect("a vector takes everything");
    hello
}
