//! `[[site.certificate]]`, `[site.tls]` and `[pool.tls]`.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A certificate and its key: either `chain` and `key`, or `dev`. Error: `certificate, expected chain and key, or dev with the
/// names of a development certificate`.
///
/// A certificate that does not match its key is an error. A certificate that has expired, is not valid yet, expires within 30
/// days, or does not cover the names of the site's prefixes is a warning. If a file contains something else, the error shows a
/// command that converts it, and never its content.
///
/// ```sh
/// ./qemu/weir cert dev localhost 127.0.0.1     # prints where the CA certificate is
/// curl --cacert target/weir/dev/ca.pem https://localhost:8443/
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["chain", "key"] }, { "required": ["dev"] }]))]
pub(crate) struct Certificate {
    /// PEM file of the certificate chain, the site's own certificate first.
    #[schemars(with = "Option<String>")]
    pub(crate) chain: Option<Spanned<String>>,
    /// PEM file of the private key: ECDSA P-256 or P-384, RSA of at least 2048 bits, or Ed25519. `"fw_cfg:NAME"`: a key that the
    /// host supplies at boot (`image/DEPLOY.md`).
    #[schemars(with = "Option<String>")]
    pub(crate) key: Option<Spanned<String>>,
    /// Names of a development certificate, which is issued when it is first needed.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) dev: Vec<Spanned<String>>,
    /// DER file of an OCSP response to staple. Error in a pool: `ocsp for links to workers, expected none`.
    #[schemars(with = "Option<String>", extend("x-default" = "none"))]
    pub(crate) ocsp: Option<Spanned<String>>,
}

/// TLS settings of a site that has certificates.
///
/// ```toml
/// [site.tls]
/// client_certificates = "request"
/// client_ca = ["clients.pem"]
/// client_crl = ["clients.crl"]
/// hsts = "max-age=31536000"
/// ```
///
/// The server name that a client requests selects the site whose certificate it gets: a prefix with that host, else the longest
/// matching `*.domain`, else the site with a wildcard or an address on that port. Without such a site the handshake is refused.
///
/// Strict-Transport-Security is sent with every response over TLS, including errors.
///
/// Where client certificates are requested or required, workers receive `X-Client-Cert-Verify` (`SUCCESS`, `NONE`,
/// `FAILED:expired`, `FAILED:revoked`, `FAILED:untrusted`), and with `SUCCESS` also `X-Client-Cert-Subject`, `-Issuer` (RFC
/// 4514), `-Serial` and `-Fingerprint` (SHA-256). Clients cannot forge these fields.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// Allow TLS 1.2 in addition to TLS 1.3.
    #[schemars(extend("default" = true))]
    pub(crate) tls12: Option<bool>,
    /// Session tickets; their keys change every 6 hours.
    #[schemars(extend("default" = true))]
    pub(crate) resumption: Option<bool>,
    /// Whether clients are asked for a certificate. Error: `client certificates without client_ca, expected a trust anchor`.
    #[schemars(with = "Option<String>", extend("enum" = ["ignore", "request", "require"], "default" = "ignore"))]
    pub(crate) client_certificates: Option<Spanned<String>>,
    /// PEM files of trust anchors for client certificates.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) client_ca: Vec<Spanned<String>>,
    /// PEM files of certificate revocation lists. If there are any, every certificate of a chain must be covered by one.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) client_crl: Vec<Spanned<String>>,
    /// Strict-Transport-Security (RFC 6797): `max-age=SECONDS`, optionally with `includeSubDomains` and `preload`.
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
/// Links never leave the machine, so they are plain HTTP by default. With TLS, the worker's side is `weir-agent --tls-...`, or
/// any server that supports TLS 1.3 with AES-128-GCM and P-256 and requests a client certificate. A handshake costs about 25 KiB
/// of memory and two signatures; links are reused.
///
/// A worker that fails authentication never receives a request: requests stay queued as if it were down.
/// `weir_link_certificates_untrusted_total`, `_expired_total`, `_of_other_names_total` and `weir_link_handshakes_failed_total`
/// count the reasons; `weir_links_broken_total` counts workers that refuse *Weir's* certificate. A response whose end is marked
/// only by the end of the connection is complete if the worker sent close_notify; otherwise the client's response is aborted too.
/// A pool that cannot be secured (no random numbers, or the host did not supply its key) is out of service, and the serial
/// console says why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolTls {
    /// Name that the certificate of a worker must be for.
    #[schemars(with = "String")]
    pub(crate) name: Spanned<String>,
    /// PEM files of trust anchors for worker certificates. Default with a development certificate: the development CA. Error:
    /// `tls without ca, expected a trust anchor`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) ca: Vec<Spanned<String>>,
    /// Weir's own certificate, without intermediates: ECDSA or Ed25519.
    #[schemars(with = "Certificate")]
    pub(crate) certificate: Spanned<Certificate>,
}
