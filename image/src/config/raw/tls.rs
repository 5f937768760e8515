//! `[[site.certificate]]`, `[site.tls]` and `[pool.tls]`.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A certificate and its key: `chain` and `key`, or `dev`. Error: `certificate, expected chain and key, or dev with the names of a
/// development certificate`.
///
/// A certificate and key that do not belong together are an error of the configuration; one that has expired, is not valid yet,
/// ends within 30 days, or is for other names than the site's prefixes is a warning. What stands in a file instead of a
/// certificate or key is said with a command that mends it, and never shown.
///
/// ```sh
/// ./qemu/weir cert dev localhost 127.0.0.1     # says where the authority's certificate is
/// curl --cacert target/weir/dev/ca.pem https://localhost:8443/
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["chain", "key"] }, { "required": ["dev"] }]))]
pub(crate) struct Certificate {
    /// A file in PEM, the site's own certificate first.
    #[schemars(with = "Option<String>")]
    pub(crate) chain: Option<Spanned<String>>,
    /// A file in PEM: ECDSA P-256 or P-384, RSA from 2048 bits, Ed25519; or `"fw_cfg:NAME"`, a key that is handed over at boot
    /// (`image/DEPLOY.md`).
    #[schemars(with = "Option<String>")]
    pub(crate) key: Option<Spanned<String>>,
    /// The names of a development certificate, which is made when it is first needed.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) dev: Vec<Spanned<String>>,
    /// A file with a response to staple, in DER. Error in a pool: `ocsp for links to workers, expected none`.
    #[schemars(with = "Option<String>", extend("x-default" = "none"))]
    pub(crate) ocsp: Option<Spanned<String>>,
}

/// TLS of a site that has certificates.
///
/// ```toml
/// [site.tls]
/// client_certificates = "request"
/// client_ca = ["clients.pem"]
/// client_crl = ["clients.crl"]
/// hsts = "max-age=31536000"
/// ```
///
/// Which site's certificate a client gets is decided by the name it asks for: a prefix with that host, the longest `*.domain`,
/// else the site with a wildcard or an address on the port. Without such a site, other names are refused.
/// Strict-Transport-Security goes with every answer over TLS, refusals included. Workers see `X-Client-Cert-Verify` (`SUCCESS`,
/// `NONE`, `FAILED:expired`, `FAILED:revoked`, `FAILED:untrusted`) where a certificate is requested or required, and with
/// `SUCCESS` also `X-Client-Cert-Subject`, `-Issuer` (RFC 4514), `-Serial` and `-Fingerprint` (SHA-256), all of which clients
/// cannot forge.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// TLS 1.2 besides 1.3.
    #[schemars(extend("default" = true))]
    pub(crate) tls12: Option<bool>,
    /// Tickets; their keys change every 6 hours.
    #[schemars(extend("default" = true))]
    pub(crate) resumption: Option<bool>,
    /// What is asked of clients. Error: `client certificates without client_ca, expected a trust anchor`.
    #[schemars(with = "Option<String>", extend("enum" = ["ignore", "request", "require"], "default" = "ignore"))]
    pub(crate) client_certificates: Option<Spanned<String>>,
    /// Files in PEM: whom client certificates may lead to.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) client_ca: Vec<Spanned<String>>,
    /// Files with revocation lists in PEM; with any, each certificate of a chain must be covered.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) client_crl: Vec<Spanned<String>>,
    /// Strict-Transport-Security (RFC 6797): `max-age=SECONDS`, perhaps with `includeSubDomains` and `preload`.
    #[schemars(with = "Option<String>", extend("x-default" = "not sent"))]
    pub(crate) hsts: Option<Spanned<String>>,
}

/// TLS 1.3 on the links to a pool's workers, with certificates on both sides.
///
/// ```toml
/// [pool.tls]
/// name = "app.workers"
/// ca = ["workers-ca.pem"]
/// certificate = { chain = "weir.pem", key = "weir.key" }
/// ```
///
/// Links stay on the machine, so that they are bare HTTP unless a pool says otherwise. With TLS the worker's end is
/// `weir-agent --tls-...` or any server that speaks TLS 1.3 with AES-128-GCM and P-256 and asks for a certificate. A worker that
/// is not who it should be is never given a request: requests wait as for a worker that is down, and
/// `weir_link_certificates_untrusted_total`, `_expired_total`, `_of_other_names_total` and `weir_link_handshakes_failed_total`
/// say why; `weir_links_broken_total` counts workers that refuse *our* certificate. An answer whose length only its end tells is
/// whole if the worker said that it is the end (close_notify), and else is cut off for the client too. A pool that cannot be
/// secured (no random numbers, a key that was not handed over) is out of service, and the serial line says why. A handshake costs
/// about 25 KiB and two signatures; links are kept and used again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolTls {
    /// What a worker's certificate has to be for.
    #[schemars(with = "String")]
    pub(crate) name: Spanned<String>,
    /// Files in PEM: whom a worker's certificate has to lead to. With a development certificate its authority, if left out. Error:
    /// `tls without ca, expected a trust anchor`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) ca: Vec<Spanned<String>>,
    /// Our own certificate, alone: ECDSA or Ed25519.
    #[schemars(with = "Certificate")]
    pub(crate) certificate: Spanned<Certificate>,
}
