//! Data of a request kept until its log line is written.

use crate::time::Instant;
use alloc::vec::Vec;
use core::net::IpAddr;
use model::id::{PoolId, SiteId};
use model::reason::Reason;

/// Logged parts of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Method; at most 255 bytes, as in HTTPERR.
    Method,
    /// Path as received. At most 4,096 bytes together with the query, as in HTTPERR.
    Stem,
    /// Query without the `?`.
    Query,
    /// Host.
    Host,
    /// User-Agent.
    UserAgent,
    /// Referer.
    Referer,
    /// Cookie.
    Cookie,
    /// Subject of the client certificate.
    CertSubject,
    /// Its serial number in hexadecimal: at most 20 bytes (RFC 5280 §4.1.2.2) and a sign byte.
    CertSerial,
    /// Its SHA-256 fingerprint in hexadecimal.
    CertFingerprint,
}

impl Value {
    const COUNT: usize = 10;

    const fn max(self) -> usize {
        match self {
            Self::Method | Self::Host => 255,
            Self::Stem | Self::Query | Self::Cookie => 4096,
            Self::UserAgent | Self::Referer => 1024,
            Self::CertSubject => 512,
            Self::CertSerial => 42,
            Self::CertFingerprint => 64,
        }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client's address and port.
    pub client: (IpAddr, u16),
    /// The local address and port.
    pub server: (IpAddr, u16),
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Status code sent, 0 for none.
    pub status: u16,
    /// Bytes sent to the client.
    pub sent: u64,
    /// Bytes read of head and content.
    pub received: u64,
    /// Why it was refused or cut off.
    pub reason: Option<Reason>,
    /// The whole response was sent.
    pub complete: bool,
}

/// Data of a request.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When its first byte arrived.
    pub began: Instant,
    /// `HTTP/` major and minor version, as received.
    pub version: Option<(u8, u8)>,
    /// The site that it was routed to.
    pub site: Option<SiteId>,
    /// The pool that it was forwarded to.
    pub pool: Option<PoolId>,
    bytes: Vec<u8>,
    /// Ranges in `bytes`.
    places: [(u16, u16); Value::COUNT],
}

impl Record {
    /// Limit on the size of all values, in bytes.
    pub const MAX_BYTES: usize = 2 * 255 + 3 * 4096 + 2 * 1024 + 512 + 42 + 64;

    /// Sets a value, truncated to what logs show, unless it is set already.
    pub fn set(&mut self, value: Value, bytes: &[u8]) {
        let bytes = bytes.get(..value.max()).unwrap_or(bytes);
        let place = &mut self.places[value as usize];
        let start = self.bytes.len();
        if place.1 != 0 || start + bytes.len() > Self::MAX_BYTES {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        // MAX_BYTES fits 16 bits.
        *place = (start as u16, self.bytes.len() as u16);
    }

    /// A value; empty if not set.
    pub fn get(&self, value: Value) -> &[u8] {
        let (start, end) = self.places[value as usize];
        self.bytes.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    /// Extracts what it can from a refused head.
    pub fn read_refused(&mut self, head: &[u8]) {
        let line =
            head.split(|&b| b == b'\r' || b == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
        let mut words = line.splitn(3, |&b| b == b' ');
        self.set(Value::Method, words.next().unwrap_or_default());
        let target = words.next().unwrap_or_default();
        let query = target.iter().position(|&b| b == b'?');
        let (stem, query) = target.split_at_checked(query.unwrap_or(target.len())).unwrap_or_default();
        self.set(Value::Stem, stem);
        self.set(Value::Query, query.get(1..).unwrap_or_default());
        if let Some([b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9']) =
            words.next()
        {
            self.version = Some((major - b'0', minor - b'0'));
        }
    }

    /// Size of the values in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops the values and their memory.
    pub fn forget_values(&mut self) {
        self.bytes = Vec::new();
        self.places = Default::default();
    }

    /// Clears the record for another request. Keeps its memory.
    pub fn clear(&mut self) {
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Self { bytes, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_and_the_first_counts() {
        let mut record = Record::default();
        record.set(Value::Cookie, &[b'a'; 5000]);
        record.set(Value::Cookie, b"again");
        record.set(Value::Method, b"GET");
        assert_eq!((record.get(Value::Cookie).len(), record.get(Value::Method)), (4096, &b"GET"[..]));
        assert_eq!(record.get(Value::Host), b"");
        record.clear();
        assert_eq!(record.get(Value::Method), b"");
    }

    #[test]
    fn a_refused_head_tells_what_it_can() {
        for (head, method, stem, query, version) in [
            (&b"\r\nGET /a?b=c HTTP/1.1\r\nX"[..], "GET", "/a", "b=c", Some((1, 1))),
            (b"GET /a HTTP/3.0\r\n", "GET", "/a", "", Some((3, 0))),
            (b"GET /a\nHost: a\n\n", "GET", "/a", "", None),
            (b"\x16\x03\x01", "\x16\x03\x01", "", "", None),
            (b"", "", "", "", None),
            (b"G  HTTP/1.1", "G", "", "", Some((1, 1))),
        ] {
            let mut record = Record::default();
            record.read_refused(head);
            let text = |value| core::str::from_utf8(record.get(value)).unwrap();
            assert_eq!((text(Value::Method), text(Value::Stem), text(Value::Query)), (method, stem, query));
            assert_eq!(record.version, version);
        }
    }
}
