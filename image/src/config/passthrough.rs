//! `upgrade`, `pass_fields` and `paths` of a prefix: what is forwarded from requests unchanged.

use super::error::Faults;
use super::{Prefix, Site, raw};
use appliance::http::forward::is_withheld;
use appliance::http::upgrade::{self, ProtocolError};
use appliance::serving::has_one_reading;
use model::settings::{ClientCertificates, Passthrough};
use model::url::UrlPrefix;

pub(super) fn passthrough(prefix: &raw::Prefix, faults: &Faults) -> Passthrough {
    let mut passthrough = Passthrough::default();
    if let Some(protocols) = &prefix.upgrade {
        passthrough.upgrade.clear();
        for protocol in protocols {
            let name = protocol.get_ref();
            let what = match upgrade::check(name) {
                Ok(()) => {
                    passthrough.upgrade.push(name.to_ascii_lowercase());
                    continue;
                }
                Err(ProtocolError::Malformed) => "not a protocol name",
                Err(ProtocolError::Forbidden) => "never allowed: requests inside it would bypass all checks",
            };
            let what = format!("upgrade {name:?}, {what}, expected names like \"websocket\" or \"tcp\"");
            faults.error(protocol.span().start, what);
        }
    }
    for field in prefix.pass_fields.iter().flatten() {
        let name = field.get_ref();
        if is_withheld(name) && !name.contains('_') {
            passthrough.fields.push(name.to_ascii_lowercase());
            continue;
        }
        let what = format!(
            "pass_fields {name:?}, expected a field that is dropped by default, such as \"X-Original-URL\""
        );
        faults.error(field.span().start, what);
    }
    if let Some(paths) = &prefix.paths {
        match paths.get_ref().as_str() {
            "unambiguous" => {}
            "as-is" => passthrough.as_is = true,
            other => {
                let what = format!("paths {other:?}, expected \"unambiguous\" or \"as-is\"");
                faults.error(paths.span().start, what);
            }
        }
    }
    passthrough
}

/// Checks across all prefixes: paths are unambiguous, and no prefix with `paths = "as-is"` is above one that requires client
/// certificates.
pub(super) fn check_readings(sites: &[Site], file: &raw::File, faults: &Faults) {
    let all = || {
        sites.iter().zip(&file.site).flat_map(|(site, raw)| {
            let written = site.prefixes.iter().zip(&raw.get_ref().prefix);
            written.map(move |(prefix, raw)| (site, prefix, raw.get_ref()))
        })
    };
    for (site, prefix, raw) in all() {
        // Invalid prefixes have been reported already.
        let Ok(url) = UrlPrefix::parse(&prefix.url) else { continue };
        if !prefix.passthrough.as_is {
            if !has_one_reading(url.path) {
                let what = format!(
                    "path {:?} is interpreted differently by different servers, expected segments without `;`, `::$` and dots at \
                     their ends, or paths = \"as-is\"",
                    url.path
                );
                faults.error(raw.url.span().start, what);
            }
            continue;
        }
        let is_below = |other: &Prefix| {
            UrlPrefix::parse(&other.url).is_ok_and(|other| {
                let start = other.path.get(..url.path.len());
                (other.scheme, other.port) == (url.scheme, url.port)
                    && start.is_some_and(|start| start.eq_ignore_ascii_case(url.path))
            })
        };
        let protected = |&(other, below, _): &(&Site, &Prefix, &raw::Prefix)| {
            requires(other, below) && !requires(site, prefix) && is_below(below)
        };
        if let Some((_, below, _)) = all().find(protected) {
            let what = format!(
                "paths \"as-is\" would bypass the client certificate that {} requires, expected \"unambiguous\"",
                below.url
            );
            faults.error(raw.paths.as_ref().map_or(0, |paths| paths.span().start), what);
        }
    }
}

/// Whether the prefix requires a client certificate.
fn requires(site: &Site, prefix: &Prefix) -> bool {
    let of_site = site.tls.as_ref().map(|tls| tls.client_certificates);
    prefix.client_certificates.or(of_site) == Some(ClientCertificates::Require)
}
