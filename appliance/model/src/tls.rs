//! Errors and counters of TLS.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Why TLS is unavailable. All but [`TlsError::Entropy`] and [`TlsError::KeyMissing`] are found by the host's
/// check first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsError {
    /// No source of random numbers.
    Entropy,
    /// The site does not speak TLS.
    NoTls,
    /// A site without any certificate, or no certificate with this index.
    NoCertificate,
    /// An invalid or unsupported private key.
    Key,
    /// A key that the host should have provided but did not.
    KeyMissing,
    /// A certificate and a key that do not match.
    KeyMismatch,
    /// An invalid trust anchor or revocation list, or client certificates without a trust anchor.
    ClientAnchors,
    /// rustls refuses the combination.
    Configuration,
    /// A key that cannot be used on links.
    LinkKey,
    /// No usable trust anchors for links.
    LinkAnchors,
    /// An invalid worker name for links.
    LinkName,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entropy => "no source of random numbers, expected virtio-rng, RDSEED or RDRAND",
            Self::NoTls => "the site does not serve https",
            Self::NoCertificate => "no such certificate, expected at least one for a site",
            Self::Key => "not a private key, expected ECDSA P-256 or P-384, RSA from 2048 bits, or Ed25519",
            Self::KeyMissing => "a private key was not handed over, expected it in fw_cfg opt/weir/keys",
            Self::KeyMismatch => "certificate and private key do not belong together",
            Self::ClientAnchors => "client certificates without usable trust anchors and revocation lists",
            Self::Configuration => "versions and cipher suites do not fit together",
            Self::LinkKey => "not a key for links to workers, expected ECDSA P-256 or P-384, or Ed25519",
            Self::LinkAnchors => "links to workers without usable trust anchors",
            Self::LinkName => "not a name for workers, expected a DNS name",
        })
    }
}

impl core::error::Error for TlsError {}

/// Counts of TLS events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCounters {
    /// Handshakes completed, resumed ones included.
    pub handshakes: u64,
    /// Handshakes that resumed a session.
    pub resumed: u64,
    /// Handshakes that negotiated TLS 1.2.
    pub tls12: u64,
    /// Handshakes that failed because of what the client sent or offered.
    pub failed: u64,
    /// Connections that did not begin with TLS.
    pub garbage: u64,
    /// Connections that began with plain HTTP, and were answered with 400.
    pub plain_http: u64,
    /// Handshake messages larger than allowed.
    pub oversized: u64,
    /// Handshakes for a name that no site has.
    pub unknown_name: u64,
    /// Handshakes that timed out.
    pub timed_out: u64,
    /// Handshakes that gave way to newer ones.
    pub evicted: u64,
    /// Connections refused for lack of TLS memory.
    pub refused: u64,
    /// Established connections that violated the protocol: altered records, renegotiation.
    pub broken: u64,
    /// Requests whose host belongs to another site than the handshake's name: 421.
    pub misdirected: u64,
    /// Requests answered with 403 because of the client certificate.
    pub client_certificates_refused: u64,
}
