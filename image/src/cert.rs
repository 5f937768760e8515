//! Development certificates and the development CA of a checkout.
//!
//! Keys are generated once and kept in the target directory, so that the same configuration gives the same image and the CA needs
//! to be trusted only once.

use crate::artifact::hex_sha256;
use crate::deploy::refuse_unless_bundle;
use crate::pem::{self, PemError};
use crate::place;
use crate::private;
use anyhow::{Context, anyhow, ensure};
use appliance::tls;
use model::bundle;
use model::settings::{Certificate, Key, Secret};
use model::tls::TlsError;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PublicKeyData as _, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use x509_cert::der::{Decode as _, Encode as _};

type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// Validity in days; browsers accept at most 398.
const CERTIFICATE_DAYS: i64 = 397;
const CA_DAYS: i64 = 3650;
/// Certificates with fewer days left are reissued.
const RENEW_DAYS: u64 = 30;
const DAY_S: u64 = 86_400;
/// Common name of the CA.
const AUTHORITY: &str = "Weir development CA";

/// PEM files of a development certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificate {
    /// The CA certificate, for `curl --cacert`.
    pub ca: PathBuf,
    /// The certificate.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A development certificate for `names` (host names, `*.domain`, addresses), issued in `dir` if it does not exist yet.
pub fn dev(dir: &Path, names: &[String]) -> Result<DevCertificate> {
    ensure!(!names.is_empty(), "no name, expected at least one, such as localhost");
    let first = names[0].replace('*', "any").replace([':', '/'], "-");
    let stem = format!("{first}-{}", &hex_sha256(names.join(" ").as_bytes())[..8]);
    let at = |suffix: &str| dir.join(format!("{stem}.{suffix}"));
    let files = DevCertificate { ca: dir.join("ca.pem"), chain: at("pem"), key: at("key") };
    private::create_dir_all(dir)?;
    // Serialises concurrent processes, so that certificate and key always match.
    let lock = dir.join("lock");
    let lock = place::open_or_create(&lock).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.with_context(|| format!("locking {}", dir.display()))?;
    let authority_key = dir.join("ca.key");
    let authority = ours(&files.ca, &authority_key, |certificate| &certificate.tbs_certificate.subject)?;
    let own = ours(&files.chain, &files.key, |certificate| &certificate.tbs_certificate.issuer)?;
    let params = ca_params()?;
    let key = match authority {
        Some(key) if lasts(&files.ca) => {
            if own.is_some() && lasts(&files.chain) {
                return Ok(files);
            }
            key
        }
        old => {
            let key = old.map_or_else(KeyPair::generate, Ok)?;
            let certificate = params.self_signed(&key).context("signing")?;
            write_pair(&files.ca, &certificate.pem(), &authority_key, &key)?;
            key
        }
    };
    let issuer = Issuer::from_params(&params, &key);
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(
                name.as_str().try_into().with_context(|| format!("name {name:?}, expected a host name"))?,
            ),
        });
    }
    validity(&mut params, CERTIFICATE_DAYS)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let own = own.map_or_else(KeyPair::generate, Ok)?;
    let certificate = params.signed_by(&own, &issuer).context("signing")?;
    write_pair(&files.chain, &certificate.pem(), &files.key, &own)?;
    Ok(files)
}

/// Reads a certificate chain and key from PEM files, and an OCSP response from a DER file. Fails unless they match and the
/// certificate is valid now. No error quotes the key's file.
pub fn load(chain: &Path, key: &Path, ocsp: Option<&Path>) -> Result<Certificate> {
    let certificate = Certificate {
        chain: read(chain, pem::certificates)?,
        key: Key::Der(read(key, pem::key)?),
        ocsp: ocsp.map(read_ocsp).transpose()?,
    };
    let (begins, ends) = tls::check(&certificate).map_err(|error| match error {
        TlsError::KeyMismatch => {
            anyhow!("{} is not the key of {}, expected a matching pair", key.display(), chain.display())
        }
        TlsError::NoCertificate => anyhow!("{}: expected an X.509 certificate", chain.display()),
        error => anyhow!("{}: {error}", key.display()),
    })?;
    let date = |unix| String::from_utf8_lossy(&model::date::format(unix)).into_owned();
    ensure!(now_s() < ends, "{}: expired on {}, expected a valid certificate", chain.display(), date(ends));
    ensure!(
        now_s() >= begins,
        "{}: not valid before {}, expected a valid certificate",
        chain.display(),
        date(begins)
    );
    Ok(certificate)
}

fn read<T>(file: &Path, read: fn(&[u8]) -> Result<T, PemError>) -> Result<T> {
    let bytes = std::fs::read(file).map(Secret::new).with_context(|| file.display().to_string())?;
    read(bytes.expose()).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// Reads an OCSP response in DER (RFC 6960 §4.2.1), checking only its outermost structure.
pub fn read_ocsp(file: &Path) -> Result<Vec<u8>> {
    let der = std::fs::read(file).with_context(|| file.display().to_string())?;
    // SEQUENCE { ENUMERATED successful … }
    let body = match der[..] {
        [0x30, 0x82, _, _, ref body @ ..] | [0x30, 0x81, _, ref body @ ..] => body,
        _ => &[],
    };
    ensure!(
        body.starts_with(&[0x0a, 1, 0]),
        "{}: expected an OCSP response in DER whose status is successful",
        file.display()
    );
    Ok(der)
}

/// Writes a bundle of private keys, given as `NAME=FILE`, that only its owner can read.
pub fn write_keys(keys: &[String], out: &Path) -> Result<String> {
    refuse_unless_bundle(out)?;
    let mut sources = Vec::new();
    for key in keys {
        let (name, file) = key.split_once('=').with_context(|| format!("{key:?}, expected NAME=FILE"))?;
        let der = read(Path::new(file), pem::key)?;
        let file = bundle::File {
            tree: 0,
            path: name.to_owned(),
            media_type: String::new(),
            etag: String::new(),
            last_modified: 0,
            offset: 0,
            len: 0,
        };
        sources.push(bundle::Source { file, content: der.expose().to_vec() });
    }
    let bytes = bundle::encode(&model::settings::Settings::default(), sources);
    private::write(out, &bytes)?;
    Ok(format!("{} {} keys, {} bytes", out.display(), keys.len(), bytes.len()))
}

fn ca_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, CA_DAYS)?;
    Ok(params)
}

/// Writes a certificate, then its key unless it already exists (then it is the same key). The certificate comes first because it
/// marks the files as ours.
fn write_pair(certificate: &Path, pem: &str, key: &Path, pair: &KeyPair) -> Result<()> {
    private::write(certificate, pem.as_bytes())?;
    if !place::has_file(key)? {
        private::write(key, pair.serialize_pem().as_bytes())?;
    }
    Ok(())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn validity(params: &mut CertificateParams, days: i64) -> Result<()> {
    // Starts an hour ago, in case clocks differ.
    let start = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now_s())? - 3600)?;
    params.not_before = start;
    params.not_after = start + time::Duration::days(days);
    Ok(())
}

/// Whether the certificate in this file is valid for long enough.
fn lasts(path: &Path) -> bool {
    let der = rustls::pki_types::CertificateDer::from_pem_file(path).ok();
    let ends = der.and_then(|der| appliance::tls::validity(&der)).map_or(0, |(_, end)| end);
    ends > now_s() + RENEW_DAYS * DAY_S
}

/// The key of a certificate and key written by an earlier run; `None` if there is no key. Fails if one of the files exists, but
/// the certificate's `name` is not the development CA's, or the key is not its key. A key that others could read is removed.
fn ours(
    certificate: &Path,
    key: &Path,
    name: impl Fn(&x509_cert::Certificate) -> &x509_cert::name::Name,
) -> Result<Option<KeyPair>> {
    let (has_certificate, has_key) = (place::has_file(certificate)?, place::has_file(key)?);
    if !has_certificate && !has_key {
        return Ok(None);
    }
    let der = if has_certificate { CertificateDer::from_pem_file(certificate).ok() } else { None };
    let parsed = der.and_then(|der| x509_cert::Certificate::from_der(&der).ok());
    let parsed = parsed.filter(|parsed| name(parsed).to_string() == format!("CN={AUTHORITY}"));
    let found = if has_certificate { certificate } else { key };
    let parsed = parsed.with_context(|| {
        format!("{}: exists and was not issued by the {AUTHORITY}; choose another directory", found.display())
    })?;
    if !has_key {
        return Ok(None);
    }
    let public =
        parsed.tbs_certificate.subject_public_key_info.to_der().map_err(|error| anyhow!("{error}"))?;
    let read = std::fs::read(key).map(Secret::new).with_context(|| key.display().to_string())?;
    let pair = std::str::from_utf8(read.expose()).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
    let pair = pair.filter(|pair| pair.subject_public_key_info() == public).with_context(|| {
        format!(
            "{}: exists and is not the key of {}; move or remove it",
            key.display(),
            certificate.display()
        )
    })?;
    if private::is(key) {
        return Ok(Some(pair));
    }
    place::remove_file(key).with_context(|| format!("removing {}", key.display()))?;
    Ok(None)
}

#[cfg(test)]
#[path = "cert_tests.rs"]
mod tests;
