//! Why a site or a pool has no TLS.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Why there is no TLS. All but [`TlsError::Entropy`] and [`TlsError::KeyMissing`] are found by the host's check first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsError {
    /// No source of random numbers.
    Entropy,
    /// The site does not speak TLS.
    NoTls,
    /// A site without any certificate, or no certificate of this number.
    NoCertificate,
    /// A key that is none, or of a kind that is not supported.
    Key,
    /// A key that the host was to hand over and did not.
    KeyMissing,
    /// A certificate and a key that do not belong together.
    KeyMismatch,
    /// A trust anchor or revocation list that is none, or client certificates without a trust anchor.
    ClientAnchors,
    /// rustls refuses the combination.
    Configuration,
    /// A key that cannot sign for links.
    LinkKey,
    /// Links without usable trust anchors.
    LinkAnchors,
    /// Links to a name that is none.
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
