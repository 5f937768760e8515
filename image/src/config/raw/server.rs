//! `[server]`.

use super::forms::{InterfaceAddress, Ipv4, Network};
use super::{Http, Limits, ServerBandwidth};
use crate::config::bounds::{PORT, SHUTDOWN};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use toml::Spanned;

/// The appliance itself: its address, the proxies in front of it, and settings for all sites together.
///
/// ```toml
/// [server]
/// address = "10.0.2.15/24"
/// gateway = "10.0.2.2"
/// shutdown_limit = 30
/// trusted_proxies = ["10.1.0.0/16", "fd00::/8"]
/// client_field = "X-Forwarded-For"
/// proxy_protocol = [80, 443]
/// ```
///
/// **Proxies in front.** Weir extends the forwarding fields of a trusted proxy: it keeps `client_field` and appends the proxy's
/// address, generates the other of the two fields (`X-Forwarded-For`, `Forwarded`) from it, and passes on `X-Forwarded-Host` and
/// `-Port` if they are well-formed. The scheme the client used, for `X-Forwarded-Proto` and `redirect_https`, is taken from
/// `X-Forwarded-Proto` with `X-Forwarded-For`, and with `Forwarded` from the `proto=` parameter of the element that names the
/// client.
///
/// The client, for limits and logs, is the last address in the list that is not a trusted proxy (nginx: `real_ip_recursive on`);
/// the search ends at an entry that is not an address. The port in the logs is always that of the connection.
///
/// With `proxy_protocol`, the source address in the header is the client for all purposes, even before TLS; a LOCAL or UNKNOWN
/// header leaves the connection's own address. Connections from other addresses, or without a header of at most 107 bytes (v1) or
/// 1024 bytes (v2), are closed, and counted as `Proxy_Header` in the error log and the metrics.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// Static IPv4 address with prefix length.
    #[schemars(with = "Option<InterfaceAddress>", extend("x-default" = "DHCP"))]
    pub(crate) address: Option<Spanned<String>>,
    /// Default gateway, another host in the network of `address`. Error: `gateway without address, expected both or neither`.
    #[schemars(with = "Option<Ipv4>", extend("x-default" = "none"))]
    pub(crate) gateway: Option<Spanned<String>>,
    /// Bandwidth of all sites together.
    pub(crate) bandwidth: Option<ServerBandwidth>,
    /// Limits for all sites together.
    pub(crate) limits: Option<Limits>,
    /// How requests are parsed.
    pub(crate) http: Option<Http>,
    /// How long requests in progress may take to complete when `weir up` shuts down; 0: they are aborted.
    #[schemars(with = "Option<i64>", transform = SHUTDOWN.show(), extend("default" = 30, "x-http.sys" = 90))]
    pub(crate) shutdown_limit: Option<Spanned<i64>>,
    /// Proxies in front of the appliance: IPv4 and IPv6 addresses and networks, without bits beyond the prefix.
    #[schemars(with = "Option<Vec<Network>>", extend("x-default" = "none"))]
    pub(crate) trusted_proxies: Option<Vec<Spanned<String>>>,
    /// Field in which trusted proxies name their client: `"X-Forwarded-For"` or `"Forwarded"`, case-insensitive.
    #[schemars(
        with = "Option<String>",
        extend("examples" = ["X-Forwarded-For", "Forwarded"], "default" = "X-Forwarded-For")
    )]
    pub(crate) client_field: Option<Spanned<String>>,
    /// Ports on which every connection begins with a PROXY protocol header (v1 or v2); each must occur in a URL prefix. Error:
    /// `proxy_protocol without trusted_proxies, expected the addresses it may come from`.
    #[schemars(with = "Option<Vec<i64>>", transform = ports, extend("x-default" = "none"))]
    pub(crate) proxy_protocol: Option<Vec<Spanned<i64>>>,
}

fn ports(schema: &mut Schema) {
    let mut port = schemars::json_schema!({ "type": "integer" });
    PORT.show()(&mut port);
    schema.insert("items".into(), port.into());
}
