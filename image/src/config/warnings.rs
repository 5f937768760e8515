//! Warnings about valid settings that are probably mistakes, as far as they depend on the whole configuration.

use super::error::Faults;
use super::{Config, Site, raw};
use crate::files;
use appliance::serving::RequestablePaths;
use model::settings::Handler;
use model::url::{PrefixHost, Scheme, UrlPrefix};
use nix::unistd::{AccessFlags, access};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use std::path::Path;
use toml::Spanned;

/// Records all warnings.
pub(super) fn collect(config: &Config, file: &raw::File, faults: &Faults) {
    for (site, written) in config.sites.iter().zip(&file.site) {
        redirect(config, written.get_ref(), faults);
        names(site, written.get_ref(), faults);
    }
    for (index, pool) in file.pool.iter().enumerate() {
        let serves = |handler| matches!(handler, Handler::Pool(number) if number.index() == index);
        let mut prefixes = config.sites.iter().flat_map(|site| &site.prefixes);
        if !prefixes.any(|prefix| serves(prefix.handler)) {
            let name = &pool.get_ref().name;
            let what = format!("warning: unused pool {:?}, expected a prefix that names it", name.get_ref());
            faults.warn(name.span().start, what);
        }
    }
    shadows(config, file, faults);
    unreachable(config, file, faults);
    if let (Some(log), Some(written)) = (&config.log, &file.log) {
        directory(&log.directory, written.directory.span().start, faults);
    }
}

/// Warns of a redirect to a port without an https prefix.
fn redirect(config: &Config, site: &raw::Site, faults: &Faults) {
    let Some(written) = &site.redirect_https else { return };
    let prefixes = config.sites.iter().flat_map(|site| &site.prefixes);
    let mut ports: Vec<_> =
        prefixes.filter(|prefix| prefix.url.starts_with("https:")).map(|prefix| prefix.port).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.iter().any(|port| i64::from(*port) == *written.get_ref()) {
        return;
    }
    let listeners = match &ports[..] {
        [] => "expected an https prefix".to_owned(),
        ports => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("expected {}, unless this port of the host is forwarded there", ports.join(" or "))
        }
    };
    let what = format!(
        "warning: redirect_https {} is not the port of an https prefix, {listeners}",
        written.get_ref()
    );
    faults.warn(written.span().start, what);
}

/// Warns of hosts without a matching certificate.
fn names(site: &Site, written: &raw::Site, faults: &Faults) {
    let Some(tls) = &site.tls else { return };
    let ders: Vec<_> = tls
        .certificates
        .iter()
        .filter_map(|certificate| Some(CertificateDer::from_slice(certificate.chain.first()?)))
        .collect();
    let parsed: Vec<_> = ders.iter().filter_map(|der| ParsedCertificate::try_from(der).ok()).collect();
    if parsed.is_empty() {
        return;
    }
    for (prefix, raw) in site.prefixes.iter().zip(&written.prefix) {
        let Ok(UrlPrefix { scheme: Scheme::Https, host, .. }) = UrlPrefix::parse(&prefix.url) else {
            continue;
        };
        let asked = match host {
            PrefixHost::Explicit(name) => name.to_owned(),
            // Any name below the domain.
            PrefixHost::Subdomains(domain) => format!("any.{domain}"),
            PrefixHost::Ipv4(address) => IpAddr::from(address).to_string(),
            PrefixHost::Ipv6(address) => IpAddr::from(address).to_string(),
            PrefixHost::StrongWildcard | PrefixHost::WeakWildcard => continue,
        };
        let Ok(name) = ServerName::try_from(asked) else { continue };
        if !parsed.iter().any(|certificate| verify_server_name(certificate, &name).is_ok()) {
            let url = &raw.get_ref().url;
            let what = format!(
                "warning: no certificate of the site covers the host of {:?}, expected one that does",
                prefix.url
            );
            faults.warn(url.span().start, what);
        }
    }
}

/// Warns of prefixes all of whose requests match another prefix (HTTP.sys compares host categories before paths).
fn shadows(config: &Config, file: &raw::File, faults: &Faults) {
    let spans = |site: &Spanned<raw::Site>| -> Vec<usize> {
        site.get_ref().prefix.iter().map(|prefix| prefix.get_ref().url.span().start).collect()
    };
    let all: Vec<_> = config
        .sites
        .iter()
        .zip(&file.site)
        .flat_map(|(site, written)| site.prefixes.iter().zip(spans(written)))
        .filter_map(|(prefix, start)| Some((UrlPrefix::parse(&prefix.url).ok()?, &prefix.url, start)))
        .collect();
    let takes_all = |host: &PrefixHost<'_>| match host {
        PrefixHost::StrongWildcard => true,
        PrefixHost::Ipv4(address) => config.address.is_some_and(|ours| ours.address == address.octets()),
        _ => false,
    };
    for (prefix, _, start) in &all {
        let shadow = all.iter().find(|(other, _, _)| {
            (other.scheme, other.port) == (prefix.scheme, prefix.port)
                && takes_all(&other.host)
                && comes_before(&other.host, &prefix.host)
                && prefix.path.starts_with(other.path)
        });
        if let Some((_, url, _)) = shadow {
            faults.warn(
                *start,
                format!("warning: unreachable prefix, expected one that {url:?} does not cover"),
            );
        }
    }
}

/// Maximum number of warnings per directory.
const FILES_MAX: usize = 10;

/// Warns of static files that no request can name: impossible characters in the name, or a path that is too long or too deep.
fn unreachable(config: &Config, file: &raw::File, faults: &Faults) {
    let reach = RequestablePaths::new(&config.settings());
    for (number, (site, written)) in config.sites.iter().zip(&file.site).enumerate() {
        for (prefix, raw) in site.prefixes.iter().zip(&written.get_ref().prefix) {
            let (Handler::Files(tree), Ok(url)) = (prefix.handler, UrlPrefix::parse(&prefix.url)) else {
                continue;
            };
            let Some(Ok(found)) = config.trees.get(usize::from(tree)).map(|root| files::walk(root)) else {
                continue;
            };
            let lost = found.keys().filter(|path| !reach.contains(number, &format!("{}{path}", url.path)));
            let at = raw.get_ref().files.as_ref().map_or(Faults::REPORTED, |files| files.span().start);
            for (count, path) in lost.enumerate() {
                if count == FILES_MAX {
                    faults.warn(at, "warning: more files that no request can reach");
                    break;
                }
                let what = format!(
                    "warning: no request can reach the file {path:?}, expected a name that is valid in URLs, within the \
                     limits of [site.http]"
                );
                faults.warn(at, what);
            }
        }
    }
}

/// Whether the router considers `one`'s host category before that of `other`.
fn comes_before(one: &PrefixHost<'_>, other: &PrefixHost<'_>) -> bool {
    let category = |host: &PrefixHost<'_>| match host {
        PrefixHost::StrongWildcard => 0,
        PrefixHost::Explicit(_) | PrefixHost::Subdomains(_) => 1,
        PrefixHost::Ipv4(_) | PrefixHost::Ipv6(_) => 2,
        PrefixHost::WeakWildcard => 3,
    };
    category(one) < category(other)
}

/// Warns of a log directory that cannot be created or written to.
fn directory(path: &Path, at: usize, faults: &Faults) {
    let Some(there) = path.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return };
    if !there.is_dir() {
        faults.error(at, format!("{}: not a directory, expected a log directory", there.display()));
    } else if access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        faults.warn(
            at,
            format!("warning: {}: not writable, expected a writable log directory", there.display()),
        );
    }
}
