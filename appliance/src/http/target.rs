//! The request target and the host (RFC 9112 §3.2, §3.3): parsing, validation, and normalisation of the path
//! into the form used for routing.
//!
//! The path is decoded exactly once. Whatever a second decoder could read differently is refused: encoded
//! backslashes, encoded percent signs that would form another escape, and dot segments hidden behind an
//! encoded slash or a path parameter.
//!
//! The `inline(always)` functions run for every request: as calls, they would spend as much time on passing
//! structures as on reading bytes.

use super::limits::characters;
use super::request::TargetForm;
use super::syntax::{self, HostForm};
use super::{Method, Refusal, RequestLimits};
use core::net::Ipv6Addr;
use core::num::NonZeroU16;
use model::reason::Reason;
use model::url::Scheme;

const URL: Refusal = Refusal::new(400, Reason::Url);
const HOSTNAME: Refusal = Refusal::new(400, Reason::Hostname);
const FORBIDDEN: Refusal = Refusal::new(403, Reason::Forbidden);
const URL_LENGTH: Refusal = Refusal::new(414, Reason::UrlLength);

/// A host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: &'a [u8],
    pub(crate) port: Option<NonZeroU16>,
}

impl Authority<'_> {
    /// Whether both name the same origin server under this scheme.
    pub(crate) fn same(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |a: &Self| a.port.map_or(scheme.default_port(), NonZeroU16::get);
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

/// The parts of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) form: TargetForm,
    pub(crate) authority: Option<Authority<'a>>,
    pub(crate) path: &'a str,
    /// Offset of the path in the target.
    pub(crate) start: usize,
    /// Offset of its end: the question mark, or the end of the target.
    pub(crate) end: usize,
    /// Dot segments were removed.
    pub(crate) rewritten: bool,
}

/// Parses any form of a request target.
#[cold]
pub(crate) fn parse<'a>(
    target: &'a str,
    method: Method<'_>,
    limits: &RequestLimits,
    scratch: &'a mut [u8],
) -> Result<Target<'a>, Refusal> {
    if target.as_bytes().first() == Some(&b'/') {
        let (path, end, rewritten) = origin_form(target, limits, scratch)?;
        return Ok(Target { form: TargetForm::Origin, authority: None, path, start: 0, end, rewritten });
    }
    if target.len() > limits.max_url_length {
        return Err(URL_LENGTH);
    }
    if target == "*" {
        // Asterisk-form is for OPTIONS only (RFC 9112 §3.2.4).
        if method != Method::Options {
            return Err(URL);
        }
        let form = TargetForm::Asterisk;
        return Ok(Target { form, authority: None, path: target, start: 0, end: 1, rewritten: false });
    }
    let (scheme, rest) = absolute(target).ok_or(URL)?;
    let form = TargetForm::Absolute(scheme);
    let len = rest.bytes().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(len).ok_or(URL)?;
    let authority = Some(parse_authority(authority.as_bytes())?);
    let start = target.len() - rest.len();
    // An empty path is equivalent to "/" (RFC 9110 §4.2.3).
    if rest.is_empty() || rest.starts_with('?') {
        check_query(rest.as_bytes().get(1..).unwrap_or_default(), limits)?;
        return Ok(Target { form, authority, path: "/", start, end: start, rewritten: false });
    }
    let (path, len, rewritten) = origin_form(rest, limits, scratch)?;
    Ok(Target { form, authority, path, start, end: start + len, rewritten })
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

/// Parses a path, which begins with a slash, and a query. Returns the normalised path, its length as
/// received, and whether dot segments were removed.
#[inline(always)]
pub(crate) fn origin_form<'a>(
    target: &'a str,
    limits: &RequestLimits,
    scratch: &'a mut [u8],
) -> Result<(&'a str, usize, bool), Refusal> {
    if target.len() > limits.max_url_length {
        return Err(URL_LENGTH);
    }
    if !syntax::are_plain(target.as_bytes()) {
        return path_and_query(target, limits, scratch);
    }
    if limits.fit_segments(target) { Ok((target, target.len(), false)) } else { Err(URL) }
}

/// Like [`origin_form`], for targets with more than plain path bytes.
#[inline(never)]
fn path_and_query<'a>(
    target: &'a str,
    limits: &RequestLimits,
    scratch: &'a mut [u8],
) -> Result<(&'a str, usize, bool), Refusal> {
    let (end, rewrite) = scan_path(target.as_bytes())?;
    if end < target.len() {
        check_query(target.as_bytes().get(end + 1..).unwrap_or_default(), limits)?;
    }
    let path = target.get(..end).unwrap_or_default();
    if rewrite {
        let (path, rewritten) = normalise(path.as_bytes(), limits, scratch)?;
        return Ok((path, end, rewritten));
    }
    if limits.fit_segments(path) { Ok((path, end, false)) } else { Err(URL) }
}

/// The length of a path, and whether it needs normalisation: it has escapes, or segments that begin with a
/// dot.
fn scan_path(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
    let (mut at, mut rewrite) = (0, false);
    loop {
        while let Some(&b) = bytes.get(at)
            && syntax::is_plain(b)
        {
            at += 1;
        }
        match bytes.get(at) {
            None | Some(b'?') => return Ok((at, rewrite)),
            Some(b'%') => rewrite = true,
            Some(b'.') => rewrite |= bytes.get(at.wrapping_sub(1)) == Some(&b'/'),
            Some(_) => return Err(URL),
        }
        at += 1;
    }
}

fn check_query(query: &[u8], limits: &RequestLimits) -> Result<(), Refusal> {
    if limits.lenient_query {
        // A request target contains no control characters or blanks; fragments are never sent (RFC 9110
        // §7.1).
        return if query.contains(&b'#') { Err(URL) } else { Ok(()) };
    }
    let mut rest = query;
    while let Some(at) = rest.iter().position(|&b| !syntax::is_query(b)) {
        rest = match rest.get(at..) {
            Some([b'%', high, low, after @ ..]) if syntax::is_hex(*high) && syntax::is_hex(*low) => after,
            _ => return Err(URL),
        };
    }
    Ok(())
}

/// Decodes a path and removes its dot segments (RFC 3986 §5.2.4). Returns the path, and whether dot segments
/// were removed.
fn normalise<'a>(
    raw: &[u8],
    limits: &RequestLimits,
    scratch: &'a mut [u8],
) -> Result<(&'a str, bool), Refusal> {
    let mut len = 0;
    let mut segments = 0_usize;
    let mut rewritten = false;
    let mut trailing_slash = false;
    // The path begins with a slash, before which there is no segment.
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
                let is_long = decoded.len() > limits.url_segment_max_length
                    && characters(decoded) > limits.url_segment_max_length;
                if is_long || segments > limits.url_segment_max_count {
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

/// Decodes one segment to `scratch[at..]`. Returns the offset of its end.
fn decode(segment: &[u8], scratch: &mut [u8], mut at: usize) -> Result<usize, Refusal> {
    let mut rest = segment;
    // Offset of a decoded percent sign.
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
                // It must neither separate segments nor get lost.
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

/// Detects dot segments ended by an encoded slash or a parameter, as some servers see them: `..%2F`, `..;x`.
fn hides_dots(segment: &[u8]) -> bool {
    if !segment.contains(&b'%') && segment.first() != Some(&b'.') {
        return false;
    }
    let mut rest = segment;
    loop {
        let slash = rest.windows(3).position(|w| w == b"%2F");
        let part = rest.get(..slash.unwrap_or(rest.len())).unwrap_or_default();
        let name = part.split(|&b| b == b';').next().unwrap_or_default();
        // Windows drops trailing blanks.
        let name = name.trim_ascii_end();
        // Plain dot segments were handled before: this one has a parameter, a blank or an encoded slash.
        if matches!(name, b"." | b"..") {
            return true;
        }
        match slash.and_then(|at| rest.get(at + 3..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// Parses `uri-host [ ":" port ]` (RFC 9110 §7.2): a name, an IPv4 address, or an IPv6 address in brackets.
#[inline(always)]
pub(crate) fn parse_authority(value: &[u8]) -> Result<Authority<'_>, Refusal> {
    match syntax::host_form(value) {
        HostForm::Name if value.len() <= 63 => Ok(Authority { host: value, port: None }),
        form => other_authority(value, form),
    }
}

#[inline(never)]
fn other_authority(value: &[u8], form: HostForm) -> Result<Authority<'_>, Refusal> {
    let (host, port) = if form == HostForm::Name { (value, None) } else { split_port(value)? };
    let is_valid = match form {
        HostForm::Other => is_ipv6_literal(host),
        HostForm::Name | HostForm::NameAndPort => host.len() <= 63 || has_short_labels(host),
    };
    if is_valid { Ok(Authority { host, port }) } else { Err(HOSTNAME) }
}

/// Splits off the port, searching from the end, where it is near.
fn split_port(value: &[u8]) -> Result<(&[u8], Option<NonZeroU16>), Refusal> {
    let (mut port, mut scale) = (0_u32, 1_u32);
    let mut rest = value;
    while let [before @ .., b] = rest {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            if *b != b':' {
                break;
            }
            let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
            let is_short = value.len() - rest.len() <= 5;
            return if is_short && port.is_some() { Ok((before, port)) } else { Err(HOSTNAME) };
        }
        port = port.wrapping_add(scale.wrapping_mul(u32::from(digit)));
        scale = scale.wrapping_mul(10);
        rest = before;
    }
    Ok((value, None))
}

#[cold]
fn is_ipv6_literal(host: &[u8]) -> bool {
    let address = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let address = address.and_then(|address| core::str::from_utf8(address).ok());
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Whether a name has at most 254 bytes, and labels of at most 63 (RFC 1035 §2.3.4).
#[cold]
fn has_short_labels(name: &[u8]) -> bool {
    name.len() <= 254 && name.split(|&b| b == b'.').all(|label| label.len() <= 63)
}
