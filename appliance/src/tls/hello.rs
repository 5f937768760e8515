//! Parses a ClientHello before there is a TLS connection (RFC 8446 §4.1.2), for its server name and to refuse
//! what is invalid.
//!
//! The name decides the configuration that rustls is started with, so the message must be parsed first;
//! rustls parses the same bytes again. Malformed messages get their alert here, regardless of what rustls or
//! the choice of a site would have made of them. So does what rustls does not check: versions before
//! signatures, TLS_FALLBACK_SCSV, renegotiation_info.

use super::alert::Alert;
use super::fault::Fault;
use alloc::vec::Vec;

/// Length of a record header.
pub(super) const RECORD_HEADER: usize = 5;
/// Limit on a ClientHello including record headers, in bytes. Post-quantum key shares take about 1.3 KiB,
/// tickets with client certificates a few KiB.
pub(super) const MAX_HELLO: usize = 16 << 10;
/// Limit on the content of an unencrypted record, in bytes (RFC 8446 §5.1).
const MAX_PLAIN: usize = 1 << 14;
/// Limit on the length of a session id, in bytes.
const MAX_SESSION_ID: usize = 32;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;
const NO_COMPRESSION: u8 = 0;

const SSL3: u16 = 0x0300;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
/// RFC 7507
const FALLBACK_SCSV: u16 = 0x5600;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
/// RFC 5746
const RENEGOTIATION_INFO: u16 = 0xff01;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// More are needed.
    Partial,
    /// Not a TLS handshake record.
    NotTls,
    /// To be refused with this alert.
    Refused(Fault, Alert),
    /// A complete ClientHello, with its server name in lower case.
    Hello(Option<Vec<u8>>),
}

/// Examines the bytes received so far.
pub(super) fn peek(bytes: &[u8]) -> Peek {
    const OVERSIZED: Peek = Peek::Refused(Fault::Oversized, Alert::DecodeError);
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match *rest {
            [] if bytes.len() > MAX_HELLO => return OVERSIZED,
            [] | [HANDSHAKE] => return Peek::Partial,
            [HANDSHAKE, 3, ..] => {}
            // An SSL 2 record, with the highest bit set, whose first message is a CLIENT-HELLO (RFC 5246
            // E.2).
            [0x80..=0xff, _, CLIENT_HELLO, 0 | 2 | 3, ..] if message.is_empty() => {
                return Peek::Refused(Fault::Handshake, Alert::ProtocolVersion);
            }
            [0x80..=0xff, _, CLIENT_HELLO] | [0x80..=0xff, _] | [0x80..=0xff] if message.is_empty() => {
                return Peek::Partial;
            }
            _ if message.is_empty() => return Peek::NotTls,
            // A record of another type within the message (RFC 8446 §5.1).
            _ => return Peek::Refused(Fault::Handshake, Alert::UnexpectedMessage),
        }
        let [_, _, _, high, low, after @ ..] = rest else { return Peek::Partial };
        let len = usize::from(*high) << 8 | usize::from(*low);
        match len {
            0 => return Peek::Refused(Fault::Handshake, Alert::DecodeError),
            _ if len > MAX_PLAIN => return Peek::Refused(Fault::Oversized, Alert::RecordOverflow),
            _ => {}
        }
        let fragment = after.get(..len);
        message.extend_from_slice(fragment.unwrap_or(after));
        match message[..] {
            [kind, ..] if kind != CLIENT_HELLO => {
                return Peek::Refused(Fault::Handshake, Alert::UnexpectedMessage);
            }
            [_, a, b, c, ..] => {
                let total = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
                if total > MAX_HELLO {
                    return OVERSIZED;
                }
                if let Some(hello) = message.get(4..total) {
                    return parse(hello)
                        .map_or_else(|alert| Peek::Refused(Fault::Handshake, alert), Peek::Hello);
                }
            }
            _ => {}
        }
        if fragment.is_none() {
            return if bytes.len() > MAX_HELLO + RECORD_HEADER { OVERSIZED } else { Peek::Partial };
        }
        rest = after.get(len..).unwrap_or_default();
    }
}

/// What matters of the extensions.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    /// The highest supported version named by supported_versions, 0 if none is; `None` without the extension.
    version: Option<u16>,
    groups: bool,
    signatures: bool,
    shares: bool,
    session: bool,
}

/// The server name of a ClientHello, if it has a usable one, or the alert that refuses it.
fn parse(hello: &[u8]) -> Result<Option<Vec<u8>>, Alert> {
    const BROKEN: Alert = Alert::DecodeError;
    let mut hello = Reader(hello);
    let legacy_version = hello.short().ok_or(BROKEN)?;
    let _random = hello.take(32).ok_or(BROKEN)?;
    let session_id = hello.byte_vector().ok_or(BROKEN)?;
    let suites = hello.short_vector().ok_or(BROKEN)?;
    let compressions = hello.byte_vector().ok_or(BROKEN)?;
    if session_id.len() > MAX_SESSION_ID || !is_list(suites) || compressions.is_empty() {
        return Err(BROKEN);
    }
    let mut extensions_seen = Extensions::default();
    // TLS 1.2 and older may have none.
    if !hello.0.is_empty() {
        let mut extensions = Reader(hello.short_vector().filter(|_| hello.0.is_empty()).ok_or(BROKEN)?);
        while !extensions.0.is_empty() {
            let (kind, content) = extensions.short().zip(extensions.short_vector()).ok_or(BROKEN)?;
            extensions_seen.extension(kind, content)?;
        }
    }
    // SSL 3 must not be negotiated, whatever else is named (RFC 8446 D.5).
    let version = match (legacy_version, extensions_seen.version) {
        (..=SSL3, _) | (_, Some(0)) | (..TLS12, None) => return Err(Alert::ProtocolVersion),
        (_, Some(version)) => version,
        (_, None) => TLS12,
    };
    // Every site supports TLS 1.3, so a client that fell back to an older version did so because of
    // interference (RFC 7507 §3).
    if version < TLS13 && suites.chunks_exact(2).any(|suite| *suite == FALLBACK_SCSV.to_be_bytes()) {
        return Err(Alert::InappropriateFallback);
    }
    if !compressions.contains(&NO_COMPRESSION) {
        return Err(Alert::IllegalParameter);
    }
    // Mandatory extensions of TLS 1.3 (RFC 8446 §9.2).
    let named = extensions_seen.session || (extensions_seen.signatures && extensions_seen.groups);
    if version == TLS13 && (!named || extensions_seen.groups != extensions_seen.shares) {
        Err(Alert::MissingExtension)
    } else {
        Ok(extensions_seen.name)
    }
}

impl Extensions {
    fn extension(&mut self, kind: u16, content: &[u8]) -> Result<(), Alert> {
        let mut content = Reader(content);
        match kind {
            SERVER_NAME => {
                // There is only one name in practice; rustls checks the rest.
                let mut names = Reader(content.short_vector().ok_or(Alert::DecodeError)?);
                let (kind, name) = names.byte().zip(names.short_vector()).ok_or(Alert::DecodeError)?;
                let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
                let usable = kind == HOST_NAME && (1..=253).contains(&name.len()) && name.iter().all(plain);
                self.name = usable.then(|| name.to_ascii_lowercase());
            }
            SUPPORTED_VERSIONS => {
                let list = content.byte_vector().filter(|list| content.0.is_empty() && is_list(list));
                let versions = list.ok_or(Alert::DecodeError)?.chunks_exact(2);
                let known = [TLS12, TLS13].map(u16::to_be_bytes);
                let highest =
                    versions.filter(|version| known.iter().any(|known| known[..] == **version)).max();
                self.version = Some(highest.map_or(0, |v| u16::from_be_bytes([v[0], v[1]])));
            }
            RENEGOTIATION_INFO => {
                let verify = content.byte_vector().filter(|_| content.0.is_empty());
                // There is no earlier handshake that this could renegotiate (RFC 5746 §3.6).
                if !verify.ok_or(Alert::DecodeError)?.is_empty() {
                    return Err(Alert::HandshakeFailure);
                }
            }
            SUPPORTED_GROUPS => self.groups = true,
            SIGNATURE_ALGORITHMS => self.signatures = true,
            KEY_SHARE => self.shares = true,
            PRE_SHARED_KEY => self.session = true,
            _ => {}
        }
        Ok(())
    }
}

/// Whether this is a list of at least one two-byte value.
fn is_list(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len().is_multiple_of(2)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A vector with a one-byte length.
    fn byte_vector(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        self.take(len.into())
    }

    /// A vector with a two-byte length.
    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let len = self.short()?;
        self.take(len.into())
    }
}
