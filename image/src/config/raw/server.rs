//! `[server]`.

use super::forms::{InterfaceAddress, Ipv4, Network};
use super::{Http, Limits, ServerBandwidth};
use crate::config::bounds::{PORT, SHUTDOWN};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use toml::Spanned;

/// The appliance itself: its address, who stands in front of it, and what is for all sites together.
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
/// **Proxies in front.** What a trusted proxy sends is continued: its `client_field` is kept and its own address put at the end,
/// the other of the two is written from it, and its `X-Forwarded-Host` and `-Port` are passed on if they are well-formed. How
/// its client asked, for `X-Forwarded-Proto` and `redirect_https`, is `X-Forwarded-Proto` beside `X-Forwarded-For`, and with
/// `Forwarded` the `proto=` of the element that names the client. The client, for limits and logs, is the last address in the
/// list that is not a trusted proxy's (nginx: `real_ip_recursive on`); what cannot be read as an address ends the search. The
/// port in the logs is the connection's. With `proxy_protocol` the source that the header names is the client, for everything,
/// before TLS; a header of LOCAL or UNKNOWN leaves the connection's own. A connection from anybody else, or without a header of
/// at most 107 (v1) or 1024 bytes (v2), is ended: `Proxy_Header` in the error log and in the metrics.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// A static IPv4 address with its prefix length.
    #[schemars(with = "Option<InterfaceAddress>", extend("x-default" = "DHCP"))]
    pub(crate) address: Option<Spanned<String>>,
    /// The gateway, another host in the address's network. Error: `gateway without address, expected both or neither`.
    #[schemars(with = "Option<Ipv4>", extend("x-default" = "none"))]
    pub(crate) gateway: Option<Spanned<String>>,
    /// Bandwidth of all sites together.
    pub(crate) bandwidth: Option<ServerBandwidth>,
    /// Limits on all sites together.
    pub(crate) limits: Option<Limits>,
    /// How requests are read.
    pub(crate) http: Option<Http>,
    /// How long what is under way may take when `weir up` is to end; 0: no time. HTTP.sys's profile has IIS's.
    #[schemars(with = "Option<i64>", transform = SHUTDOWN.show(), extend("default" = 30, "x-http.sys" = 90))]
    pub(crate) shutdown_limit: Option<Spanned<i64>>,
    /// Who stands in front of us: addresses and networks, IPv4 and IPv6, without bits beyond the prefix.
    #[schemars(with = "Option<Vec<Network>>", extend("x-default" = "nobody"))]
    pub(crate) trusted_proxies: Option<Vec<Spanned<String>>>,
    /// Where trusted proxies say who their client is: `"X-Forwarded-For"` or `"Forwarded"`, in any case.
    #[schemars(
        with = "Option<String>",
        extend("examples" = ["X-Forwarded-For", "Forwarded"], "default" = "X-Forwarded-For")
    )]
    pub(crate) client_field: Option<Spanned<String>>,
    /// Ports of URL prefixes at which every connection begins with a header of the PROXY protocol, v1 or v2. Error:
    /// `proxy_protocol without trusted_proxies, expected the addresses it may come from`.
    #[schemars(with = "Option<Vec<i64>>", transform = ports, extend("x-default" = "none"))]
    pub(crate) proxy_protocol: Option<Vec<Spanned<i64>>>,
}

fn ports(schema: &mut Schema) {
    let mut port = schemars::json_schema!({ "type": "integer" });
    PORT.show()(&mut port);
    schema.insert("items".into(), port.into());
}
