//! Certificates, keys and revocation lists out of files in PEM (RFC 7468), with any line ends, a byte order mark, and text
//! around them. What cannot be read is said in words of our own, with a way to mend it: nothing of the file is ever quoted,
//! which may be a private key.

use model::settings::Secret;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

const BEGIN: &str = "-----BEGIN ";

/// What a file should contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Certificates.
    Certificates,
    /// One private key.
    Key,
    /// Certificate revocation lists.
    Crls,
}

impl Wanted {
    fn expected(self) -> &'static str {
        match self {
            Self::Certificates => "certificates in PEM",
            Self::Key => "a private key in PEM",
            Self::Crls => "revocation lists in PEM",
        }
    }

    /// The openssl command that converts DER to PEM.
    fn tool(self) -> &'static str {
        match self {
            Self::Certificates => "x509",
            Self::Key => "pkey",
            Self::Crls => "crl",
        }
    }

    fn is(self, label: &str) -> bool {
        match self {
            Self::Certificates => label == "CERTIFICATE",
            Self::Key => matches!(label, "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY"),
            Self::Crls => label == "X509 CRL",
        }
    }
}

/// Why a file does not contain what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PemError {
    wanted: Wanted,
    kind: PemErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PemErrorKind {
    Empty,
    Utf16,
    Der,
    Pkcs12,
    NoLabels,
    LineEnds,
    Unfinished,
    Damaged,
    Encrypted,
    Several(usize),
    /// Something else: its name, and how to fix it.
    Other(&'static str, &'static str),
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, tool) = (self.wanted.expected(), self.wanted.tool());
        match self.kind {
            PemErrorKind::Empty => write!(f, "empty, expected {expected}"),
            PemErrorKind::Utf16 => write!(f, "UTF-16, expected {expected}; save it as ASCII or UTF-8"),
            PemErrorKind::Der => {
                write!(f, "in DER, expected {expected}: openssl {tool} -inform DER -in FILE -out FILE.pem")
            }
            PemErrorKind::Pkcs12 => {
                write!(f, "in PKCS #12, expected {expected}: openssl pkcs12 -in FILE -noenc -out FILE.pem")
            }
            PemErrorKind::NoLabels => {
                write!(
                    f,
                    "nothing of that kind found, expected {expected}, between -----BEGIN and -----END lines"
                )
            }
            PemErrorKind::LineEnds => write!(
                f,
                "its line ends are lost, expected {expected}, with -----BEGIN and -----END on lines of their own; copy \
                 the file itself"
            ),
            PemErrorKind::Unfinished => write!(f, "truncated before its -----END line, expected {expected}"),
            PemErrorKind::Damaged => {
                write!(f, "damaged between its -----BEGIN and -----END lines, expected {expected}")
            }
            PemErrorKind::Encrypted => write!(
                f,
                "an encrypted private key, expected one without a passphrase: openssl pkey -in FILE -out FILE.pem"
            ),
            PemErrorKind::Several(keys) => {
                write!(f, "{keys} private keys, expected one; remove the others")
            }
            PemErrorKind::Other(what, mend) => write!(f, "{what}, expected {expected}{mend}"),
        }
    }
}

impl std::error::Error for PemError {}

/// The certificates in a file, at least one.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    sections(bytes, Wanted::Certificates)
}

/// The revocation lists in a file, at least one.
pub(crate) fn crls(bytes: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    sections(bytes, Wanted::Crls)
}

/// The only private key in a file, in DER: PKCS #8, SEC 1 or PKCS #1.
pub(crate) fn key(bytes: &[u8]) -> Result<Secret, PemError> {
    let text = normal(bytes, Wanted::Key)?;
    let der = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(mut der) => {
            let secret = Secret::new(der.secret_der().to_vec());
            der.zeroize();
            secret
        }
        Err(_) => return Err(diagnose(&text, Wanted::Key)),
    };
    match labels(&text).filter(|label| Wanted::Key.is(label)).count() {
        0 | 1 => Ok(der),
        keys => Err(PemError { wanted: Wanted::Key, kind: PemErrorKind::Several(keys) }),
    }
}

fn sections(bytes: &[u8], wanted: Wanted) -> Result<Vec<Vec<u8>>, PemError> {
    let text = normal(bytes, wanted)?;
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let Ok((kind, mut der)) = section else { return Err(diagnose(&text, wanted)) };
        match (wanted, kind) {
            (Wanted::Certificates, SectionKind::Certificate) | (Wanted::Crls, SectionKind::Crl) => {
                found.push(der);
            }
            // A key may be in the same file as the certificates.
            _ => der.zeroize(),
        }
    }
    if found.is_empty() { Err(diagnose(&text, wanted)) } else { Ok(found) }
}

/// The text without byte order mark and without white space around its lines.
fn normal(bytes: &[u8], wanted: Wanted) -> Result<Zeroizing<String>, PemError> {
    let wrong = |kind| PemError { wanted, kind };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong(PemErrorKind::Utf16));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong(PemErrorKind::Empty));
    }
    // SEQUENCE with a length. PKCS #12 begins with version 3, followed by the type of its content.
    if let [0x30, 0x80..=0x84, rest @ ..] | [0x30, rest @ ..] = bytes
        && !bytes.is_ascii()
    {
        let begins_pfx = |at| rest.get(at..).is_some_and(|r: &[u8]| r.starts_with(&[2, 1, 3, 0x30]));
        let is_pfx = (0..4).any(begins_pfx);
        return Err(wrong(if is_pfx { PemErrorKind::Pkcs12 } else { PemErrorKind::Der }));
    }
    // Comments may use any character set; only ASCII matters.
    let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
    let mut lines = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.split(['\n', '\r']).map(str::trim) {
        lines.push_str(line);
        lines.push('\n');
    }
    Ok(lines)
}

/// The labels of the sections.
fn labels(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix(BEGIN)?.strip_suffix("-----"))
}

/// Finds out why the file does not contain what was expected.
fn diagnose(text: &str, wanted: Wanted) -> PemError {
    let kind = if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        PemErrorKind::Encrypted
    } else if text.lines().any(is_fused) {
        PemErrorKind::LineEnds
    } else if let Some(label) = labels(text).find(|label| wanted.is(label)) {
        match text.contains(&format!("-----END {label}-----")) {
            true => PemErrorKind::Damaged,
            false => PemErrorKind::Unfinished,
        }
    } else {
        labels(text).find_map(|label| other(label, wanted)).unwrap_or(PemErrorKind::NoLabels)
    };
    PemError { wanted, kind }
}

/// Whether a BEGIN line contains more than its label.
fn is_fused(line: &str) -> bool {
    let whole = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-----"));
    line.contains(BEGIN) && whole.is_none_or(|label| label.contains("-----"))
}

/// Identifies content of another kind.
fn other(label: &str, wanted: Wanted) -> Option<PemErrorKind> {
    const SWAPPED: &str = "; are `chain` and `key` swapped?";
    let (what, mend) = match label {
        "CERTIFICATE" if wanted == Wanted::Key => ("a certificate", SWAPPED),
        "CERTIFICATE" => ("a certificate", ""),
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if wanted == Wanted::Certificates => {
            ("a private key", SWAPPED)
        }
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => ("a private key", ""),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            ("a certificate request", "; use the certificate that the CA issued for it")
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => ("a public key", ""),
        "OPENSSH PRIVATE KEY" => ("a key in OpenSSH format", ": ssh-keygen -p -N '' -m PKCS8 -f FILE"),
        "DSA PRIVATE KEY" => ("a DSA key, which TLS no longer supports", ""),
        "TRUSTED CERTIFICATE" => {
            ("a certificate in OpenSSL's own format", ": openssl x509 -in FILE -out FILE.pem")
        }
        "PKCS7" | "CMS" => ("PKCS #7", ": openssl pkcs7 -print_certs -in FILE -out FILE.pem"),
        "X509 CRL" => ("a revocation list", ""),
        _ => return None,
    };
    Some(PemErrorKind::Other(what, mend))
}

#[cfg(test)]
#[path = "pem_tests.rs"]
mod tests;
