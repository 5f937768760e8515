//! The server name in a ClientHello, before there is a TLS connection (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! It only decides which configuration rustls is started with; rustls reads the same bytes again and judges them. So whatever
//! is odd here is [`Peek::Unnamed`], and the alert for it is rustls's.

use alloc::vec::Vec;

/// Bytes of a record's header.
pub(super) const RECORD_HEADER: usize = 5;
/// Most bytes of a ClientHello with its records' headers. Post-quantum key shares take about 1.3 KiB, tickets with client
/// certificates a few KiB.
pub(super) const MAX_HELLO: usize = 16 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// More are needed.
    Partial,
    /// No TLS handshake record.
    NotTls,
    /// A handshake message longer than [`MAX_HELLO`].
    Oversized,
    /// A whole message, without a name that could be read.
    Unnamed,
    /// A whole ClientHello for this name, in lower case.
    Named(Vec<u8>),
}

/// Looks at the bytes received so far.
pub(super) fn peek(bytes: &[u8]) -> Peek {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match *rest {
            [] if bytes.len() > MAX_HELLO => return Peek::Oversized,
            [] | [HANDSHAKE] => return Peek::Partial,
            [HANDSHAKE, 3, ..] => {}
            _ if message.is_empty() => return Peek::NotTls,
            // A record of another kind amid the message.
            _ => return Peek::Unnamed,
        }
        let [_, _, _, high, low, after @ ..] = rest else { return Peek::Partial };
        let len = usize::from(*high) << 8 | usize::from(*low);
        if len == 0 {
            return Peek::Unnamed;
        }
        let fragment = after.get(..len);
        message.extend_from_slice(fragment.unwrap_or(after));
        if let [kind, a, b, c, ..] = message[..] {
            let total = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if kind != CLIENT_HELLO {
                return Peek::Unnamed;
            }
            if total > MAX_HELLO {
                return Peek::Oversized;
            }
            if let Some(hello) = message.get(4..total) {
                return server_name(hello).map_or(Peek::Unnamed, Peek::Named);
            }
        }
        if fragment.is_none() {
            return if bytes.len() > MAX_HELLO + RECORD_HEADER { Peek::Oversized } else { Peek::Partial };
        }
        rest = after.get(len..).unwrap_or_default();
    }
}

fn server_name(hello: &[u8]) -> Option<Vec<u8>> {
    let mut hello = Reader(hello);
    // legacy_version and random.
    hello.take(2 + 32)?;
    let session_id = hello.byte()?;
    hello.take(usize::from(session_id))?;
    let suites = hello.short()?;
    hello.take(usize::from(suites))?;
    let compressions = hello.byte()?;
    hello.take(usize::from(compressions))?;
    let len = hello.short()?;
    let mut extensions = Reader(hello.take(usize::from(len))?);
    loop {
        let (kind, len) = (extensions.short()?, extensions.short()?);
        let mut content = Reader(extensions.take(usize::from(len))?);
        if kind != SERVER_NAME {
            continue;
        }
        let len = content.short()?;
        let mut names = Reader(content.take(usize::from(len))?);
        if names.byte()? != HOST_NAME {
            return None;
        }
        let len = names.short()?;
        let name = names.take(usize::from(len))?;
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
        return (!name.is_empty() && name.len() <= 253 && name.iter().all(plain))
            .then(|| name.to_ascii_lowercase());
    }
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
}
