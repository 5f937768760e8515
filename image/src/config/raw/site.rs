//! `[[site]]` and `[[site.prefix]]`.

use super::forms::{Name, UrlPrefix};
use super::{Certificate, Http, Limits, SiteBandwidth, Tls};
use crate::config::bounds::PORT;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// A site: URL prefixes that share limits and properties (HTTP.sys: a URL group).
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
    /// The site's name, which no other site has.
    #[schemars(with = "Name")]
    pub(crate) name: Spanned<String>,
    /// What the site answers to, at least one. Error: `site without URL prefix, expected at least one [[site.prefix]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Prefix>", length(min = 1))]
    pub(crate) prefix: Vec<Spanned<Prefix>>,
    /// The site's bandwidth.
    pub(crate) bandwidth: Option<SiteBandwidth>,
    /// Limits on the site.
    pub(crate) limits: Option<Limits>,
    /// How the site's requests are read.
    pub(crate) http: Option<Http>,
    /// Certificates; of several, a client gets the first whose key suits its offer. Error: `https without a certificate,
    /// expected a [[site.certificate]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Certificate>")]
    pub(crate) certificate: Vec<Spanned<Certificate>>,
    /// TLS. Error: `tls without a [[site.certificate]], expected one`.
    #[schemars(with = "Option<Tls>")]
    pub(crate) tls: Option<Spanned<Tls>>,
    /// Requests over plain HTTP are sent to https at this port (308), unless a trusted proxy took them by https.
    #[schemars(with = "Option<i64>", transform = PORT.show(), extend("x-default" = "they are not"))]
    pub(crate) redirect_https: Option<Spanned<i64>>,
}

/// A URL prefix, and what serves the URLs below it: `files`, `pool` or `nobody`, one of them. The longest matching prefix decides.
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
/// **Hosts.** A host may be written in Unicode: it becomes what browsers send (`bücher.example` → `xn--bcher-kva.example`), and
/// names that IDNA does not allow are errors. A prefix with an address is bound to it: it is for connections that arrive there,
/// whatever their Host says (HTTP.sys: IP-bound weak wildcard), and comes after names and `*.domain`. One that nothing can
/// match, because the appliance has another address or none of that family (IPv6 connections are not taken yet), is a warning.
///
/// **Paths.** The prefix that a path falls under decides about site, pool, client certificates and limits. Some workers read more
/// into a path than we do: they take `%2F` for a slash and several slashes for one, cut off `;parameters`, and on Windows dots
/// and blanks at a segment's end and `:stream:$TYPE`, and take wide letters and letters of another case for the same (for ASCII,
/// prefixes have no case). A path that leads to a prefix with other rules in any such reading (`/admin%2Fsecret`,
/// `//admin/secret`, `/admin;x/secret` beside `/` and `/admin/`) is 400 `URL`; where the rules are the same (site, pool or files,
/// client certificates, what is passed on) it goes on as it came. `paths = "as-is"` does not ask; it is an error above a prefix
/// that requires client certificates. Dot segments in disguise, encoded backslashes and what could be decoded twice are 403
/// `Forbidden` anywhere. Names like `ADMIN~1` are known to the worker's file system alone.
///
/// **Changing protocols.** What is not allowed by name is taken out of `Upgrade`, and the request goes on without it. `h2c`, HTTP
/// in any version and TLS are never allowed: behind them requests would reach the worker that nobody has looked at.
/// `HTTP2-Settings` is always dropped. A 101 that names something else than the worker was asked for, or comes before the
/// request's content has, is 502. A WebSocket begins with a GET without content, other protocols with any request.
///
/// **Fields.** Workers get `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `Forwarded` (RFC 7239) and `Via`, all of which say the
/// same; `Host` is our own address and port where an HTTP/1.0 client named none. Dropped, in every spelling that a server might
/// make the same variable of (`X_Forwarded_For`), are what clients would say in our name (`X-Forwarded-*`, `X-Real-IP`,
/// `X-Client-IP`, `True-Client-IP`, `X-Client-Cert-*`, `X-SSL-*`, `X-ARR-*`, `Front-End-Https`, `X-Url-Scheme`, `Proxy` and their
/// like), and, unless `pass_fields` names them, what tells a worker of another target, host or method than the request line's:
/// `X-Original-URL`, `X-Rewrite-URL`, `X-Original-Host`, `X-HTTP-Method-Override`, `SCRIPT_NAME`, `PATH_INFO` and their like
/// (`appliance/src/http/hop.rs` has all). A request is judged, and repeated at another worker, by its request line whatever such a
/// field says.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["files"] }, { "required": ["pool"] }, { "required": ["nobody"] }]))]
pub(crate) struct Prefix {
    /// `scheme://host:port/path/`: scheme `http` or `https`; host a name, `*.name`, an address, `+` or `*`; the path decoded. No
    /// two prefixes are the same, and no port has both schemes.
    #[schemars(with = "UrlPrefix")]
    pub(crate) url: Spanned<String>,
    /// Serves the files below this directory.
    #[schemars(with = "Option<String>")]
    pub(crate) files: Option<Spanned<String>>,
    /// Forwards to the pool of this name.
    #[schemars(with = "Option<Name>")]
    pub(crate) pool: Option<Spanned<String>>,
    /// Nobody serves it. `"reserved"`, a reservation without a registration: 400; `"unbound"`: 503 `N/A`; `"disabled"`: 503
    /// `Disabled`.
    #[schemars(with = "Option<String>", extend("enum" = ["reserved", "unbound", "disabled"]))]
    pub(crate) nobody: Option<Spanned<String>>,
    /// What is asked of clients. Error: `client certificates without client_ca, expected a trust anchor`.
    #[schemars(
        with = "Option<String>",
        extend("enum" = ["ignore", "request", "require"], "x-default" = "what the site says")
    )]
    pub(crate) client_certificates: Option<Spanned<String>>,
    /// Protocols that a client may change to (Upgrade), with or without a version; `[]` for none.
    #[schemars(with = "Option<Vec<String>>", extend("default" = ["websocket"]))]
    pub(crate) upgrade: Option<Vec<Spanned<String>>>,
    /// Fields that are dropped otherwise.
    #[schemars(with = "Option<Vec<String>>", extend("default" = []))]
    pub(crate) pass_fields: Option<Vec<Spanned<String>>>,
    /// Whether a path that servers read in several ways is refused, or passed on as it is.
    #[schemars(with = "Option<String>", extend("enum" = ["unambiguous", "as-is"], "default" = "unambiguous"))]
    pub(crate) paths: Option<Spanned<String>>,
}
