//! Client certificates: requested in the handshake but verified after it, so that a refusal can be an HTTP
//! response with a reason.

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

/// Limit on the length of names passed on, in bytes.
const MAX_NAME: usize = 512;

/// Result of verifying a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientStatus {
    /// The client sent none.
    #[default]
    None,
    /// Chains to a trust anchor, is in force and not revoked.
    Verified,
    /// It has expired or is not valid yet.
    Expired,
    /// Revoked, or not covered by the revocation lists.
    Revoked,
    /// Chains to no trust anchor, or is not for client authentication.
    Untrusted,
}

impl ClientStatus {
    /// Why a request that requires a certificate is refused, if it is.
    pub const fn refusal(self) -> Option<Reason> {
        match self {
            Self::None => Some(Reason::ClientCertRequired),
            Self::Verified => None,
            Self::Expired => Some(Reason::ClientCertExpired),
            Self::Revoked => Some(Reason::ClientCertRevoked),
            Self::Untrusted => Some(Reason::ClientCertUntrusted),
        }
    }

    /// The value sent to workers.
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

/// A client certificate and the result of its verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Result of the verification.
    pub status: ClientStatus,
    /// Subject, as an RFC 4514 string.
    pub subject: String,
    /// Issuer, as an RFC 4514 string.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 fingerprint in hexadecimal.
    pub fingerprint: String,
    fields: Vec<u8>,
}

impl ClientCertificate {
    /// Verifies a client's chain.
    pub(super) fn verify(
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

    /// Request header lines for a worker. Contents of the certificate are passed on only if it was verified.
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

/// The header line for a client that sent no certificate although one was requested.
pub const NO_CERTIFICATE: &[u8] = b"X-Client-Cert-Verify: NONE\r\n";

/// Printable ASCII, at most [`MAX_NAME`] bytes; everything else is escaped as `\XX` (RFC 4514 §2.4).
fn printable(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if out.len() + 3 > MAX_NAME {
            break;
        }
        if byte == b' ' || byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
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

/// Requests a certificate and completes the handshake with any. Verifies only that the client has its key;
/// [`ClientCertificate::verify`] verifies the certificate.
#[derive(Debug)]
pub(super) struct RequestCertificate(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for RequestCertificate {
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
