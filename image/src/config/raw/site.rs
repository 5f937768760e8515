//! `[[site]]` and `[[site.prefix]]`.

use super::forms::{Name, UrlPrefix};
use super::{Certificate, Http, Limits, SiteBandwidth, Tls};
use crate::config::bounds::PORT;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A site: URL prefixes that share limits and properties. HTTP.sys calls this a URL group.
///
/// ```toml
/// [[site]]
/// name = "shop"
/// redirect_https = 443
///
/// [[site.prefix]]
/// url = "https://shop.test:443/"
/// pool = "app"
///
/// [[site.prefix]]
/// url = "https://shop.test:443/admin/"
/// pool = "app"
/// client_certificates = "require"
///
/// [[site.certificate]]
/// chain = "shop.pem"
/// key = "shop.key"
/// ocsp = "shop.ocsp"
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["name", "prefix"]))]
pub(crate) struct Site {
    /// Name of the site, unique among sites.
    #[schemars(with = "Name")]
    pub(crate) name: Spanned<String>,
    /// URL prefixes the site serves, at least one. Error: `site without URL prefix, expected at least one [[site.prefix]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Prefix>", length(min = 1))]
    pub(crate) prefix: Vec<Spanned<Prefix>>,
    /// Bandwidth of the site.
    pub(crate) bandwidth: Option<SiteBandwidth>,
    /// Limits for the site.
    pub(crate) limits: Option<Limits>,
    /// How requests to the site are parsed.
    pub(crate) http: Option<Http>,
    /// Certificates. If there are several, a client gets the first one whose key type it supports. Error: `https without a
    /// certificate, expected a [[site.certificate]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Certificate>")]
    pub(crate) certificate: Vec<Spanned<Certificate>>,
    /// TLS settings. Error: `tls without a [[site.certificate]], expected one`.
    #[schemars(with = "Option<Tls>")]
    pub(crate) tls: Option<Spanned<Tls>>,
    /// Redirect plain HTTP requests to https on this port (308), except those a trusted proxy received over https.
    #[schemars(with = "Option<i64>", transform = PORT.show(), extend("x-default" = "no redirect"))]
    pub(crate) redirect_https: Option<Spanned<i64>>,
}

/// A URL prefix and what serves the URLs below it: exactly one of `files`, `pool` and `nobody`. The longest matching prefix wins.
///
/// ```toml
/// [[site.prefix]]
/// url = "http://*:80/app/"
/// pool = "app"
/// upgrade = ["websocket"]
/// pass_fields = ["X-Rewrite-URL"]
///
/// [[site.prefix]]
/// url = "http://*:80/admin/"
/// nobody = "reserved"
/// ```
///
/// **Hosts.** A Unicode host is converted to the form browsers send (`bücher.example` → `xn--bcher-kva.example`); names that IDNA
/// does not allow are errors. A prefix with an IP address serves connections to that address, whatever their Host field says
/// (HTTP.sys: IP-bound weak wildcard), and ranks below names and `*.domain`. A prefix that nothing can match, because the
/// appliance has another address or no address of that family (IPv6 is not supported yet), is a warning.
///
/// **Paths.** The matching prefix determines site, pool, client certificates and limits. Some servers normalise paths further
/// than Weir does. They decode `%2F` to a slash, merge slashes, strip `;parameters`, fold full-width characters and case
/// (prefixes are case-insensitive for ASCII only), and on Windows drop trailing dots and spaces and `:stream:$TYPE`. With `paths
/// = "unambiguous"`, a path that would match a prefix with other rules under any such normalisation (`/admin%2Fsecret`,
/// `//admin/secret` or `/admin;x/secret` beside `/` and `/admin/`) is 400 `URL`. If the rules are the same (site, pool or files,
/// client certificates, forwarding) it is forwarded unchanged. `paths = "as-is"` disables the check; it is an error on a prefix
/// above one that requires client certificates. Disguised dot segments, encoded backslashes and double encodings are always 403
/// `Forbidden`. Weir cannot recognise short file names such as `ADMIN~1`: only the worker's file system knows them.
///
/// **Protocol upgrades.** Protocols that are not listed in `upgrade` are removed from the Upgrade field, and the request
/// continues without them. `h2c`, any version of HTTP, and TLS are never allowed, because requests inside them would reach the
/// worker unchecked. `HTTP2-Settings` is always dropped. A 101 response that selects a protocol the worker was not asked for, or
/// that arrives before all request content was sent, is 502. A WebSocket requires a GET without content; other protocols accept
/// any request.
///
/// **Forwarded fields.** Workers receive `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `Forwarded` (RFC 7239) and `Via`, all
/// consistent with each other. `Host` is the appliance's address and port if an HTTP/1.0 client sent none. Weir drops fields with
/// which clients could impersonate a proxy (`X-Forwarded-*`, `X-Real-IP`, `X-Client-IP`, `True-Client-IP`, `X-Client-Cert-*`,
/// `X-SSL-*`, `X-ARR-*`, `Front-End-Https`, `X-Url-Scheme`, `Proxy` and others), in every spelling that a server might map to the
/// same variable (`X_Forwarded_For`). Unless `pass_fields` lists them, it also drops fields that override the target, host or
/// method of the request line: `X-Original-URL`, `X-Rewrite-URL`, `X-Original-Host`, `X-HTTP-Method-Override`, `SCRIPT_NAME`,
/// `PATH_INFO` and others. `appliance/src/http/hop.rs` has the full list. Routing, limits and replay depend only on the request
/// line, whatever such fields say.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["files"] }, { "required": ["pool"] }, { "required": ["nobody"] }]))]
pub(crate) struct Prefix {
    /// `scheme://host:port/path/`: the scheme is `http` or `https`; the host is a name, `*.name`, an address, `+` or `*`; the
    /// path is decoded. Prefixes are unique, and a port has only one scheme.
    #[schemars(with = "UrlPrefix")]
    pub(crate) url: Spanned<String>,
    /// Serve the files below this directory.
    #[schemars(with = "Option<String>")]
    pub(crate) files: Option<Spanned<String>>,
    /// Forward to the pool of this name.
    #[schemars(with = "Option<Name>")]
    pub(crate) pool: Option<Spanned<String>>,
    /// Serve nothing: `"reserved"`, an HTTP.sys reservation without a registration (400); `"unbound"` (503 `N/A`); `"disabled"`
    /// (503 `Disabled`).
    #[schemars(with = "Option<String>", extend("enum" = ["reserved", "unbound", "disabled"]))]
    pub(crate) nobody: Option<Spanned<String>>,
    /// Whether clients are asked for a certificate. Error: `client certificates without client_ca, expected a trust anchor`.
    #[schemars(
        with = "Option<String>",
        extend("enum" = ["ignore", "request", "require"], "x-default" = "the site's setting")
    )]
    pub(crate) client_certificates: Option<Spanned<String>>,
    /// Protocols that a client may switch to (Upgrade), with or without a version; `[]`: none.
    #[schemars(with = "Option<Vec<String>>", extend("default" = ["websocket"]))]
    pub(crate) upgrade: Option<Vec<Spanned<String>>>,
    /// Request fields to forward that would otherwise be dropped.
    #[schemars(with = "Option<Vec<String>>", extend("default" = []))]
    pub(crate) pass_fields: Option<Vec<Spanned<String>>>,
    /// Whether to reject paths that servers interpret differently, or to forward them as they are.
    #[schemars(with = "Option<String>", extend("enum" = ["unambiguous", "as-is"], "default" = "unambiguous"))]
    pub(crate) paths: Option<Spanned<String>>,
}
