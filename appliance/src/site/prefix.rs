//! URL prefixes: `scheme://host:port/path/`.

use super::Scheme;
use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The host part of a URL prefix, which is also its category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixHost<'a> {
    /// `+`: any host, before all others.
    StrongWildcard,
    /// A host name, in any case.
    Explicit(&'a str),
    /// `*.domain`: any name below the domain (the value, without `*.`).
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
    /// Path with a slash at its start and its end.
    pub path: &'a str,
}

/// What is wrong with a URL prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixErrorKind {
    /// It does not begin with `http://` or `https://` in lower case.
    Scheme,
    /// No host.
    HostMissing,
    /// A character that no host name has, or an empty label.
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
    /// A character that no path has (write paths decoded, not percent-encoded).
    Path,
    /// An empty, `.` or `..` segment in the path.
    PathSegment,
}

/// A URL prefix that does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixError {
    /// What is wrong.
    pub kind: PrefixErrorKind,
    /// Where: byte offset into the prefix.
    pub position: usize,
}

impl<'a> UrlPrefix<'a> {
    /// Parses a URL prefix.
    pub fn parse(url: &'a str) -> Result<Self, PrefixError> {
        todo!("{url}")
    }

    /// The prefix with its host in lower case, as [`crate::settings::Prefix::url`] holds it.
    pub fn canonical(&self) -> String {
        todo!()
    }
}
