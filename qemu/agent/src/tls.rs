//! TLS 1.3 on the appliance's streams, with rustls and certificates on both sides.

use crate::arguments::TlsFiles;
use crate::join::{STALL_LIMIT, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use webpki::EndEntityCert;

/// TLS configuration for all streams.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// Name of the appliance's certificate.
    appliance: ServerName<'static>,
}

impl Tls {
    /// Reads the files. The error is one line and quotes nothing of the key file.
    pub fn load(files: &TlsFiles) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for anchor in certificates(&files.ca)? {
            roots.add(anchor).map_err(|error| format!("{}: {error}", files.ca.display()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.map_err(|error| format!("{}: {error}", files.ca.display()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|_| format!("{}: expected a private key in PEM", files.key.display()))?;
        let chain = certificates(&files.chain)?;
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| error.to_string())?.with_client_cert_verifier(verifier);
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{} and {}: {error}", files.chain.display(), files.key.display()))?;
        // Links are few and long-lived; sessions are not resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let appliance = ServerName::try_from(files.name.clone())
            .map_err(|_| format!("--tls-name {:?}, expected a DNS name", files.name))?;
        Ok(Self { config: Arc::new(config), appliance })
    }

    /// Completes the handshake on a non-blocking stream.
    pub fn accept<'a>(&self, stream: BorrowedFd<'a>, limit: Duration) -> io::Result<Secured<'a>> {
        let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let mut secured = Secured { stream, connection, broken: false };
        let until = Instant::now() + limit;
        while secured.connection.is_handshaking() || secured.holds() {
            secured.drain()?;
            if secured.holds() {
                secured.wait(PollFlags::OUT, Some(until))?;
            } else if secured.connection.is_handshaking() {
                secured.wait(PollFlags::IN, Some(until))?;
                secured.receive()?;
            }
        }
        self.recognise(&secured.connection)?;
        Ok(secured)
    }

    /// Checks the client's name; the handshake has verified its certificate chain.
    fn recognise(&self, connection: &ServerConnection) -> io::Result<()> {
        let chain = connection.peer_certificates().unwrap_or_default();
        let shown = chain.first().ok_or(ErrorKind::PermissionDenied)?;
        let parsed = EndEntityCert::try_from(shown).map_err(io::Error::other)?;
        parsed.verify_is_valid_for_subject_name(&self.appliance).map_err(io::Error::other)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Err(pem::Error::Io(error)) => Err(format!("{}: {error}, expected a file", file.display())),
        // Other errors quote the file, which may be a private key.
        Ok(_) | Err(_) => Err(format!("{}: expected certificates in PEM", file.display())),
    }
}

/// A stream after its handshake.
#[derive(Debug)]
pub struct Secured<'a> {
    stream: BorrowedFd<'a>,
    connection: ServerConnection,
    /// The stream accepts no more data.
    broken: bool,
}

/// The stream as an I/O object for rustls.
struct Raw<'a>(BorrowedFd<'a>);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read(self.0, buffer)?)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Secured<'_> {
    /// Sends close_notify and all buffered data, however long the host takes. If the host has hung up, the limit is
    /// [`STALL_LIMIT`]: a vsock stream without credit shows nothing but its peer's death.
    pub fn finish(mut self) {
        self.connection.send_close_notify();
        let mut until = None;
        while self.drain().is_ok() && self.holds() {
            let what = if until.is_none() { PollFlags::OUT | PollFlags::RDHUP } else { PollFlags::OUT };
            match self.wait(what, until) {
                Ok(seen) if seen.intersects(PollFlags::RDHUP) => until = Some(Instant::now() + STALL_LIMIT),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Writes buffered data. True if there was progress.
    fn drain(&mut self) -> Result<bool, Errno> {
        let mut further = false;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Raw(self.stream)) {
                Ok(1..) => further = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.broken = true;
                    return Err(Errno::PIPE);
                }
            }
        }
        Ok(further)
    }

    /// Waits for events; none if interrupted.
    fn wait(&self, what: PollFlags, until: Option<Instant>) -> io::Result<PollFlags> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut waiting = [PollFd::new(&self.stream, what)];
        match poll(&mut waiting, left.as_ref()) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) => Ok(waiting[0].revents()),
            Err(Errno::INTR) => Ok(PollFlags::empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads received data. 0 is the end.
    fn receive(&mut self) -> io::Result<usize> {
        let taken = match self.connection.read_tls(&mut Raw(self.stream)) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            taken => taken?,
        };
        if let Err(error) = self.connection.process_new_packets() {
            // Send the alert that describes the error.
            let _ = self.drain();
            return Err(io::Error::other(error));
        }
        Ok(taken)
    }
}

impl Side for Secured<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream
    }

    /// An end without close_notify is an error, because data may be missing.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Errno::CONNRESET),
                Ok(n) => return Ok(n),
            }
            match self.receive() {
                Ok(0) => return Err(Errno::AGAIN),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(Errno::INTR),
                Err(_) => return Err(Errno::CONNRESET),
            }
        }
    }

    /// Accepts nothing while data is buffered, so that at most one rustls write is buffered.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.drain()?;
        if self.holds() {
            return Err(Errno::AGAIN);
        }
        let taken = self.connection.writer().write(bytes).map_err(|_| Errno::CONNRESET)?;
        self.drain()?;
        Ok(taken)
    }

    fn flush(&mut self) -> Result<bool, Errno> {
        if self.broken { Ok(false) } else { self.drain() }
    }

    fn holds(&self) -> bool {
        self.connection.wants_write() && !self.broken
    }
}

#[cfg(test)]
mod tests;
