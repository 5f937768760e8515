//! The certificates of a site, and the choice among them.

use super::keys::Keys;
use alloc::sync::Arc;
use alloc::vec::Vec;
use model::settings::{Certificate, Key};
use model::tls::TlsError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::der::{Decode as _, SliceReader};

/// The certificates of a site, in configuration order.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    pub(super) fn new(certificates: &[Certificate], keys: Keys<'_>) -> Result<Self, TlsError> {
        let load = |certificate: &Certificate| load(certificate, keys).map(Arc::new);
        let loaded = certificates.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        if loaded.is_empty() { Err(TlsError::NoCertificate) } else { Ok(Self(loaded)) }
    }

    /// Replaces those whose key has the same algorithm as a new one: a site with ECDSA and RSA certificates
    /// keeps one when the other is replaced.
    pub(super) fn merged(&self, new: Self) -> Self {
        let (mut all, mut given) = (Vec::with_capacity(self.0.len()), new.0);
        let mut replaced = Vec::new();
        for old in &self.0 {
            let algorithm = old.key.algorithm();
            let (same, others): (Vec<_>, Vec<_>) =
                given.into_iter().partition(|certificate| certificate.key.algorithm() == algorithm);
            given = others;
            if !same.is_empty() {
                replaced.push(algorithm);
                all.extend(same);
            } else if !replaced.contains(&algorithm) {
                all.push(old.clone());
            }
        }
        all.extend(given);
        Self(all)
    }

    /// When they expire, in seconds since 1970-01-01 UTC.
    pub(super) fn expiries(&self) -> Vec<u64> {
        let first = self.0.iter().filter_map(|certificate| certificate.cert.first());
        first.filter_map(|der| validity(der)).map(|(_, end)| end).collect()
    }

    /// Replaces the OCSP response of one of them; `None` if there is no such certificate.
    pub(super) fn with_staple(&self, index: usize, ocsp: Option<Vec<u8>>) -> Option<Self> {
        let mut all = self.0.clone();
        let certificate = all.get_mut(index)?;
        *certificate = Arc::new(CertifiedKey { ocsp, ..CertifiedKey::clone(certificate) });
        Some(Self(all))
    }
}

pub(super) fn load(certificate: &Certificate, keys: Keys<'_>) -> Result<CertifiedKey, TlsError> {
    let der = match &certificate.key {
        Key::Der(secret) => secret.expose(),
        Key::Handed(name) => keys.find(name).ok_or(TlsError::KeyMissing)?,
    };
    let key = PrivateKeyDer::try_from(der).map_err(|_| TlsError::Key)?;
    // Not loaded by the provider, which makes a copy that is not overwritten.
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| TlsError::Key)?;
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let mut certified = CertifiedKey::new(chain, key);
    certified.ocsp.clone_from(&certificate.ocsp);
    certified.keys_match().map_err(|_| TlsError::KeyMismatch)?;
    Ok(certified)
}

impl ResolvesServerCert for Certificates {
    /// The first certificate whose key supports one of the client's signature schemes.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suits = |c: &&Arc<CertifiedKey>| c.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(suits).cloned()
    }
}

/// Checks that chain and key match, for the host. Returns the validity period of the end-entity certificate,
/// in seconds since 1970-01-01 UTC.
pub fn check(certificate: &Certificate) -> Result<(u64, u64), TlsError> {
    let validity = certificate.chain.first().and_then(|der| validity(der)).ok_or(TlsError::NoCertificate)?;
    if let Key::Der(_) = certificate.key {
        load(certificate, Keys::NONE)?;
    }
    Ok(validity)
}

/// Validity period of a certificate, in seconds since 1970-01-01 UTC.
pub fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let mut reader = SliceReader::new(der).ok()?;
    let certificate = x509_cert::Certificate::decode(&mut reader).ok()?;
    let validity = certificate.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    Some((seconds(validity.not_before), seconds(validity.not_after)))
}
