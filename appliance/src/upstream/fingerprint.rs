//! Fingerprints of requests, so that workers and requests are not judged by one failure alone.

use crate::time::Instant;
use alloc::vec::Vec;
use core::hash::Hasher as _;
use model::id::PoolId;
use ring::digest::{SHA256, digest};
use siphasher::sip::SipHasher13;

/// What a request asks for: pool, method, host and path. The query does not count, since it is easily varied.
/// A digest: long targets take no more memory than short ones, and none can be forged to match another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target([u8; 32]);

/// Identifies a request by client and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Distinguishes requests by client and request line.
    pub(super) source: u64,
    pub(super) target: Target,
}

/// A request that a worker failed to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostRequest {
    pub(super) target: Target,
    /// When the worker received it.
    pub(super) assigned_at: Instant,
    /// When it was lost.
    pub(super) at: Instant,
}

impl Fingerprint {
    /// The fingerprint of a request to this pool. `head`: the request head as written for workers.
    pub fn of(pool: PoolId, head: &[u8]) -> Self {
        let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
        let request_line = lines.next().unwrap_or_default();
        let (mut host, mut client) = (&[][..], &[][..]);
        for line in lines {
            if let Some(value) = value(line, b"host:") {
                host = value;
            } else if let Some(value) = value(line, b"x-forwarded-for:") {
                client = value;
            }
        }
        let mut source = SipHasher13::new();
        for part in [client, request_line] {
            source.write(part);
            source.write_u8(0);
        }
        Self { source: source.finish(), target: Target::of(pool, request_line, host) }
    }
}

impl Target {
    fn of(pool: PoolId, request_line: &[u8], host: &[u8]) -> Self {
        let mut words = request_line.split(|b| *b == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.split(|b| *b == b'?').next().unwrap_or_default();
        let mut all = Vec::with_capacity(method.len() + path.len() + host.len() + 4);
        all.extend(pool.0.to_le_bytes());
        all.extend(method);
        all.push(0);
        all.extend(host.to_ascii_lowercase());
        all.push(0);
        decode(path, &mut all);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &all).as_ref());
        Self(bytes)
    }
}

/// The value of a field line with this name, given in lower case and with its colon.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

/// Appends a path with its escapes decoded, so that spelling makes no difference.
fn decode(path: &[u8], out: &mut Vec<u8>) {
    let digit = |b: u8| (b as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        let escaped = match after {
            [high, low, ..] if *byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn of(client: &str, method: &str, target: &str, host: &str) -> Fingerprint {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n");
        Fingerprint::of(PoolId(0), head.as_bytes())
    }

    #[test]
    fn targets_are_told_apart_by_what_they_are_and_not_by_spelling() {
        let it = of("10.0.0.1", "GET", "/kill?x=1", "a.test");
        for (client, target, host) in [
            ("10.0.0.1", "/kill?x=2", "a.test"),
            ("10.0.0.2", "/kill", "A.test"),
            ("10.0.0.2", "/k%69ll", "a.test"),
        ] {
            let other = of(client, "GET", target, host);
            assert_eq!(other.target, it.target, "{target}");
            assert_ne!(other.source, it.source, "{target}");
        }
        for (method, target, host) in
            [("POST", "/kill", "a.test"), ("GET", "/kil", "a.test"), ("GET", "/kill", "b.test")]
        {
            assert_ne!(of("10.0.0.1", method, target, host).target, it.target, "{method} {target} {host}");
        }
        assert_eq!(of("10.0.0.1", "GET", "/kill?x=1", "a.test"), it, "the same target");
        assert_ne!(
            Fingerprint::of(PoolId(1), b"GET / HTTP/1.1\r\n\r\n"),
            Fingerprint::of(PoolId(0), b"GET / HTTP/1.1\r\n\r\n")
        );
    }
}
