//! URL prefixes: `scheme://host:port/path/`.

use super::Scheme;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The host part of a URL prefix, which is also its category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixHost<'a> {
    /// `+`: any host, before all others.
    StrongWildcard,
    /// A host name, in any case.
    Explicit(&'a str),
    /// `*.domain`: any name below the domain; contains the domain.
    Subdomains(&'a str),
    /// Bound to a local IPv4 address.
    Ipv4(Ipv4Addr),
    /// Bound to a local IPv6 address.
    Ipv6(Ipv6Addr),
    /// `*`: any host, after all others.
    WeakWildcard,
}

/// A URL prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlPrefix<'a> {
    /// Scheme.
    pub scheme: Scheme,
    /// Host.
    pub host: PrefixHost<'a>,
    /// Port.
    pub port: u16,
    /// Path, with a leading and a trailing slash.
    pub path: &'a str,
}

/// What is wrong with a URL prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixErrorKind {
    /// Does not begin with `http://` or `https://` in lower case.
    Scheme,
    /// No host.
    HostMissing,
    /// A character not allowed in host names, or an empty label.
    Host,
    /// A label of more than 63 or a name of more than 253 characters.
    HostLength,
    /// A malformed IPv4 or IPv6 literal.
    Address,
    /// No `:port`.
    PortMissing,
    /// Not a number from 1 to 65535, or a leading zero.
    Port,
    /// The path does not begin with a slash.
    PathMissing,
    /// The path does not end with a slash.
    PathEnd,
    /// A character not allowed in paths, which are to be written decoded, not percent-encoded.
    Path,
    /// An empty, `.` or `..` segment in the path.
    PathSegment,
}

impl fmt::Display for PrefixErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL prefix begins with http:// or https:// in lower case",
            Self::HostMissing => "a host is missing: a name, *.domain, an address, + or *",
            Self::Host => {
                "a host is a name of letters, digits, hyphens and dots, *.domain, an address, + or *"
            }
            Self::HostLength => "a host name has at most 253 characters, and 63 between its dots",
            Self::Address => {
                "an IPv4 address has four numbers from 0 to 255, an IPv6 address stands in brackets"
            }
            Self::PortMissing => "a port is missing, as in http://*:80/",
            Self::Port => "a port is a number from 1 to 65535 without leading zeros",
            Self::PathMissing => "a path is missing, at least a slash",
            Self::PathEnd => "a path ends with a slash",
            Self::Path => "a path has no control characters, blanks or any of \\ ? # % * \" < > |",
            Self::PathSegment => "a path has no empty, . or .. segments",
        })
    }
}

/// An invalid URL prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixError {
    /// What is wrong.
    pub kind: PrefixErrorKind,
    /// Byte offset of the error in the prefix.
    pub position: usize,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind, self.position)
    }
}

impl core::error::Error for PrefixError {}

fn error<T>(kind: PrefixErrorKind, position: usize) -> Result<T, PrefixError> {
    Err(PrefixError { kind, position })
}

impl<'a> UrlPrefix<'a> {
    /// Parses a URL prefix.
    pub fn parse(url: &'a str) -> Result<Self, PrefixError> {
        let (scheme, rest) = if let Some(rest) = url.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else if let Some(rest) = url.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else {
            let wrong = url.bytes().zip("http".bytes()).take_while(|(a, b)| a == b).count();
            return error(PrefixErrorKind::Scheme, wrong);
        };
        let host_at = url.len() - rest.len();
        let host_len = host_len(rest, host_at)?;
        let (host, rest) = rest.split_at_checked(host_len).unwrap_or_default();
        let host = parse_host(host, host_at)?;
        let port_at = host_at + host_len;
        let Some(rest) = rest.strip_prefix(':') else { return error(PrefixErrorKind::PortMissing, port_at) };
        let port_len = rest.find('/').unwrap_or(rest.len());
        let (port, path) = rest.split_at_checked(port_len).unwrap_or_default();
        let port = parse_port(port, port_at + 1)?;
        let path_at = port_at + 1 + port_len;
        if path.is_empty() {
            return error(PrefixErrorKind::PathMissing, path_at);
        }
        check_path(path, path_at)?;
        Ok(Self { scheme, host, port, path })
    }

    /// The prefix with its host in lower case, as in [`crate::settings::Prefix::url`].
    pub fn canonical(&self) -> String {
        let host = match self.host {
            PrefixHost::StrongWildcard => "+".into(),
            PrefixHost::Explicit(name) => name.to_ascii_lowercase(),
            PrefixHost::Subdomains(domain) => format!("*.{}", domain.to_ascii_lowercase()),
            PrefixHost::Ipv4(address) => format!("{address}"),
            PrefixHost::Ipv6(address) => format!("[{address}]"),
            PrefixHost::WeakWildcard => "*".into(),
        };
        format!("{}://{host}:{}{}", self.scheme.as_str(), self.port, self.path)
    }
}

/// Length of the host: up to the colon before the port, or to the path if there is no port.
fn host_len(rest: &str, at: usize) -> Result<usize, PrefixError> {
    let len = if rest.starts_with('[') {
        match rest.find(']') {
            Some(close) => close + 1,
            None => return error(PrefixErrorKind::Address, at),
        }
    } else {
        rest.find([':', '/']).unwrap_or(rest.len())
    };
    if len == 0 { error(PrefixErrorKind::HostMissing, at) } else { Ok(len) }
}

fn parse_host(host: &str, at: usize) -> Result<PrefixHost<'_>, PrefixError> {
    let address = |_: core::net::AddrParseError| PrefixError { kind: PrefixErrorKind::Address, position: at };
    if host == "+" {
        return Ok(PrefixHost::StrongWildcard);
    }
    if host == "*" {
        return Ok(PrefixHost::WeakWildcard);
    }
    if let Some(literal) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return literal.parse().map(PrefixHost::Ipv6).map_err(address);
    }
    if let Some(domain) = host.strip_prefix("*.") {
        check_name(domain, at + 2)?;
        return Ok(PrefixHost::Subdomains(domain));
    }
    check_name(host, at)?;
    // A name whose last label is a number is an address, or a mistake (WHATWG URL, "ends in a number").
    if host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit())) {
        return host.parse().map(PrefixHost::Ipv4).map_err(address);
    }
    Ok(PrefixHost::Explicit(host))
}

fn check_name(name: &str, at: usize) -> Result<(), PrefixError> {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if let Some(bad) = name.bytes().position(|b| !is_host(b)) {
        return error(PrefixErrorKind::Host, at + bad);
    }
    if name.len() > 253 {
        return error(PrefixErrorKind::HostLength, at + 253);
    }
    let mut start = 0;
    for label in name.split('.') {
        if label.is_empty() {
            return error(PrefixErrorKind::Host, at + start);
        }
        if label.len() > 63 {
            return error(PrefixErrorKind::HostLength, at + start + 63);
        }
        start += label.len() + 1;
    }
    Ok(())
}

fn parse_port(port: &str, at: usize) -> Result<u16, PrefixError> {
    if let Some(bad) = port.bytes().position(|b| !b.is_ascii_digit()) {
        return error(PrefixErrorKind::Port, at + bad);
    }
    match port.parse() {
        Ok(number) if !port.starts_with('0') => Ok(number),
        _ => error(PrefixErrorKind::Port, at),
    }
}

fn check_path(path: &str, at: usize) -> Result<(), PrefixError> {
    let bad =
        |c: char| c.is_control() || matches!(c, ' ' | '\\' | '?' | '#' | '%' | '*' | '"' | '<' | '>' | '|');
    if let Some(bad) = path.find(bad) {
        return error(PrefixErrorKind::Path, at + bad);
    }
    let Some(inner) = path.strip_suffix('/') else { return error(PrefixErrorKind::PathEnd, at + path.len()) };
    let mut start = 0;
    for (i, segment) in inner.split('/').enumerate() {
        // There is no segment before the first slash.
        if i > 0 && matches!(segment, "" | "." | "..") {
            return error(PrefixErrorKind::PathSegment, at + start);
        }
        start += segment.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
