//! TLS 1.3 with certificates on both sides, on links to workers: embedded-tls, driven sans-IO.
//!
//! ```text
//!  vsock ──► receive ──► Pipe ──► embedded-tls ──► plaintext ──► pool
//!  vsock ◄── output  ◄── Pipe ◄── embedded-tls ◄── send      ◄── pool
//! ```
//!
//! embedded-tls is an async client that awaits its socket. Here the socket is a pair of queues (`pipe`), and
//! the client a future that is polled whenever they change, so a session is a value that takes and returns
//! bytes. webpki and *ring* verify chains and signatures (`verifier`), and *ring* encrypts (`cipher`).
//!
//! Limits: one cipher suite, TLS_AES_128_GCM_SHA256; key exchange on P-256; our own certificate is sent
//! without intermediates. A session takes [`SESSION_BYTES`] and its queues, at most one record each way.

mod cipher;
mod pipe;
mod provider;
mod verifier;

use super::Keys;
use super::certificate::load;
use super::clock::WallClock;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use cipher::{HEADER, Suite};
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use embedded_tls::{SignatureScheme, TlsConfig, TlsConnection, TlsContext};
use model::settings;
use model::tls::TlsError;
use pipe::{MAX_RECORD, Phase, Pipe};
use provider::Provider;
use ring::rand::SecureRandom;
use rustls::SignatureScheme as Scheme;
use rustls::pki_types::{CertificateDer, DnsName, TrustAnchor};
use rustls::sign::SigningKey;

/// Signature schemes of our own key, preferred first. embedded-tls has no room for RSA signatures.
const SCHEMES: [(Scheme, SignatureScheme); 3] = [
    (Scheme::ECDSA_NISTP256_SHA256, SignatureScheme::EcdsaSecp256r1Sha256),
    (Scheme::ECDSA_NISTP384_SHA384, SignatureScheme::EcdsaSecp384r1Sha384),
    (Scheme::ED25519, SignatureScheme::Ed25519),
];
/// Limit on the plaintext of a record sent.
const MAX_SENT: usize = 8 << 10;
/// embedded-tls includes the header in the size of a record.
const SEND_BUFFER: usize = HEADER + MAX_SENT + embedded_tls::TLS_RECORD_OVERHEAD;
/// Buffers of a session, in bytes: a record each way.
pub const SESSION_BYTES: usize = MAX_RECORD + SEND_BUFFER;
/// Records per key and direction after which an idle link is replaced: half of the limit of AES-GCM (RFC 8446
/// §5.5), because there are no key updates. rustls updates keys at 2^24.
const RECORD_LIMIT: u64 = 1 << 23;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// The worker sent close_notify.
    Closed,
    /// Its certificate has expired or is not valid yet.
    Expired,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate chains to no trust anchor, or it does not have the key.
    Untrusted,
    /// The handshake failed otherwise: no TLS 1.3, no cipher suite in common, or no TLS at all.
    Handshake,
    /// After the handshake: altered records, or an alert, such as one that refuses our certificate.
    Broken,
}

/// TLS configuration for the links of a pool.
pub struct LinkTls {
    /// The name that a worker's certificate must have.
    name: DnsName<'static>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Our certificate.
    certificate: CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
    scheme: (Scheme, SignatureScheme),
    clock: Arc<WallClock>,
}

impl LinkTls {
    /// Checks and converts a pool's settings. Errors: [`TlsError::LinkKey`] if the key is neither ECDSA nor
    /// Ed25519, [`TlsError::LinkAnchors`] for an invalid trust anchor, [`TlsError::LinkName`] for an invalid
    /// name, [`TlsError::Entropy`] without random numbers.
    pub fn new(
        settings: &settings::LinkTls,
        keys: Keys<'_>,
        clock: Arc<WallClock>,
    ) -> Result<Self, TlsError> {
        let name = DnsName::try_from(settings.name.clone()).map_err(|_| TlsError::LinkName)?;
        let anchor = |der: &Vec<u8>| {
            let der = CertificateDer::from(&der[..]);
            webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned())
        };
        let anchors = settings.anchors.iter().map(anchor).collect::<Result<Vec<_>, _>>();
        let anchors = anchors.ok().filter(|anchors| !anchors.is_empty()).ok_or(TlsError::LinkAnchors)?;
        let ours = load(&settings.certificate, keys)?;
        let suits = |(scheme, _): &&(Scheme, SignatureScheme)| ours.key.choose_scheme(&[*scheme]).is_some();
        let scheme = *SCHEMES.iter().find(suits).ok_or(TlsError::LinkKey)?;
        seed()?;
        let certificate = ours.cert.first().ok_or(TlsError::NoCertificate)?.clone();
        Ok(Self { name, anchors, certificate, key: ours.key.clone(), scheme, clock })
    }
}

/// The TLS session of one link.
pub struct LinkSession {
    pipe: Pipe,
    /// The running client; `None` once it has ended.
    task: Option<Pin<Box<dyn Future<Output = LinkFault>>>>,
    fault: Option<LinkFault>,
    plaintext: Vec<u8>,
    read: usize,
    output: Vec<u8>,
    sent: usize,
    /// Records sent since the handshake.
    records: u64,
}

impl LinkSession {
    /// Starts a handshake, whose first message is in [`LinkSession::output`]. [`TlsError::Entropy`] without
    /// random numbers.
    pub fn start(config: Arc<LinkTls>) -> Result<Self, TlsError> {
        let seed = seed()?;
        let pipe = Pipe::default();
        let task: Pin<Box<dyn Future<Output = LinkFault>>> = Box::pin(run(config, seed, pipe.clone()));
        let (plaintext, output) = (Vec::new(), Vec::new());
        let mut session =
            Self { pipe, task: Some(task), fault: None, plaintext, read: 0, output, sent: 0, records: 0 };
        session.advance();
        Ok(session)
    }

    /// Whether the handshake is complete and the worker authenticated.
    pub fn is_established(&self) -> bool {
        self.pipe.phase() == Phase::Established
    }

    /// Why the session ended, if it has. Earlier plaintext can still be read.
    pub fn fault(&self) -> Option<LinkFault> {
        self.fault
    }

    /// Takes ciphertext and returns how many bytes: none while there is plaintext to read.
    pub fn receive(&mut self, ciphertext: &[u8]) -> usize {
        if self.fault.is_some() {
            return ciphertext.len();
        }
        if !self.plaintext().is_empty() {
            return 0;
        }
        let taken = ciphertext.len().min(HEADER + MAX_RECORD);
        self.pipe.feed(&ciphertext[..taken]);
        self.advance();
        taken
    }

    /// Plaintext to be read.
    pub fn plaintext(&self) -> &[u8] {
        self.plaintext.get(self.read..).unwrap_or_default()
    }

    /// Consumes plaintext.
    pub fn consume(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= self.plaintext.len() {
            // The buffer is not kept, since there are many idle links.
            (self.plaintext, self.read) = (Vec::new(), 0);
        }
    }

    /// Encrypts the start of `plaintext` and returns how many bytes: none before the handshake is complete,
    /// after the end, or while there is output.
    pub fn send(&mut self, plaintext: &[u8]) -> usize {
        if !self.is_established() || self.fault.is_some() || !self.output().is_empty() {
            return 0;
        }
        let taken = plaintext.len().min(MAX_SENT);
        self.pipe.submit(&plaintext[..taken]);
        self.records += 1;
        self.advance();
        taken
    }

    /// Whether the keys have been used for as many records as they should.
    pub fn is_key_exhausted(&self) -> bool {
        self.records.max(self.pipe.records()) >= RECORD_LIMIT
    }

    /// Sends close_notify: nothing more will be sent.
    pub fn close(&mut self) {
        self.pipe.close();
        self.advance();
    }

    /// Ciphertext to be sent.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Notes that output was sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.output.len() {
            (self.output, self.sent) = (Vec::new(), 0);
        }
    }

    /// Polls embedded-tls until it needs more: it never waits for anything but the queues.
    fn advance(&mut self) {
        if let Some(task) = &mut self.task
            && let Poll::Ready(fault) = task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.fault = Some(fault);
            self.task = None;
        }
        self.pipe.drain(&mut self.output, &mut self.plaintext);
    }
}

fn seed() -> Result<[u8; 32], TlsError> {
    let mut seed = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut seed).map_err(|_| TlsError::Entropy)?;
    Ok(seed)
}

/// Runs a link from its first byte to its last.
async fn run(config: Arc<LinkTls>, seed: [u8; 32], pipe: Pipe) -> LinkFault {
    let (mut incoming, mut outgoing) = (vec![0; MAX_RECORD], vec![0; SEND_BUFFER]);
    let settings = TlsConfig::new().with_server_name(config.name.as_ref()).enable_rsa_signatures();
    let mut provider = Provider::new(&config, seed);
    let mut tls = TlsConnection::<_, Suite>::new(pipe.clone(), &mut incoming, &mut outgoing);
    let opened = tls.open(TlsContext::new(&settings, &mut provider)).await;
    // Checked even after a successful handshake: one with messages left out proves nothing.
    if let Err(fault) = provider.verifier.verdict() {
        return fault;
    }
    // Frees the worker's certificate, which can be large.
    drop(provider);
    if opened.is_err() {
        return LinkFault::Handshake;
    }
    pipe.establish();
    if let Some(fault) = exchange(&mut tls, &pipe).await {
        // Nothing is sent: embedded-tls would send an invalid alert in plaintext.
        return fault;
    }
    // Writing to the queues cannot fail.
    let _ = tls.close().await;
    LinkFault::Closed
}

/// Moves plaintext both ways as far as possible until one direction has ended; `None` if it was ours.
async fn exchange(tls: &mut TlsConnection<'_, Pipe, Suite>, pipe: &Pipe) -> Option<LinkFault> {
    let (mut reader, mut writer) = tls.split();
    let mut reading = pin!(async {
        loop {
            match reader.read_buffered().await {
                Ok(mut plaintext) => pipe.deliver(plaintext.pop_all()),
                Err(embedded_tls::TlsError::ConnectionClosed) => return Some(LinkFault::Closed),
                Err(_) => return Some(LinkFault::Broken),
            }
        }
    });
    let mut writing = pin!(async {
        use embedded_io_async::Write as _;
        while let Some(plaintext) = pipe.next().await {
            if writer.write_all(&plaintext).await.is_err() || writer.flush().await.is_err() {
                return Some(LinkFault::Broken);
            }
        }
        None
    });
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(end) => Poll::Ready(end),
        Poll::Pending => writing.as_mut().poll(context),
    })
    .await
}

#[cfg(test)]
mod tests;
