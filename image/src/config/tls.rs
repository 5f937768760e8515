//! `[[site.certificate]]`, `[site.tls]` and `[pool.tls]`: reads and checks the files, and converts them to settings.

use super::error::{Fault, Faults};
use super::raw;
use crate::cert::{self, DevCertificate};
use crate::pem::{self, PemError};
use appliance::tls::{self, Keys, link};
use model::settings::{Certificate, ClientCertificates, Key, LinkTls, Secret, Tls};
use model::tls::TlsError;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

/// Prefix of a key name, for keys that the host supplies at boot.
const HANDED: &str = "fw_cfg:";
/// Certificates that expire within this time, in seconds, cause a warning: 30 days.
const ENDS_SOON_S: u64 = 30 * 86_400;

/// TLS settings of a site; `None` without certificates.
pub(super) fn tls(
    certificates: &[Spanned<raw::Certificate>],
    written: Option<&Spanned<raw::Tls>>,
    dir: &Path,
    faults: &Faults,
) -> Option<Tls> {
    if certificates.is_empty() {
        if let Some(tls) = written {
            faults.error(tls.span().start, "tls without a [[site.certificate]], expected one");
        }
        return None;
    }
    let certificates = certificates.iter().filter_map(|c| certificate(c, dir, faults)).collect();
    let default = raw::Tls::default();
    let written = written.map_or(&default, Spanned::get_ref);
    let rule = written.client_certificates.as_ref();
    Some(Tls {
        certificates,
        tls12: written.tls12.unwrap_or(true),
        resumption: written.resumption.unwrap_or(true),
        client_certificates: faults
            .value(rule.map(|text| parse_rule(text, !written.client_ca.is_empty())).transpose())
            .unwrap_or_default(),
        client_anchors: written
            .client_ca
            .iter()
            .filter_map(|file| authorities(file, dir, faults))
            .flatten()
            .collect(),
        client_crls: written
            .client_crl
            .iter()
            .filter_map(|file| faults.ok(load(file, dir, pem::crls)))
            .flatten()
            .collect(),
        hsts: faults.value(written.hsts.as_ref().map(hsts).transpose()),
    })
}

/// TLS settings of the links to a pool's workers.
pub(super) fn links(written: &raw::PoolTls, dir: &Path, faults: &Faults) -> Option<LinkTls> {
    let shown = written.certificate.get_ref();
    if let Some(ocsp) = &shown.ocsp {
        faults.error(ocsp.span().start, "ocsp for links to workers, expected none");
    }
    let certificate = certificate(&written.certificate, dir, faults);
    if certificate.as_ref().is_some_and(|certificate| certificate.chain.len() > 1) {
        let what = "warning: only the first certificate of the chain is sent to workers, expected one issued directly by their CA";
        faults.warn(written.certificate.span().start, what);
    }
    let all: Vec<_> = written.ca.iter().map(|file| authorities(file, dir, faults)).collect();
    let mut anchors = all.into_iter().collect::<Option<Vec<_>>>()?.concat();
    if let (true, Some(name)) = (written.ca.is_empty(), shown.dev.first()) {
        // Default: the CA of all development certificates.
        let made = faults.ok(dev_files(&shown.dev))?;
        let file = Spanned::new(name.span(), made.ca.display().to_string());
        anchors = faults.ok(load(&file, dir, pem::certificates))?;
    }
    let links = LinkTls { name: written.name.get_ref().clone(), anchors, certificate: certificate? };
    let at = |error| match error {
        TlsError::LinkName => (written.name.span().start, format!("{:?}: {error}", written.name.get_ref())),
        TlsError::LinkAnchors => match written.ca.first() {
            Some(file) => (file.span().start, format!("{:?}: {error}", file.get_ref())),
            None => (written.certificate.span().start, "tls without ca, expected a trust anchor".into()),
        },
        error => (written.certificate.span().start, error.to_string()),
    };
    match link::LinkTls::new(&links, Keys::NONE, Arc::default()) {
        // A key supplied by the host cannot be checked here.
        Ok(_) | Err(TlsError::KeyMissing) => Some(links),
        Err(error) => faults.ok(Err(at(error))),
    }
}

/// Parses `client_certificates`.
pub(super) fn rule(
    written: Option<&Spanned<String>>,
    has_anchors: bool,
) -> Result<Option<ClientCertificates>> {
    written.map(|text| parse_rule(text, has_anchors)).transpose()
}

/// Parses `redirect_https`.
pub(super) fn port(written: &Spanned<i64>) -> Result<u16> {
    let port = u16::try_from(*written.get_ref()).ok().filter(|&port| port > 0);
    port.ok_or_else(|| {
        (
            written.span().start,
            format!("redirect_https {}, expected a port from 1 to 65535", written.get_ref()),
        )
    })
}

fn parse_rule(text: &Spanned<String>, has_anchors: bool) -> Result<ClientCertificates> {
    let rule = match text.get_ref().as_str() {
        "ignore" => return Ok(ClientCertificates::Ignore),
        "request" => ClientCertificates::Request,
        "require" => ClientCertificates::Require,
        other => {
            let what =
                format!("client_certificates {other:?}, expected \"ignore\", \"request\" or \"require\"");
            return Err((text.span().start, what));
        }
    };
    match has_anchors {
        true => Ok(rule),
        false => {
            Err((text.span().start, "client certificates without client_ca, expected a trust anchor".into()))
        }
    }
}

/// The files of a certificate: those named, or those of a development certificate.
fn files(written: &Spanned<raw::Certificate>) -> Result<(Spanned<String>, Spanned<String>)> {
    let raw::Certificate { chain, key, dev, .. } = written.get_ref();
    match (chain, key, &dev[..]) {
        (Some(chain), Some(key), []) => Ok((chain.clone(), key.clone())),
        (None, None, [first, ..]) => {
            let made = dev_files(dev)?;
            let at = |path: &Path| Spanned::new(first.span(), path.display().to_string());
            Ok((at(&made.chain), at(&made.key)))
        }
        _ => {
            let what =
                "certificate, expected chain and key, or dev with the names of a development certificate";
            Err((written.span().start, what.into()))
        }
    }
}

fn dev_files(names: &[Spanned<String>]) -> Result<DevCertificate> {
    let at = names.first().map_or(0, |name| name.span().start);
    let names: Vec<_> = names.iter().map(|name| name.get_ref().clone()).collect();
    let dir = crate::Options::new().map(|options| options.target_dir.join("dev"));
    dir.and_then(|dir| cert::dev(&dir, &names)).map_err(|error| (at, format!("{error:#}")))
}

fn certificate(written: &Spanned<raw::Certificate>, dir: &Path, faults: &Faults) -> Option<Certificate> {
    let (chain_file, key_file) = faults.ok(files(written))?;
    let chain = faults.ok(load(&chain_file, dir, pem::certificates));
    let key = match key_file.get_ref().strip_prefix(HANDED) {
        Some(name) => Some(Key::Handed(name.to_owned())),
        None => faults.ok(load(&key_file, dir, pem::key)).map(Key::Der),
    };
    let read = |file: &Spanned<String>| {
        let path = dir.join(file.get_ref());
        cert::read_ocsp(&path).map_err(|error| (file.span().start, format!("{error:#}")))
    };
    let ocsp = faults.value(written.get_ref().ocsp.as_ref().map(read).transpose());
    let certificate = Certificate { chain: chain?, key: key?, ocsp };
    faults.ok(tls::check(&certificate).map_err(|error| match error {
        TlsError::KeyMismatch => {
            let what = format!(
                "{:?} is not the key of {:?}, expected a matching pair",
                key_file.get_ref(),
                chain_file.get_ref()
            );
            (key_file.span().start, what)
        }
        TlsError::NoCertificate => {
            (chain_file.span().start, format!("{:?}, expected an X.509 certificate", chain_file.get_ref()))
        }
        error => (key_file.span().start, format!("{:?}: {error}", key_file.get_ref())),
    }))?;
    dates(&certificate.chain, &chain_file, faults);
    Some(certificate)
}

/// Reads CA certificates.
fn authorities(file: &Spanned<String>, dir: &Path, faults: &Faults) -> Option<Vec<Vec<u8>>> {
    let found = faults.ok(load(file, dir, pem::certificates))?;
    dates(&found, file, faults);
    Some(found)
}

/// Warns of certificates that are not valid yet, have expired, or expire soon.
fn dates(certificates: &[Vec<u8>], file: &Spanned<String>, faults: &Faults) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let date = |unix| String::from_utf8_lossy(&model::date::format(unix)).into_owned();
    for (number, der) in certificates.iter().enumerate() {
        let Some((begins, ends)) = tls::validity(der) else { continue };
        let what = if ends < now {
            format!("expired on {}, expected a valid certificate", date(ends))
        } else if begins > now {
            format!("is not valid before {}, expected a valid certificate", date(begins))
        } else if ends < now + ENDS_SOON_S {
            format!("expires on {}, expected at least 30 days of validity", date(ends))
        } else {
            continue;
        };
        let which = match certificates.len() {
            1 => String::new(),
            _ => format!(", certificate {},", number + 1),
        };
        faults.warn(file.span().start, format!("warning: {:?}{which} {what}", file.get_ref()));
    }
}

/// Extracts something from the content of a file.
type Read<T> = fn(&[u8]) -> std::result::Result<T, PemError>;

fn load<T>(file: &Spanned<String>, dir: &Path, read: Read<T>) -> Result<T> {
    let path = dir.join(file.get_ref());
    let bytes = std::fs::read(&path).map(Secret::new);
    let bytes =
        bytes.map_err(|e| (file.span().start, format!("{}: {e}, expected a file", path.display())))?;
    read(bytes.expose()).map_err(|e| (file.span().start, format!("{:?}: {e}", file.get_ref())))
}

/// Validates a value of `Strict-Transport-Security` (RFC 6797 §6.1).
fn hsts(written: &Spanned<String>) -> Result<String> {
    let text = written.get_ref();
    let mut directives = text.split(';').map(str::trim);
    let has_age = directives.clone().any(|d| {
        d.split_once('=').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("max-age")
                && !value.is_empty()
                && value.len() <= 10
                && value.bytes().all(|b| b.is_ascii_digit())
        })
    });
    let known = |d: &str| {
        let lower = d.to_ascii_lowercase();
        lower.starts_with("max-age=") || lower == "includesubdomains" || lower == "preload"
    };
    if has_age && directives.all(known) {
        return Ok(text.clone());
    }
    let what =
        format!("hsts {text:?}, expected max-age=SECONDS, optionally with includeSubDomains and preload");
    Err((written.span().start, what))
}

#[cfg(test)]
mod tests;
