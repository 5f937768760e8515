//! `[[site.certificate]]`, `[site.tls]` and `[pool.tls]`: files read, checked and turned into settings.

use super::raw;
use crate::cert::{self, DevCertificate};
use appliance::settings::{Certificate, ClientCertificates, Key, LinkTls, Secret, Tls};
use appliance::tls::{self, Keys, TlsError, link};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use toml::Spanned;

/// What is wrong, and at which byte of the file.
type Wrong = (usize, String);
type Result<T> = std::result::Result<T, Wrong>;

/// What stands before the name of a key that is handed over at boot.
const HANDED: &str = "fw_cfg:";

/// TLS of a site and what is odd about it; `None` without certificates.
pub(super) fn tls(
    certificates: &[Spanned<raw::Certificate>],
    written: Option<&Spanned<raw::Tls>>,
    dir: &Path,
) -> Result<Option<(Tls, Vec<Wrong>)>> {
    if certificates.is_empty() {
        return match written {
            Some(tls) => Err((tls.span().start, "tls without a [[site.certificate]], expected one".into())),
            None => Ok(None),
        };
    }
    let mut warnings = Vec::new();
    let certificates =
        certificates.iter().map(|c| certificate(c, dir, &mut warnings)).collect::<Result<_>>()?;
    let default = raw::Tls::default();
    let written = written.map_or(&default, Spanned::get_ref);
    let read =
        |files: &[Spanned<String>]| files.iter().map(|file| load(file, dir)).collect::<Result<Vec<_>>>();
    let mut client_anchors = Vec::new();
    for (file, bytes) in written.client_ca.iter().zip(read(&written.client_ca)?) {
        client_anchors.extend(chain(file, &bytes)?);
    }
    let mut client_crls = Vec::new();
    for (file, bytes) in written.client_crl.iter().zip(read(&written.client_crl)?) {
        client_crls.extend(crls(file, &bytes)?);
    }
    let client_certificates = match &written.client_certificates {
        Some(text) => parse_rule(text, !client_anchors.is_empty())?,
        None => ClientCertificates::default(),
    };
    let tls = Tls {
        certificates,
        tls12: written.tls12.unwrap_or(true),
        resumption: written.resumption.unwrap_or(true),
        client_certificates,
        client_anchors,
        client_crls,
        hsts: written.hsts.as_ref().map(hsts).transpose()?,
    };
    Ok(Some((tls, warnings)))
}

/// TLS on a pool's links, and what is odd about it.
pub(super) fn links(written: &raw::PoolTls, dir: &Path) -> Result<(LinkTls, Vec<Wrong>)> {
    let mut warnings = Vec::new();
    let shown = written.certificate.get_ref();
    if let Some(ocsp) = &shown.ocsp {
        return Err((ocsp.span().start, "ocsp for links to workers, expected none".into()));
    }
    let certificate = certificate(&written.certificate, dir, &mut warnings)?;
    if certificate.chain.len() > 1 {
        let what = "warning: only the first certificate of the chain is shown to workers, expected one by their authority";
        warnings.push((written.certificate.span().start, what.into()));
    }
    let mut anchors = Vec::new();
    for file in &written.ca {
        anchors.extend(chain(file, &load(file, dir)?)?);
    }
    if let (true, Some(name)) = (written.ca.is_empty(), shown.dev.first()) {
        // The authority of all development certificates.
        let file = Spanned::new(name.span(), dev_files(&shown.dev)?.ca.display().to_string());
        anchors = chain(&file, &load(&file, dir)?)?;
    }
    let links = LinkTls { name: written.name.get_ref().clone(), anchors, certificate };
    let at = |error| match error {
        TlsError::LinkName => (written.name.span().start, format!("{:?}: {error}", written.name.get_ref())),
        TlsError::LinkAnchors => match written.ca.first() {
            Some(file) => (file.span().start, format!("{:?}: {error}", file.get_ref())),
            None => (written.certificate.span().start, "tls without ca, expected a trust anchor".into()),
        },
        error => (written.certificate.span().start, error.to_string()),
    };
    match link::LinkTls::new(&links, Keys::NONE, Arc::default()) {
        // One that is handed over cannot be looked at.
        Ok(_) | Err(TlsError::KeyMissing) => Ok((links, warnings)),
        Err(error) => Err(at(error)),
    }
}

/// What a URL prefix asks of clients.
pub(super) fn rule(
    written: Option<&Spanned<String>>,
    site: Option<&Tls>,
) -> Result<Option<ClientCertificates>> {
    written.map(|text| parse_rule(text, site.is_some_and(|tls| !tls.client_anchors.is_empty()))).transpose()
}

/// A port to redirect to.
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

/// The files of a certificate: those that are named, or those of a development certificate.
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

fn certificate(
    written: &Spanned<raw::Certificate>,
    dir: &Path,
    warnings: &mut Vec<Wrong>,
) -> Result<Certificate> {
    let (chain_file, key_file) = files(written)?;
    let chain = chain(&chain_file, &load(&chain_file, dir)?)?;
    let key = match key_file.get_ref().strip_prefix(HANDED) {
        Some(name) => Key::Handed(name.to_owned()),
        None => Key::Der(key(&key_file, Secret::new(load(&key_file, dir)?).expose())?),
    };
    let ocsp = written.get_ref().ocsp.as_ref().map(|file| load(file, dir)).transpose()?;
    let certificate = Certificate { chain, key, ocsp };
    let (begins, ends) = tls::check(&certificate).map_err(|error| match error {
        TlsError::KeyMismatch => {
            let what = format!(
                "{:?} is not the key of {:?}, expected files that belong together",
                key_file.get_ref(),
                chain_file.get_ref()
            );
            (key_file.span().start, what)
        }
        TlsError::NoCertificate => {
            (chain_file.span().start, format!("{:?}, expected an X.509 certificate", chain_file.get_ref()))
        }
        error => (key_file.span().start, format!("{:?}: {error}", key_file.get_ref())),
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut warn = |what: &str| {
        warnings.push((chain_file.span().start, format!("warning: {:?} {what}", chain_file.get_ref())));
    };
    if ends < now {
        warn("has expired, expected a certificate in force");
    } else if begins > now {
        warn("is not valid yet, expected a certificate in force");
    }
    Ok(certificate)
}

fn load(file: &Spanned<String>, dir: &Path) -> Result<Vec<u8>> {
    let path = dir.join(file.get_ref());
    std::fs::read(&path).map_err(|e| (file.span().start, format!("{}: {e}, expected a file", path.display())))
}

fn unreadable(file: &Spanned<String>, error: &pem::Error, expected: &str) -> Wrong {
    let what = match error {
        pem::Error::NoItemsFound => "nothing of that kind in it".to_owned(),
        error => error.to_string(),
    };
    (file.span().start, format!("{:?}: {what}, expected {expected} in PEM", file.get_ref()))
}

fn chain(file: &Spanned<String>, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let wrong = |error: pem::Error| unreadable(file, &error, "certificates");
    let all =
        CertificateDer::pem_slice_iter(bytes).collect::<std::result::Result<Vec<_>, _>>().map_err(wrong)?;
    match all.is_empty() {
        true => Err(wrong(pem::Error::NoItemsFound)),
        false => Ok(all.iter().map(|der| der.to_vec()).collect()),
    }
}

fn crls(file: &Spanned<String>, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let wrong = |error: pem::Error| unreadable(file, &error, "revocation lists");
    let all = CertificateRevocationListDer::pem_slice_iter(bytes);
    let all = all.collect::<std::result::Result<Vec<_>, _>>().map_err(wrong)?;
    match all.is_empty() {
        true => Err(wrong(pem::Error::NoItemsFound)),
        false => Ok(all.iter().map(|der| der.to_vec()).collect()),
    }
}

fn key(file: &Spanned<String>, bytes: &[u8]) -> Result<Secret> {
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|e| unreadable(file, &e, "a private key"))?;
    Ok(Secret::new(key.secret_der().to_vec()))
}

/// A value of `Strict-Transport-Security` (RFC 6797 §6.1).
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
    let what = format!("hsts {text:?}, expected max-age=SECONDS, perhaps with includeSubDomains and preload");
    Err((written.span().start, what))
}

#[cfg(test)]
mod tests;
