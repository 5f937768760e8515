//! Development certificates: a certification authority of this checkout's own, and certificates by it.
//!
//! Keys are made once and kept below the target directory, so that the same configuration gives the same image, and so that
//! whoever trusts the authority once can go on doing so.

use crate::artifact::hex_sha256;
use crate::deploy::refuse_unless_bundle;
use crate::pem::{self, PemError};
use crate::private;
use anyhow::{Context, anyhow, ensure};
use appliance::tls;
use model::bundle;
use model::settings::{Certificate, Key, Secret};
use model::tls::TlsError;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use x509_cert::der::Decode as _;

type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// What browsers accept of a server's certificate, in days, is 398.
const CERTIFICATE_DAYS: i64 = 397;
const CA_DAYS: i64 = 3650;
/// A certificate with fewer days left is made anew.
const RENEW_DAYS: u64 = 30;
const DAY_S: u64 = 86_400;
/// Common name of the authority.
const AUTHORITY: &str = "Weir development CA";

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificate {
    /// The authority's certificate, for `curl --cacert`.
    pub ca: PathBuf,
    /// The certificate.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate for these names (host names, `*.domain`, addresses), made in `dir` if it is not there yet.
pub fn dev(dir: &Path, names: &[String]) -> Result<DevCertificate> {
    ensure!(!names.is_empty(), "no name, expected at least one, such as localhost");
    let first = names[0].replace('*', "any").replace([':', '/'], "-");
    let stem = format!("{first}-{}", &hex_sha256(names.join(" ").as_bytes())[..8]);
    let at = |suffix: &str| dir.join(format!("{stem}.{suffix}"));
    let files = DevCertificate { ca: dir.join("ca.pem"), chain: at("pem"), key: at("key") };
    private::create_dir_all(dir)?;
    let authority_key = dir.join("ca.key");
    refuse_foreign(&files.ca, &authority_key, |certificate| &certificate.tbs_certificate.subject)?;
    refuse_foreign(&files.chain, &files.key, |certificate| &certificate.tbs_certificate.issuer)?;
    let params = ca_params()?;
    let (key, fresh) = authority(&files.ca, &authority_key, &params)?;
    if !fresh && private::is(&files.key) && lasts(&files.chain) {
        return Ok(files);
    }
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
    let own = KeyPair::generate()?;
    let certificate = params.signed_by(&own, &issuer).context("signing")?;
    // The certificate says whose the files are, so it comes first.
    private::write(&files.chain, certificate.pem().as_bytes())?;
    private::write(&files.key, own.serialize_pem().as_bytes())?;
    Ok(files)
}

/// A certificate with its chain and its key out of files in PEM, and an OCSP response in DER, if they belong together and the
/// certificate is in force. No error says anything of what is in the key's file.
pub fn load(chain: &Path, key: &Path, ocsp: Option<&Path>) -> Result<Certificate> {
    let certificate = Certificate {
        chain: read(chain, pem::certificates)?,
        key: Key::Der(read(key, pem::key)?),
        ocsp: ocsp.map(read_ocsp).transpose()?,
    };
    let (begins, ends) = tls::check(&certificate).map_err(|error| match error {
        TlsError::KeyMismatch => anyhow!(
            "{} is not the key of {}, expected files that belong together",
            key.display(),
            chain.display()
        ),
        TlsError::NoCertificate => anyhow!("{}: expected an X.509 certificate", chain.display()),
        error => anyhow!("{}: {error}", key.display()),
    })?;
    let date = |unix| String::from_utf8_lossy(&model::date::format(unix)).into_owned();
    ensure!(now_s() < ends, "{}: expired {}, expected a certificate in force", chain.display(), date(ends));
    ensure!(
        now_s() >= begins,
        "{}: valid from {}, expected a certificate in force",
        chain.display(),
        date(begins)
    );
    Ok(certificate)
}

fn read<T>(file: &Path, read: fn(&[u8]) -> Result<T, PemError>) -> Result<T> {
    let bytes = std::fs::read(file).map(Secret::new).with_context(|| file.display().to_string())?;
    read(bytes.expose()).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// An OCSP response in DER (RFC 6960 §4.2.1), as far as its outermost shape goes.
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

/// Writes a bundle of private keys, `NAME=FILE` each, that only its owner can read.
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

/// The authority's key, and whether it was made just now.
fn authority(certificate: &Path, key: &Path, params: &CertificateParams) -> Result<(KeyPair, bool)> {
    if lasts(certificate)
        && let Ok(pem) = std::fs::read_to_string(key)
    {
        let pair = KeyPair::from_pem(&pem).with_context(|| format!("{}, expected a key", key.display()))?;
        return Ok((pair, false));
    }
    let pair = KeyPair::generate()?;
    private::write(certificate, params.self_signed(&pair).context("signing")?.pem().as_bytes())?;
    private::write(key, pair.serialize_pem().as_bytes())?;
    Ok((pair, true))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn validity(params: &mut CertificateParams, days: i64) -> Result<()> {
    // An hour back: clocks differ.
    let start = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now_s())? - 3600)?;
    params.not_before = start;
    params.not_after = start + time::Duration::days(days);
    Ok(())
}

/// Whether the certificate in this file is good for a while.
fn lasts(path: &Path) -> bool {
    let der = rustls::pki_types::CertificateDer::from_pem_file(path).ok();
    let ends = der.and_then(|der| appliance::tls::validity(&der)).map_or(0, |(_, end)| end);
    ends > now_s() + RENEW_DAYS * DAY_S
}

/// Fails where one of a pair of files is there, but the certificate is not one in which `name` is our authority's.
fn refuse_foreign(
    certificate: &Path,
    key: &Path,
    name: impl Fn(&x509_cert::Certificate) -> &x509_cert::name::Name,
) -> Result<()> {
    let there = |path: &&Path| std::fs::symlink_metadata(path).is_ok();
    let Some(found) = [certificate, key].into_iter().find(there) else { return Ok(()) };
    let der = CertificateDer::from_pem_file(certificate).ok();
    let parsed = der.and_then(|der| x509_cert::Certificate::from_der(&der).ok());
    ensure!(
        parsed.is_some_and(|parsed| name(&parsed).to_string() == format!("CN={AUTHORITY}")),
        "{}: is there, and not of the {AUTHORITY}; expected a directory of its own",
        found.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nobody_elses_authority_or_key_is_overwritten() {
        for name in ["ca.key", "ca.pem"] {
            let dir = tempfile::tempdir().expect("a directory");
            let mine = dir.path().join(name);
            std::fs::write(&mine, "mine").expect("written");
            let refused = dev(dir.path(), &["localhost".to_owned()]).expect_err("not ours");
            assert!(refused.to_string().contains(name), "{refused}");
            assert_eq!(std::fs::read(&mine).expect("a file"), b"mine");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let made = dev(dir.path(), &["localhost".to_owned()]).expect("made");
        std::fs::write(&made.chain, "mine").expect("written");
        assert!(dev(dir.path(), &["localhost".to_owned()]).is_err());
        let keys = [format!("a={}", made.key.display())];
        assert!(write_keys(&keys, &made.key).is_err());
        write_keys(&keys, &dir.path().join("keys")).expect("written");
        write_keys(&keys, &dir.path().join("keys")).expect("written again");
        assert!(private::is(&dir.path().join("keys")));
    }

    #[test]
    fn made_once_and_for_its_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let first = dev(dir.path(), &names(&["localhost", "127.0.0.1"])).expect("made");
        let read = |path: &Path| std::fs::read(path).expect("a file");
        let (ca, chain) = (read(&first.ca), read(&first.chain));
        assert_eq!(dev(dir.path(), &names(&["localhost", "127.0.0.1"])).expect("kept"), first);
        let other = dev(dir.path(), &names(&["*.weir.test"])).expect("made");
        assert_ne!(other.chain, first.chain);
        assert_eq!((read(&first.ca), read(&first.chain)), (ca, chain));
        let mode = std::fs::metadata(&first.key).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(dev(dir.path(), &[]).is_err());
        assert!(dev(dir.path(), &names(&["b\u{fc}cher"])).is_err());
    }
}
