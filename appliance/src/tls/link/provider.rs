//! What a handshake needs from outside: random numbers, the verifier, and our certificate and key.

use super::LinkTls;
use super::cipher::Suite;
use super::verifier::Verifier;
use alloc::vec::Vec;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use embedded_tls::{Certificate, CryptoProvider, SignatureScheme, TlsError, TlsVerifier};
use rand_core::{CryptoRng, CryptoRngCore, RngCore};
use rustls::sign::SigningKey;

pub(super) struct Provider<'a> {
    config: &'a LinkTls,
    random: Random,
    pub(super) verifier: Verifier<'a>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(config: &'a LinkTls, seed: [u8; 32]) -> Self {
        Self { config, random: Random(ChaCha20Rng::from_seed(seed)), verifier: Verifier::new(config) }
    }
}

impl CryptoProvider for Provider<'_> {
    type CipherSuite = Suite;
    type Signature = Signature;

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.random
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Suite>, TlsError> {
        Ok(&mut self.verifier)
    }

    fn signer(&mut self) -> Result<(impl signature::SignerMut<Signature>, SignatureScheme), TlsError> {
        Ok((Signer(&*self.config.key), self.config.scheme.1))
    }

    fn client_cert(&mut self) -> Option<Certificate<impl AsRef<[u8]>>> {
        // Our certificate is sent only after the worker has been authenticated.
        self.verifier.verdict().ok()?;
        Some(Certificate::X509(&self.config.certificate[..]))
    }
}

/// Seeded once before a handshake, where a lack of random numbers can be reported: embedded-tls's generators
/// cannot fail.
struct Random(ChaCha20Rng);

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Random {}

/// Limit of embedded-tls on a signature without RSA: one with P-384 in DER.
const MAX_SIGNATURE: usize = 104;

/// A signature, or nothing if signing failed, which a worker refuses.
pub(super) struct Signature(Vec<u8>);

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Signer<'a>(&'a dyn SigningKey);

impl signature::Signer<Signature> for Signer<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        let signer = self.0.choose_scheme(&super::SCHEMES.map(|(scheme, _)| scheme));
        let signed = signer.and_then(|signer| signer.sign(message).ok());
        // embedded-tls has room for this much, and cannot handle more.
        Ok(Signature(signed.filter(|s| s.len() <= MAX_SIGNATURE).unwrap_or_default()))
    }
}
