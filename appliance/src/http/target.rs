//! The request target and the host (RFC 9112 §3.2, §3.3): taken apart, checked, and the path brought into the one
//! form that routing sees.
//!
//! The path is decoded once and only once. Whatever a second decoder behind us could read differently is refused:
//! encoded backslashes, encoded percent signs that would form another escape, and dot segments hidden behind an
//! encoded slash or a path parameter.
//!
//! What is `inline(always)` here runs for every request: as calls, they would spend as much on handing structures
//! from one to the next as on looking at the bytes.

use super::request::TargetForm;
use super::syntax;
use super::{Limits, Method, Reason, Refusal};
use crate::site::Scheme;
use core::net::Ipv6Addr;

const URL: Refusal = Refusal::new(400, Reason::Url);
const HOSTNAME: Refusal = Refusal::new(400, Reason::Hostname);
const FORBIDDEN: Refusal = Refusal::new(403, Reason::Forbidden);
const URL_LENGTH: Refusal = Refusal::new(414, Reason::UrlLength);

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: &'a [u8],
    pub(crate) port: Option<u16>,
}

impl Authority<'_> {
    /// Names the same origin server under this scheme.
    pub(crate) fn same(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |a: &Self| a.port.unwrap_or(scheme.default_port());
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

/// The parts of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) form: TargetForm,
    pub(crate) authority: Option<Authority<'a>>,
    pub(crate) raw_path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) path: &'a str,
    /// Dot segments were removed.
    pub(crate) rewritten: bool,
}

/// Takes a request target apart.
#[inline(always)]
pub(crate) fn parse<'a>(
    target: &'a str,
    method: Method<'_>,
    limits: &Limits,
    scratch: &'a mut [u8],
) -> Result<Target<'a>, Refusal> {
    if target.len() > limits.max_url_length {
        return Err(URL_LENGTH);
    }
    if target.as_bytes().first() == Some(&b'/') {
        return path_and_query(TargetForm::Origin, None, target, limits, scratch);
    }
    if target == "*" {
        // RFC 9112 §3.2.4
        if method != Method::Options {
            return Err(URL);
        }
        return Ok(Target {
            form: TargetForm::Asterisk,
            authority: None,
            raw_path: target,
            query: None,
            path: target,
            rewritten: false,
        });
    }
    let (scheme, rest) = absolute(target).ok_or(URL)?;
    let end = rest.bytes().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(URL)?;
    let authority = parse_authority(authority.as_bytes())?;
    // RFC 9110 §4.2.3: an empty path is the same as "/".
    if rest.is_empty() || rest.starts_with('?') {
        let query = rest.get(1..);
        check_query(query.unwrap_or_default(), limits)?;
        return Ok(Target {
            form: TargetForm::Absolute(scheme),
            authority: Some(authority),
            raw_path: "/",
            query,
            path: "/",
            rewritten: false,
        });
    }
    path_and_query(TargetForm::Absolute(scheme), Some(authority), rest, limits, scratch)
}

fn absolute(target: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if scheme.eq_ignore_ascii_case("http") {
        Some((Scheme::Http, rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some((Scheme::Https, rest))
    } else {
        None
    }
}

/// What has to happen to a path.
enum Scan {
    /// It is in its final form.
    Plain,
    /// It has escapes, or segments that begin with a dot.
    Rewrite,
}

#[inline(always)]
fn path_and_query<'a>(
    form: TargetForm,
    authority: Option<Authority<'a>>,
    rest: &'a str,
    limits: &Limits,
    scratch: &'a mut [u8],
) -> Result<Target<'a>, Refusal> {
    let (scan, end) = scan_path(rest.as_bytes(), limits)?;
    let (raw_path, query) = match rest.split_at_checked(end) {
        Some((path, query)) => (path, query.get(1..)),
        None => (rest, None),
    };
    if let Some(query) = query {
        check_query(query, limits)?;
    }
    let (path, rewritten) = match scan {
        Scan::Plain => (raw_path, false),
        Scan::Rewrite => normalise(raw_path.as_bytes(), limits, scratch)?,
    };
    Ok(Target { form, authority, raw_path, query, path, rewritten })
}

/// Checks a path that begins with a slash, up to its end at a `?`, which it returns. Segment limits are those of a
/// path in its final form; [`normalise`] checks them again for the others.
#[inline(always)]
fn scan_path(bytes: &[u8], limits: &Limits) -> Result<(Scan, usize), Refusal> {
    let mut rewrite = false;
    let mut segments = 0_usize;
    let mut segment_start = 0;
    let mut longest = 0;
    let mut end = bytes.len();
    for (i, &b) in bytes.iter().enumerate() {
        if b == b'/' {
            longest = longest.max(i - segment_start);
            segment_start = i + 1;
            segments += 1;
            rewrite |= bytes.get(i + 1) == Some(&b'.');
        } else if !syntax::is_segment(b) {
            match b {
                b'%' => rewrite = true,
                b'?' => {
                    end = i;
                    break;
                }
                _ => return Err(URL),
            }
        }
    }
    if rewrite {
        return Ok((Scan::Rewrite, end));
    }
    longest = longest.max(end - segment_start);
    if longest > limits.url_segment_max_length || segments > limits.url_segment_max_count {
        return Err(URL);
    }
    Ok((Scan::Plain, end))
}

fn check_query(query: &str, limits: &Limits) -> Result<(), Refusal> {
    if limits.lenient_query {
        // There are no control characters and blanks in a request target; a fragment is never sent (RFC 9110 §7.1).
        return if query.contains('#') { Err(URL) } else { Ok(()) };
    }
    let mut rest = query.as_bytes();
    while let Some(at) = rest.iter().position(|&b| !syntax::is_query(b)) {
        rest = match rest.get(at..) {
            Some([b'%', high, low, after @ ..]) if syntax::is_hex(*high) && syntax::is_hex(*low) => after,
            _ => return Err(URL),
        };
    }
    Ok(())
}

/// Decodes a path and removes its dot segments (RFC 3986 §5.2.4). Returns it and whether dot segments were removed.
fn normalise<'a>(raw: &[u8], limits: &Limits, scratch: &'a mut [u8]) -> Result<(&'a str, bool), Refusal> {
    let mut len = 0;
    let mut segments = 0_usize;
    let mut rewritten = false;
    let mut trailing_slash = false;
    // The path begins with a slash: what is before it is not a segment.
    for segment in raw.split(|&b| b == b'/').skip(1) {
        let start = len;
        *scratch.get_mut(len).ok_or(URL_LENGTH)? = b'/';
        len = decode(segment, scratch, len + 1)?;
        let decoded = scratch.get(start + 1..len).unwrap_or_default();
        trailing_slash = false;
        match decoded {
            b"." => {
                len = start;
                (rewritten, trailing_slash) = (true, true);
            }
            b".." => {
                let parent = scratch.get(..start).unwrap_or_default();
                len = parent.iter().rposition(|&b| b == b'/').ok_or(FORBIDDEN)?;
                segments -= 1;
                (rewritten, trailing_slash) = (true, true);
            }
            _ => {
                if hides_dots(decoded) {
                    return Err(FORBIDDEN);
                }
                segments += 1;
                if decoded.len() > limits.url_segment_max_length || segments > limits.url_segment_max_count {
                    return Err(URL);
                }
            }
        }
    }
    if trailing_slash {
        *scratch.get_mut(len).ok_or(URL_LENGTH)? = b'/';
        len += 1;
    }
    let decoded: &'a [u8] = scratch;
    let path = core::str::from_utf8(decoded.get(..len).unwrap_or_default()).map_err(|_| URL)?;
    // U+0080 to U+009F are control characters too.
    if path.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}')) {
        return Err(URL);
    }
    Ok((path, rewritten))
}

/// Decodes one segment to `scratch[at..]` and returns where it ends.
fn decode(segment: &[u8], scratch: &mut [u8], mut at: usize) -> Result<usize, Refusal> {
    let mut rest = segment;
    // Where a decoded percent sign stands.
    let mut percent = None;
    while let [b, after @ ..] = rest {
        let start = at;
        let decoded: &[u8] = if *b != b'%' {
            rest = after;
            core::slice::from_ref(b)
        } else {
            let [_, high, low, after @ ..] = rest else { return Err(URL) };
            rest = after;
            match syntax::hex_pair(*high, *low).ok_or(URL)? {
                0..=0x1f | 0x7f => return Err(URL),
                b'\\' => return Err(FORBIDDEN),
                // It must not separate segments, and it must not be lost.
                b'/' => b"%2F",
                b'%' => {
                    percent = Some(start);
                    b"%"
                }
                b => &[b],
            }
        };
        let end = at + decoded.len();
        scratch.get_mut(at..end).ok_or(URL_LENGTH)?.copy_from_slice(decoded);
        at = end;
        if let Some(percent) = percent {
            // Would a second decoder find an escape here?
            match scratch.get(percent + 1..at).unwrap_or_default() {
                [b'%' | b'u' | b'U', ..] => return Err(FORBIDDEN),
                [high, low, ..] if syntax::is_hex(*high) && syntax::is_hex(*low) => return Err(FORBIDDEN),
                _ => {}
            }
        }
    }
    Ok(at)
}

/// Some servers end a segment at an encoded slash or at a parameter: `..%2F`, `..;x`.
fn hides_dots(segment: &[u8]) -> bool {
    if !segment.contains(&b'%') && segment.first() != Some(&b'.') {
        return false;
    }
    let mut rest = segment;
    loop {
        let slash = rest.windows(3).position(|w| w == b"%2F");
        let part = rest.get(..slash.unwrap_or(rest.len())).unwrap_or_default();
        let name = part.split(|&b| b == b';').next().unwrap_or_default();
        // The whole segment was looked at before: here it has a parameter or an encoded slash.
        if matches!(name, b"." | b"..") {
            return true;
        }
        match slash.and_then(|at| rest.get(at + 3..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2): a name, an IPv4 address, or an IPv6 address in brackets.
#[inline(always)]
pub(crate) fn parse_authority(value: &[u8]) -> Result<Authority<'_>, Refusal> {
    let end = if value.first() == Some(&b'[') { ipv6_literal(value)? } else { host_name(value)? };
    let (host, rest) = value.split_at_checked(end).ok_or(HOSTNAME)?;
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return Err(HOSTNAME),
    };
    Ok(Authority { host, port })
}

/// Where the address in brackets ends.
#[cold]
fn ipv6_literal(value: &[u8]) -> Result<usize, Refusal> {
    let close = value.iter().position(|&b| b == b']').ok_or(HOSTNAME)?;
    let address = value.get(1..close).and_then(|address| core::str::from_utf8(address).ok());
    address.and_then(|address| address.parse::<Ipv6Addr>().ok()).map(|_| close + 1).ok_or(HOSTNAME)
}

/// Where the name ends. It may end with a dot, but has no empty label; lengths by RFC 1035 §2.3.4.
#[inline(always)]
fn host_name(bytes: &[u8]) -> Result<usize, Refusal> {
    let mut end = 0;
    loop {
        let start = end;
        while let Some(&b) = bytes.get(end)
            && syntax::is_label(b)
        {
            end += 1;
        }
        let is_dotted = bytes.get(end) == Some(&b'.');
        if end - start > 63 || end == start && (end == 0 || is_dotted) {
            return Err(HOSTNAME);
        }
        if !is_dotted {
            break;
        }
        end += 1;
    }
    if end > 254 { Err(HOSTNAME) } else { Ok(end) }
}

fn port(digits: &[u8]) -> Result<u16, Refusal> {
    if digits.is_empty() || digits.len() > 5 {
        return Err(HOSTNAME);
    }
    let mut port = 0_u32;
    for &b in digits {
        if !b.is_ascii_digit() {
            return Err(HOSTNAME);
        }
        port = port * 10 + u32::from(b - b'0');
    }
    match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(HOSTNAME),
    }
}
