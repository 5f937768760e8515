//! `trusted_proxies`, `client_field` and `proxy_protocol` of `[server]`: proxies in front of the appliance.

use super::error::Faults;
use super::raw;
use model::settings::{ClientField, Network, Trust};
use std::net::IpAddr;

/// `ports` are the ports of all URL prefixes.
pub(super) fn trust(server: Option<&raw::Server>, ports: &[u16], faults: &Faults) -> Trust {
    let mut trust = Trust::default();
    let Some(server) = server else { return trust };
    for written in server.trusted_proxies.iter().flatten() {
        let network = network(written.get_ref()).map_err(|what| (written.span().start, what));
        trust.networks.extend(faults.ok(network));
    }
    if let Some(field) = &server.client_field {
        let fields = [ClientField::XForwardedFor, ClientField::Forwarded];
        match fields.into_iter().find(|known| known.name().eq_ignore_ascii_case(field.get_ref())) {
            Some(found) => trust.field = found,
            None => {
                let name = field.get_ref();
                let what = format!("client_field {name:?}, expected \"X-Forwarded-For\" or \"Forwarded\"");
                faults.error(field.span().start, what);
            }
        }
    }
    for port in server.proxy_protocol.iter().flatten() {
        let at = port.span().start;
        match u16::try_from(*port.get_ref()).ok().filter(|number| ports.contains(number)) {
            Some(_) if server.trusted_proxies.as_ref().is_none_or(Vec::is_empty) => {
                let what = "proxy_protocol without trusted_proxies, expected the addresses it may come from";
                faults.error(at, what);
            }
            Some(number) => trust.proxy_protocol.push(number),
            None => {
                let what = format!("proxy_protocol {}, expected the port of a URL prefix", port.get_ref());
                faults.error(at, what);
            }
        }
    }
    trust.proxy_protocol.sort_unstable();
    trust.proxy_protocol.dedup();
    trust
}

/// Parses `ADDRESS/PREFIX-LENGTH`, or an address alone.
fn network(text: &str) -> Result<Network, String> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = |len: &&str| !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
        let len = match len {
            None => most,
            Some(len) => Some(len).filter(plain)?.parse().ok()?,
        };
        // Bits beyond the prefix are an error: either the address or the length is wrong.
        Network::new(address, len).filter(|network| network.begins_at(address))
    });
    parsed.ok_or_else(|| {
        format!("trusted_proxies {text:?}, expected addresses or networks like 10.0.0.0/8 or fd00::/8")
    })
}
