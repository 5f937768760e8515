//! One TLS connection, sans-IO: ciphertext in, plaintext out, and vice versa.

use super::alert::Alert;
use super::client::ClientCertificate;
use super::fault::Fault;
use super::hello::{MAX_HELLO, Peek, RECORD_HEADER, peek};
use super::store::Store;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use model::id::SiteId;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{HandshakeKind, ProtocolVersion};

/// Limit on what a record adds to its content, in bytes: header, explicit nonce, tag (RFC 5288). TLS 1.3 adds
/// less.
pub const MAX_RECORD_OVERHEAD: usize = RECORD_HEADER + 8 + 16;
/// Limit on the content of a record (RFC 8446 §5.1).
const MAX_CONTENT: usize = 16 << 10;
/// Limit on held ciphertext: a record, or the handshake messages of a client that sends a certificate chain.
const MAX_GATHERED: usize = MAX_HELLO + (16 << 10);

/// Record types.
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// The client will send nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// The server side of TLS on one TCP connection.
pub struct ServerTls {
    port: u16,
    /// `None` until the ClientHello has arrived.
    inner: Option<Box<UnbufferedServerConnection>>,
    site: SiteId,
    /// Ciphertext that is not contiguous in the caller's buffer.
    gathered: Vec<u8>,
    plain: Vec<u8>,
    read: usize,
    /// Handshake messages and alerts to be sent.
    output: Vec<u8>,
    sent: usize,
    established: bool,
    /// Outgoing records are encrypted.
    encrypts: bool,
    /// The client has sent close_notify.
    peer_closed: bool,
    closing: bool,
    fault: Option<Fault>,
    client: Option<Arc<ClientCertificate>>,
}

/// A task to be run once application data can be sent.
type Work<'w> = &'w mut dyn FnMut(&mut WriteTraffic<'_, ServerConnectionData>);

/// Why processing stopped.
enum Stop {
    /// More ciphertext is needed.
    Input,
    /// Plaintext must be read first.
    Plaintext,
    Failed,
}

impl ServerTls {
    /// A connection to this local port.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            inner: None,
            site: SiteId(0),
            gathered: Vec::new(),
            plain: Vec::new(),
            read: 0,
            output: Vec::new(),
            sent: 0,
            established: false,
            encrypts: false,
            peer_closed: false,
            closing: false,
            fault: None,
            client: None,
        }
    }

    /// Whether the handshake is in progress.
    pub fn is_handshaking(&self) -> bool {
        !self.established && self.fault.is_none()
    }

    /// Whether the handshake is complete and no error has occurred since.
    pub fn is_open(&self) -> bool {
        self.established && self.fault.is_none()
    }

    /// The error that occurred, if any. [`ServerTls::output`] may contain an alert.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The site whose configuration is used.
    pub fn site(&self) -> SiteId {
        self.site
    }

    /// The client's certificate.
    pub fn client(&self) -> Option<&Arc<ClientCertificate>> {
        self.client.as_ref()
    }

    /// Whether the session was resumed.
    pub fn is_resumed(&self) -> bool {
        let kind = self.inner.as_ref().and_then(|inner| inner.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// The negotiated version.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.inner.as_ref().and_then(|inner| inner.protocol_version())
    }

    /// The protocol negotiated by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.inner.as_ref().and_then(|inner| inner.alpn_protocol())
    }

    /// Whether ciphertext or plaintext is held here.
    pub fn holds_input(&self) -> bool {
        !self.gathered.is_empty() || !self.plaintext().is_empty()
    }

    /// Plaintext to be read.
    pub fn plaintext(&self) -> &[u8] {
        self.plain.get(self.read..).unwrap_or_default()
    }

    /// Consumes plaintext.
    pub fn consume(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= self.plain.len() {
            // The buffer is not kept, since there are many idle connections.
            self.plain = Vec::new();
            self.read = 0;
        }
    }

    /// Whether the client will send nothing more and all it sent was read.
    pub fn has_ended(&self) -> bool {
        (self.peer_closed || self.fault.is_some()) && self.plaintext().is_empty()
    }

    /// Handshake bytes and alerts to be sent before anything else.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Notes that output was sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.output.len() {
            self.output = Vec::new();
            self.sent = 0;
        }
    }

    /// Whether [`ServerTls::receive`] must treat a receive buffer as full: `visible` of `queued` bytes are
    /// contiguous at its front. When it is more than half full, the sender may hold back the rest of a record
    /// because the window has become small (silly window avoidance, RFC 9293 §3.8.6.2.1), and both sides
    /// would wait for each other.
    pub fn is_full(visible: usize, queued: usize, capacity: usize) -> bool {
        visible < queued || queued > capacity / 2
    }

    /// Takes ciphertext. `input` is at the front of a buffer, which can hold no more of the stream if `full`
    /// is set. Returns how many bytes were consumed; the others must be passed again, unmodified since,
    /// together with what follows.
    ///
    /// Stops at plaintext, which must be read first.
    pub fn receive(&mut self, input: &mut [u8], full: bool, store: Option<&Store>) -> usize {
        if self.fault.is_some() {
            return input.len();
        }
        if !self.plaintext().is_empty() {
            return 0;
        }
        if self.inner.is_none() && !self.start(input, store) {
            // Bytes passed again may lie in two pieces.
            return if full && self.fault.is_none() { self.gather(input) } else { 0 };
        }
        if !self.gathered.is_empty() {
            let taken = self.gather(input);
            self.process_gathered(store);
            return taken;
        }
        let (mut done, stop) = self.advance(input, None);
        self.on_established(store);
        if let Stop::Input = stop {
            let rest = input.get(done..).unwrap_or_default();
            // A whole record that was not consumed is part of a handshake message. rustls expects to see it
            // again at the same place, even when it is only asked to encrypt.
            if !rest.is_empty() && (full || has_record(rest)) {
                done += self.gather(rest);
            }
        }
        done
    }

    /// Like [`ServerTls::receive`], for ciphertext that is held here. True if any was processed.
    pub fn receive_gathered(&mut self, store: Option<&Store>) -> bool {
        if self.gathered.is_empty() || self.inner.is_none() || !self.plaintext().is_empty() {
            return false;
        }
        let before = self.gathered.len();
        self.process_gathered(store);
        self.gathered.len() != before
    }

    /// Whether further ciphertext must be appended to what is held here.
    pub fn is_gathering(&self) -> bool {
        !self.gathered.is_empty()
    }

    fn gather(&mut self, input: &[u8]) -> usize {
        let room = MAX_GATHERED - self.gathered.len().min(MAX_GATHERED);
        // Only up to the end of the current record, so that the rest can be processed in place.
        let wanted = self.record_missing().unwrap_or(usize::MAX);
        let taken = input.len().min(room).min(wanted);
        self.gathered.extend_from_slice(&input[..taken]);
        taken
    }

    /// Bytes missing from the last record held; `None` if nothing is held.
    fn record_missing(&self) -> Option<usize> {
        let mut rest = &self.gathered[..];
        if rest.is_empty() {
            return None;
        }
        loop {
            let Some(len) = record_len(rest) else { return Some(RECORD_HEADER - rest.len()) };
            match rest.get(len..) {
                Some([]) => return None,
                Some(after) => rest = after,
                None => return Some(len - rest.len()),
            }
        }
    }

    fn process_gathered(&mut self, store: Option<&Store>) {
        let mut gathered = core::mem::take(&mut self.gathered);
        let (done, stop) = self.advance(&mut gathered, None);
        self.on_established(store);
        if done >= gathered.len() || self.fault.is_some() {
            return;
        }
        gathered.drain(..done);
        self.gathered = gathered;
        if matches!(stop, Stop::Input) && self.gathered.len() >= MAX_GATHERED {
            self.fail(Fault::Oversized, Alert::DecodeError);
        }
    }

    /// Chooses a configuration once the ClientHello is complete. True if there is a connection now.
    fn start(&mut self, input: &[u8], store: Option<&Store>) -> bool {
        let seen = if self.gathered.is_empty() {
            peek(input)
        } else {
            let mut all = self.gathered.clone();
            all.extend_from_slice(input);
            peek(&all)
        };
        let name = match seen {
            Peek::Partial => return false,
            Peek::NotTls => {
                let first = self.gathered.first().or(input.first()).copied().unwrap_or_default();
                if first.is_ascii_uppercase() {
                    // The owner of the connection answers it in plaintext.
                    self.fault = Some(Fault::PlainHttp);
                } else {
                    self.fail(Fault::Garbage, Alert::UnexpectedMessage);
                }
                return false;
            }
            Peek::Refused(fault, alert) => {
                self.fail(fault, alert);
                return false;
            }
            Peek::Hello(name) => name,
        };
        let config = store.and_then(|store| {
            self.site = store.select(self.port, name.as_deref())?;
            store.config(self.site)
        });
        let Some(config) = config else {
            self.fail(Fault::UnknownName, Alert::UnrecognizedName);
            return false;
        };
        match UnbufferedServerConnection::new(config) {
            Ok(connection) => self.inner = Some(Box::new(connection)),
            Err(_) => self.fail(Fault::Handshake, Alert::InternalError),
        }
        self.inner.is_some()
    }

    /// Has rustls process `input` until it needs more or there is plaintext; with `work`, until that can be
    /// run, past any plaintext. Returns the number of bytes consumed.
    fn advance(&mut self, input: &mut [u8], mut work: Option<Work<'_>>) -> (usize, Stop) {
        let Some(inner) = &mut self.inner else { return (0, Stop::Input) };
        // An error, and the length of the output before it.
        let (mut done, mut failed) = (0, None);
        while failed.is_none() || inner.wants_write() {
            // After an error, its input must not be passed again; only the alert is still to be produced.
            let rest = if failed.is_some() { &mut [][..] } else { input.get_mut(done..).unwrap_or_default() };
            let UnbufferedStatus { discard, state } = inner.process_tls_records(rest);
            let before = self.output.len();
            let stop = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    // Without early data, there is no plaintext before the handshake is complete.
                    self.established = true;
                    while let Some(Ok(record)) = traffic.next_record() {
                        self.plain.extend_from_slice(record.payload);
                    }
                    (!self.plain.is_empty() && work.is_none()).then_some(Stop::Plaintext)
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.output, |out| match data.encode(out) {
                        Ok(written) => Ok(written),
                        Err(EncodeError::InsufficientSize(error)) => Err(Some(error.required_size)),
                        Err(EncodeError::AlreadyEncoded) => Err(None),
                    });
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    self.established = true;
                    if let Some(work) = &mut work {
                        work(&mut traffic);
                    }
                    Some(Stop::Input)
                }
                Ok(ConnectionState::Closed) => {
                    self.peer_closed = true;
                    Some(Stop::Input)
                }
                // Early data is never offered, so this is only ever BlockedHandshake.
                Ok(_) => Some(Stop::Input),
                Err(error) => {
                    failed = Some((error, before));
                    None
                }
            };
            done += discard;
            self.encrypts |= match self.output.get(before) {
                Some(&APPLICATION_DATA) => true,
                Some(&CHANGE_CIPHER_SPEC) => inner.protocol_version() == Some(ProtocolVersion::TLSv1_2),
                _ => false,
            };
            if let Some(stop) = stop.filter(|_| failed.is_none()) {
                return (done.min(input.len()), stop);
            }
        }
        if let Some((error, start)) = failed.filter(|_| !self.encrypts) {
            Alert::correct(&error, &mut self.output, start);
        }
        self.fault = Some(if self.established { Fault::Broken } else { Fault::Handshake });
        (input.len(), Stop::Failed)
    }

    /// Verifies the client certificate once the handshake is complete.
    fn on_established(&mut self, store: Option<&Store>) {
        if !self.established || self.client.is_some() {
            return;
        }
        let chain = self.inner.as_ref().and_then(|inner| inner.peer_certificates());
        if let (Some(chain), Some(store)) = (chain, store) {
            self.client = store.verify_client(self.site, chain).map(Arc::new);
        }
    }

    /// Encrypts the start of `plain` into `out` as one record. Returns the number of bytes of each; none
    /// before the handshake is complete, after the end, or without room in `out`. If a key update must be
    /// sent first, both are put into [`ServerTls::output`], and the second number is 0.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> (usize, usize) {
        let room = out.len().saturating_sub(MAX_RECORD_OVERHEAD);
        let piece = &plain[..plain.len().min(MAX_CONTENT).min(room)];
        if piece.is_empty() || !self.is_open() || self.closing {
            return (0, 0);
        }
        let (mut written, mut spilled) = (0, Vec::new());
        self.with_traffic(&mut |traffic| match traffic.encrypt(piece, out) {
            Ok(len) => written = len,
            Err(EncryptError::InsufficientSize(error)) => {
                // A key update must be sent first.
                spilled.resize(error.required_size, 0);
                let len = traffic.encrypt(piece, &mut spilled).unwrap_or(0);
                spilled.truncate(len);
            }
            Err(EncryptError::EncryptExhausted) => {}
        });
        if written == 0 && spilled.is_empty() {
            self.fault = self.fault.or(Some(Fault::Broken));
            return (0, 0);
        }
        self.output.extend_from_slice(&spilled);
        (piece.len(), written)
    }

    /// Sends close_notify: nothing more will be sent.
    pub fn close(&mut self) {
        if self.closing || !self.is_open() {
            return;
        }
        self.closing = true;
        let mut alert = Vec::new();
        self.with_traffic(&mut |traffic| {
            encode(&mut alert, |out| match traffic.queue_close_notify(out) {
                Ok(written) => Ok(written),
                Err(EncryptError::InsufficientSize(error)) => Err(Some(error.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            });
        });
        self.output.extend_from_slice(&alert);
    }

    /// Cancels a handshake in which nothing is wrong, with an alert. False if no alert can be sent any more:
    /// rustls encrypts only close_notify for us, and only after the handshake.
    pub fn cancel(&mut self) -> bool {
        let can = !self.established && !self.encrypts && self.fault.is_none();
        if can {
            self.output.extend_from_slice(&Alert::cancel());
        }
        can
    }

    /// Runs `work` on a connection that can send. Held ciphertext is passed to rustls again, unmodified.
    fn with_traffic(&mut self, work: Work<'_>) {
        let mut gathered = core::mem::take(&mut self.gathered);
        let (done, _) = self.advance(&mut gathered, Some(work));
        if done < gathered.len() {
            gathered.drain(..done);
            self.gathered = gathered;
        }
    }

    fn fail(&mut self, fault: Fault, alert: Alert) {
        self.output.extend_from_slice(&alert.fatal());
        self.fault = Some(fault);
    }
}

/// Appends what `write` writes, with as much room as it asks for.
fn encode(output: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) {
    let start = output.len();
    let mut room = 512;
    for _ in 0..2 {
        output.resize(start + room, 0);
        match write(&mut output[start..]) {
            Ok(written) => return output.truncate(start + written),
            Err(Some(required)) => room = required,
            Err(None) => break,
        }
    }
    output.truncate(start);
}

/// Length of the first record including its header, if the header is complete.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = *bytes else { return None };
    Some(RECORD_HEADER + (usize::from(high) << 8 | usize::from(low)))
}

fn has_record(bytes: &[u8]) -> bool {
    record_len(bytes).is_some_and(|len| bytes.len() >= len)
}
