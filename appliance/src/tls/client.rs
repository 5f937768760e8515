//! Client certificates: asked for in the handshake, judged after it, so that a refusal can be an answer with a reason.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use model::reason::Reason;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_cert::der::Decode as _;

/// Longest name passed on, in bytes.
const MAX_NAME: usize = 512;

/// What is known of a client by its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientStatus {
    /// It showed none.
    #[default]
    None,
    /// It leads to a trust anchor, is in force and was not revoked.
    Verified,
    /// It has expired or is not valid yet.
    Expired,
    /// It was revoked, or the revocation lists do not cover it.
    Revoked,
    /// It leads to no trust anchor, or is not a certificate for clients.
    Untrusted,
}

impl ClientStatus {
    /// Why a request that needs a certificate is refused, `None` if it is not.
    pub const fn refusal(self) -> Option<Reason> {
        match self {
            Self::None => Some(Reason::ClientCertRequired),
            Self::Verified => None,
            Self::Expired => Some(Reason::ClientCertExpired),
            Self::Revoked => Some(Reason::ClientCertRevoked),
            Self::Untrusted => Some(Reason::ClientCertUntrusted),
        }
    }

    /// As workers are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Verified => "SUCCESS",
            Self::Expired => "FAILED:expired",
            Self::Revoked => "FAILED:revoked",
            Self::Untrusted => "FAILED:untrusted",
        }
    }
}

/// A client certificate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whether it holds.
    pub status: ClientStatus,
    /// Subject, as RFC 4514 writes names.
    pub subject: String,
    /// Issuer, likewise.
    pub issuer: String,
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: String,
    fields: Vec<u8>,
}

impl ClientCertificate {
    /// Judges the chain a client has shown.
    pub(super) fn judge(
        chain: &[CertificateDer<'_>],
        verifier: &dyn ClientCertVerifier,
        now: UnixTime,
    ) -> Option<Self> {
        let (end_entity, intermediates) = chain.split_first()?;
        let status = match verifier.verify_client_cert(end_entity, intermediates, now) {
            Ok(_) => ClientStatus::Verified,
            Err(Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => ClientStatus::Expired,
                CertificateError::Revoked
                | CertificateError::UnknownRevocationStatus
                | CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. } => ClientStatus::Revoked,
                _ => ClientStatus::Untrusted,
            },
            Err(_) => ClientStatus::Untrusted,
        };
        let parsed = x509_cert::Certificate::from_der(end_entity).ok();
        let body = parsed.as_ref().map(|certificate| &certificate.tbs_certificate);
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        let mut certificate = Self {
            status,
            subject: body.map(|body| printable(&body.subject.to_string())).unwrap_or_default(),
            issuer: body.map(|body| printable(&body.issuer.to_string())).unwrap_or_default(),
            serial: body.map(|body| hex(body.serial_number.as_bytes())).unwrap_or_default(),
            fingerprint: hex(digest.as_ref()),
            fields: Vec::new(),
        };
        certificate.fields = certificate.to_fields().into_bytes();
        Some(certificate)
    }

    /// Request fields for a worker: lines with their ends. What a certificate says is only passed on when it holds.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    fn to_fields(&self) -> String {
        let Self { status, subject, issuer, serial, fingerprint, .. } = self;
        let verdict = format!("X-Client-Cert-Verify: {}\r\n", status.as_str());
        if *status != ClientStatus::Verified {
            return verdict;
        }
        verdict
            + &format!(
                "X-Client-Cert-Subject: {subject}\r\nX-Client-Cert-Issuer: {issuer}\r\n\
                 X-Client-Cert-Serial: {serial}\r\nX-Client-Cert-Fingerprint: {fingerprint}\r\n"
            )
    }
}

/// What a worker is told of a client that was asked for a certificate and showed none.
pub const NO_CERTIFICATE: &[u8] = b"X-Client-Cert-Verify: NONE\r\n";

/// Visible ASCII and blanks only, at most [`MAX_NAME`] bytes; everything else as `\XX` (RFC 4514 §2.4).
fn printable(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if out.len() + 3 > MAX_NAME {
            break;
        }
        if byte == b' ' || byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "\\{byte:02X}");
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Asks for a certificate and lets the handshake go on whatever it is: that the client has its key is verified here, what
/// the certificate is worth by [`ClientCertificate::judge`].
#[derive(Debug)]
pub(super) struct Asking(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
