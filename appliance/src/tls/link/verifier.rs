//! Verification of a worker's certificate by webpki and *ring*, as everywhere else, instead of embedded-tls.

use super::cipher::Suite;
use super::{LinkFault, LinkTls};
use alloc::vec::Vec;
use embedded_tls::{
    CertificateEntryRef, CertificateRef, CertificateVerifyRef, Sha256, TlsError, TlsVerifier,
};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, KeyUsage};

/// Context string of a server's signature, before the transcript hash (RFC 8446 §4.4.3).
const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";

/// Verifies one handshake. embedded-tls calls it for each message as it arrives, so their order is checked
/// here: a certificate, then a signature with its key, once each.
pub(super) struct Verifier<'a> {
    config: &'a LinkTls,
    certificate: Option<(CertificateDer<'static>, Sha256)>,
    verified: bool,
    fault: Option<LinkFault>,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(config: &'a LinkTls) -> Self {
        Self { config, certificate: None, verified: false, fault: None }
    }

    /// Whether the worker was authenticated, or why not. A handshake may end without either message.
    pub(super) fn verdict(&self) -> Result<(), LinkFault> {
        if self.verified { Ok(()) } else { Err(self.fault.unwrap_or(LinkFault::Handshake)) }
    }

    fn refuse(&mut self, fault: LinkFault) -> TlsError {
        self.fault = Some(fault);
        TlsError::InvalidCertificate
    }
}

/// The fault to report for a refusal.
fn fault(error: &webpki::Error) -> LinkFault {
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => LinkFault::Expired,
        webpki::Error::CertNotValidForName(_) => LinkFault::OtherName,
        _ => LinkFault::Untrusted,
    }
}

impl TlsVerifier<Suite> for Verifier<'_> {
    fn set_hostname_verification(&mut self, _: &str) -> Result<(), TlsError> {
        // The name is in the configuration.
        Ok(())
    }

    fn verify_certificate(&mut self, transcript: &Sha256, sent: CertificateRef<'_>) -> Result<(), TlsError> {
        if self.certificate.is_some() {
            return Err(self.refuse(LinkFault::Handshake));
        }
        let der = |entry: &CertificateEntryRef<'_>| match entry {
            CertificateEntryRef::X509(der) => CertificateDer::from(der.to_vec()),
            CertificateEntryRef::RawPublicKey(_) => CertificateDer::from(Vec::new()),
        };
        let mut chain = sent.entries.iter().map(der);
        let Some(first) = chain.next() else { return Err(self.refuse(LinkFault::Untrusted)) };
        let intermediates: Vec<_> = chain.collect();
        self.config.verify(&first, &intermediates).map_err(|error| self.refuse(fault(&error)))?;
        self.certificate = Some((first, transcript.clone()));
        Ok(())
    }

    fn verify_signature(&mut self, sent: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        use signature::digest::Digest as _;
        let Some((certificate, transcript)) = self.certificate.as_ref().filter(|_| !self.verified) else {
            return Err(self.refuse(LinkFault::Handshake));
        };
        let hash = transcript.clone().finalize();
        let message = [&[b' '; 64][..], CONTEXT, &hash].concat();
        let scheme = rustls::SignatureScheme::from(sent.signature_scheme.as_u16());
        let signed = algorithm(scheme).is_some_and(|algorithm| {
            let certificate = EndEntityCert::try_from(certificate);
            certificate.is_ok_and(|c| c.verify_signature(algorithm, &message, sent.signature).is_ok())
        });
        if !signed {
            return Err(self.refuse(LinkFault::Untrusted));
        }
        self.verified = true;
        Ok(())
    }
}

impl LinkTls {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        let parsed = EndEntityCert::try_from(certificate)?;
        parsed.verify_for_usage(
            algorithms().all,
            &self.anchors,
            intermediates,
            self.clock.now(),
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        parsed.verify_is_valid_for_subject_name(&ServerName::DnsName(self.name.clone()))
    }
}

fn algorithms() -> rustls::crypto::WebPkiSupportedAlgorithms {
    rustls::crypto::ring::default_provider().signature_verification_algorithms
}

/// The verification algorithm for this scheme in TLS 1.3, which excludes PKCS #1 padding (RFC 8446 §4.2.3).
fn algorithm(scheme: rustls::SignatureScheme) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    use rustls::SignatureScheme as Scheme;
    if let Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512 = scheme {
        return None;
    }
    let (_, found) = algorithms().mapping.iter().find(|(known, _)| *known == scheme)?;
    found.first().copied()
}
