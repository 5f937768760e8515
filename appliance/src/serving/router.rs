//! The routing table.
//!
//! Two hash tables: from (category, scheme, port, host) to a *binding*, and from (binding, path) to a prefix.
//! A lookup tries at most five categories and, within a binding, the segments of the path up to the length of
//! the binding's longest prefix, regardless of the number of prefixes.

use super::readings::{Reading, combinations, fold, quirks};
use crate::table::{NameHash, Table};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use model::id::SiteId;
use model::settings::{ClientCertificates, Handler, Passthrough, Settings};
use model::url::{PrefixError, Scheme};
use model::url::{PrefixHost, UrlPrefix};

/// The destination of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'p> {
    /// The site.
    pub site: SiteId,
    /// Index into the site's prefixes.
    pub prefix: usize,
    /// The handler.
    pub handler: Handler,
    /// What is passed on as the client wrote it.
    pub passthrough: &'p Passthrough,
    /// The path below the prefix, with its leading slash; empty if the request named the prefix without its
    /// trailing slash (`/dir` for `…/dir/`).
    pub rest: &'p str,
}

/// The outcome of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteResult<'p> {
    /// A prefix covers the request.
    Matched(Match<'p>),
    /// A prefix covers the path, but in another server's reading of it, a prefix with different rules would:
    /// 400, reason [`Url`](model::reason::Reason::Url).
    Ambiguous,
    /// No prefix covers the request: 400 as in HTTP.sys, reason
    /// [`Hostname`](model::reason::Reason::Hostname).
    NoMatch,
}

/// Why no routing table can be built. Indices are site and prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterError {
    /// A prefix is invalid.
    Prefix(usize, usize, PrefixError),
    /// A prefix occurs twice (index of the second).
    Duplicate(usize, usize),
    /// HTTP and HTTPS on the same port.
    SchemeConflict(usize, usize),
    /// A prefix names a pool that does not exist.
    Pool(usize, usize),
    /// More sites than the limit; the index is the first one too many.
    TooManySites(usize),
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(site, prefix, error) => write!(f, "site {site}, prefix {prefix}: {error}"),
            Self::Duplicate(site, prefix) => write!(f, "site {site}, prefix {prefix}: registered already"),
            Self::SchemeConflict(site, prefix) => {
                write!(f, "site {site}, prefix {prefix}: http and https on one port")
            }
            Self::Pool(site, prefix) => write!(f, "site {site}, prefix {prefix}: no such pool"),
            Self::TooManySites(site) => write!(f, "site {site}: too many sites, expected at most 65536"),
        }
    }
}

impl core::error::Error for RouterError {}

/// In search order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    StrongWildcard,
    Explicit,
    Subdomains,
    Address,
    WeakWildcard,
}

/// A host on a port.
#[derive(Clone, Debug)]
struct Binding {
    category: Category,
    scheme: Scheme,
    port: u16,
    /// In lower case; empty for wildcards.
    host: Box<[u8]>,
    /// Length of the longest path, without its trailing slash.
    longest: usize,
    /// Bit n: a path of length n exists; the last bit covers all lengths from 63. Most segments of a request
    /// path end where no prefix does, and need no lookup.
    lengths: u64,
}

impl Binding {
    /// Notes that a path of this length exists.
    fn add_length(&mut self, path_len: usize) {
        self.longest = self.longest.max(path_len);
        self.lengths |= 1 << path_len.min(63);
    }
}

#[derive(Clone, Debug)]
struct Entry {
    binding: usize,
    /// In lower case, without the trailing slash.
    path: Box<str>,
    site: SiteId,
    prefix: usize,
    handler: Handler,
    client_certificates: Option<ClientCertificates>,
    passthrough: Passthrough,
}

impl Entry {
    /// Whether both entries treat requests alike.
    fn has_same_rules_as(&self, other: &Self) -> bool {
        self.site == other.site
            && self.handler == other.handler
            && self.client_certificates == other.client_certificates
            && self.passthrough == other.passthrough
    }
}

/// What a prefix is looked up for.
#[derive(Clone, Copy)]
struct RouteKey<'r> {
    scheme: Scheme,
    port: u16,
    host: &'r [u8],
    local_ip: IpAddr,
}

/// Routes requests in time independent of the number of prefixes.
#[derive(Clone, Debug)]
pub struct Router {
    bindings: Table<Binding>,
    entries: Table<Entry>,
    /// Categories that have a binding.
    used: [bool; 5],
    /// All prefixes have the same rules, so it does not matter which one covers a path.
    uniform: bool,
    ports: Vec<(u16, Scheme)>,
}

impl Router {
    /// Builds the table.
    pub fn new(settings: &Settings) -> Result<Self, RouterError> {
        let mut router = Self {
            bindings: Table::default(),
            entries: Table::default(),
            used: [false; 5],
            uniform: true,
            ports: Vec::new(),
        };
        for (s, site) in settings.sites.iter().enumerate() {
            let id = SiteId::at(s).ok_or(RouterError::TooManySites(s))?;
            for (p, prefix) in site.prefixes.iter().enumerate() {
                let url = UrlPrefix::parse(&prefix.url).map_err(|e| RouterError::Prefix(s, p, e))?;
                if let Handler::Pool(pool) = prefix.handler
                    && pool.index() >= settings.pools.len()
                {
                    return Err(RouterError::Pool(s, p));
                }
                if !router.add_port(url.port, url.scheme) {
                    return Err(RouterError::SchemeConflict(s, p));
                }
                let path = url.path.strip_suffix('/').unwrap_or(url.path).to_ascii_lowercase();
                let binding = router.add_binding(&url, path.len());
                let entry = Entry {
                    binding,
                    path: path.into(),
                    site: id,
                    prefix: p,
                    handler: prefix.handler,
                    client_certificates: prefix.client_certificates,
                    passthrough: prefix.passthrough.clone(),
                };
                router.uniform &= router.entries.get(0).is_none_or(|first| first.has_same_rules_as(&entry));
                if !router.add_entry(entry) {
                    return Err(RouterError::Duplicate(s, p));
                }
            }
        }
        router.add_folded();
        Ok(router)
    }

    /// False if the other scheme uses the port.
    fn add_port(&mut self, port: u16, scheme: Scheme) -> bool {
        match self.ports.binary_search_by_key(&port, |&(port, _)| port) {
            Ok(at) => self.ports.get(at).is_some_and(|&(_, taken)| taken == scheme),
            Err(at) => {
                self.ports.insert(at, (port, scheme));
                true
            }
        }
    }

    /// Adds the folded form of non-ASCII paths, where it is not taken.
    fn add_folded(&mut self) {
        let mut index = 0;
        while let Some(entry) = self.entries.get(index) {
            index += 1;
            let path: String = entry.path.chars().map(fold).collect();
            if !entry.path.is_ascii() && *entry.path != *path {
                let entry = Entry { path: path.into(), ..entry.clone() };
                if let Some(binding) = self.bindings.get_mut(entry.binding) {
                    binding.add_length(entry.path.len());
                }
                self.add_entry(entry);
            }
        }
    }

    fn add_binding(&mut self, url: &UrlPrefix<'_>, path_len: usize) -> usize {
        let (category, host) = category(url.host);
        self.used[category as usize] = true;
        let hash = binding_hash(category, url.scheme, url.port, &host);
        let index = match self.find_binding(hash, category, url.scheme, url.port, &host) {
            Some(index) => index,
            None => self.bindings.insert(
                hash,
                Binding {
                    category,
                    scheme: url.scheme,
                    port: url.port,
                    host: host.into(),
                    longest: 0,
                    lengths: 0,
                },
            ),
        };
        if let Some(binding) = self.bindings.get_mut(index) {
            binding.add_length(path_len);
        }
        index
    }

    /// False if the entry exists.
    fn add_entry(&mut self, entry: Entry) -> bool {
        let mut hash = NameHash::new(entry.binding as u64);
        hash.lower(entry.path.as_bytes());
        let hash = hash.finish();
        if self.entries.find(hash, |e| e.binding == entry.binding && e.path == entry.path).is_some() {
            return false;
        }
        self.entries.insert(hash, entry);
        true
    }

    #[inline]
    fn find_binding(
        &self,
        hash: u64,
        category: Category,
        scheme: Scheme,
        port: u16,
        host: &[u8],
    ) -> Option<usize> {
        self.bindings.find(hash, |b| {
            b.category == category
                && b.port == port
                && b.scheme == scheme
                // The bytes of an address have no case.
                && (*b.host == *host || category != Category::Address && b.host.eq_ignore_ascii_case(host))
        })
    }

    /// Finds the prefix for a request. `host`: as received without port, empty for none; `path`: decoded and
    /// normalised. Hosts and paths are compared ignoring ASCII case.
    ///
    /// A path that servers may read differently must lead to a prefix with the same rules in every such
    /// reading (`super::readings`), unless the prefix it falls under takes paths as they are.
    pub fn route<'p>(
        &'p self,
        scheme: Scheme,
        local_port: u16,
        host: &[u8],
        local_ip: IpAddr,
        path: &'p str,
    ) -> RouteResult<'p> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let key = RouteKey { scheme, port: local_port, host, local_ip };
        let Some((entry, rest)) = self.search(key, |binding| self.match_path(binding, path)) else {
            return RouteResult::NoMatch;
        };
        if !self.uniform && !entry.passthrough.as_is && self.is_ambiguous(key, path, entry) {
            return RouteResult::Ambiguous;
        }
        RouteResult::Matched(Match {
            site: entry.site,
            prefix: entry.prefix,
            handler: entry.handler,
            passthrough: &entry.passthrough,
            rest,
        })
    }

    /// Whether some reading of the path leads to a prefix with other rules.
    #[inline]
    fn is_ambiguous(&self, key: RouteKey<'_>, path: &str, entry: &Entry) -> bool {
        let quirks = quirks(path);
        quirks != 0 && self.reads_differently(key, path, quirks, entry)
    }

    #[cold]
    fn reads_differently(&self, key: RouteKey<'_>, path: &str, quirks: u8, entry: &Entry) -> bool {
        combinations(quirks).any(|some| {
            let reading = Reading::new(path, some);
            let found = self.search(key, |binding| self.match_reading(binding, &reading));
            found.is_none_or(|found| !found.has_same_rules_as(entry)) || reading.has_dot_segment()
        })
    }

    /// Searches the bindings for a host in order, until one yields a result.
    #[inline]
    fn search<T>(&self, key: RouteKey<'_>, look: impl Fn(usize) -> Option<T>) -> Option<T> {
        let RouteKey { scheme, port, host, local_ip } = key;
        let lookup = |category: Category, host: &[u8]| {
            let hash = binding_hash(category, scheme, port, host);
            look(self.find_binding(hash, category, scheme, port, host)?)
        };
        let category = |category: Category, host: &[u8]| {
            if self.used[category as usize] { lookup(category, host) } else { None }
        };
        category(Category::StrongWildcard, b"")
            .or_else(|| category(Category::Explicit, host))
            .or_else(|| self.subdomains(host, lookup))
            .or_else(|| match local_ip {
                IpAddr::V4(address) => category(Category::Address, &address.octets()),
                IpAddr::V6(address) => category(Category::Address, &address.octets()),
            })
            .or_else(|| category(Category::WeakWildcard, b""))
    }

    /// Searches `*.domain`, longest domain first. Bounded by the number of labels in a host name.
    fn subdomains<T>(&self, host: &[u8], lookup: impl Fn(Category, &[u8]) -> Option<T>) -> Option<T> {
        if !self.used[Category::Subdomains as usize] {
            return None;
        }
        let mut rest = host;
        while let Some(dot) = rest.iter().position(|&b| b == b'.') {
            rest = rest.get(dot + 1..)?;
            if let Some(found) = lookup(Category::Subdomains, rest) {
                return Some(found);
            }
        }
        None
    }

    /// The longest prefix of whole segments, and the rest of the path.
    fn match_path<'p>(&self, binding: usize, path: &'p str) -> Option<(&Entry, &'p str)> {
        let &Binding { longest, lengths, .. } = self.bindings.get(binding)?;
        let bytes = path.as_bytes();
        let mut hash = NameHash::new(binding as u64);
        let mut best = None;
        for end in 0..=longest.min(bytes.len()) {
            let next = bytes.get(end).copied();
            if matches!(next, None | Some(b'/')) && lengths >> end.min(63) & 1 != 0 {
                let (prefix, rest) = path.split_at_checked(end)?;
                let found = self
                    .entries
                    .find(hash.finish(), |e| e.binding == binding && e.path.eq_ignore_ascii_case(prefix));
                if let Some(entry) = found.and_then(|index| self.entries.get(index)) {
                    best = Some((entry, rest));
                }
            }
            if let Some(b) = next {
                hash.lower(&[b]);
            }
        }
        best
    }

    /// Like [`Router::match_path`], for a reading, which is not contiguous in memory.
    fn match_reading(&self, binding: usize, reading: &Reading<'_>) -> Option<&Entry> {
        let &Binding { longest, lengths, .. } = self.bindings.get(binding)?;
        let mut bytes = reading.clone();
        let mut hash = NameHash::new(binding as u64);
        let mut best = None;
        for end in 0..=longest {
            let next = bytes.next();
            if matches!(next, None | Some(b'/')) && lengths >> end.min(63) & 1 != 0 {
                let is_it = |entry: &Entry| {
                    entry.binding == binding
                        && entry.path.len() == end
                        && entry.path.bytes().zip(reading.clone()).all(|(a, b)| a.eq_ignore_ascii_case(&b))
                };
                let found = self.entries.find(hash.finish(), is_it);
                best = found.and_then(|index| self.entries.get(index)).or(best);
            }
            let Some(b) = next else { break };
            hash.lower(&[b]);
        }
        best
    }

    /// Ports to listen on, unique and in ascending order.
    pub fn ports(&self) -> impl Iterator<Item = (u16, Scheme)> + '_ {
        self.ports.iter().copied()
    }
}

fn category(host: PrefixHost<'_>) -> (Category, Vec<u8>) {
    match host {
        PrefixHost::StrongWildcard => (Category::StrongWildcard, Vec::new()),
        PrefixHost::Explicit(name) => (Category::Explicit, name.to_ascii_lowercase().into()),
        PrefixHost::Subdomains(domain) => (Category::Subdomains, domain.to_ascii_lowercase().into()),
        PrefixHost::Ipv4(address) => (Category::Address, address.octets().into()),
        PrefixHost::Ipv6(address) => (Category::Address, address.octets().into()),
        PrefixHost::WeakWildcard => (Category::WeakWildcard, Vec::new()),
    }
}

#[inline]
fn binding_hash(category: Category, scheme: Scheme, port: u16, host: &[u8]) -> u64 {
    let mut hash = NameHash::new(u64::from(port) << 8 | (scheme as u64) << 4 | category as u64);
    hash.lower(host);
    hash.finish()
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
