//! The routing table.

use super::{PrefixError, Scheme};
use crate::settings::{Handler, Settings};
use core::net::IpAddr;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'p> {
    /// Index into [`Settings::sites`].
    pub site: usize,
    /// Index into the site's prefixes.
    pub prefix: usize,
    /// What serves it.
    pub handler: Handler,
    /// The path below the prefix, with its leading slash; empty when the request named the prefix without the slash at
    /// its end (`/dir` for `…/dir/`).
    pub rest: &'p str,
}

/// The outcome of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteResult<'p> {
    /// A prefix covers it.
    Matched(Match<'p>),
    /// None does: 400 (HTTP.sys), reason [`Hostname`](crate::reason::Reason::Hostname).
    NoMatch,
}

/// Why the settings make no routing table. Indices are site and prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterError {
    /// A prefix does not parse.
    Prefix(usize, usize, PrefixError),
    /// The same prefix twice (the second).
    Duplicate(usize, usize),
    /// HTTP and HTTPS on one port.
    SchemeConflict(usize, usize),
    /// A prefix names a pool that does not exist.
    Pool(usize, usize),
}

/// Routes requests in a time that does not depend on the number of prefixes.
#[derive(Clone, Debug)]
pub struct Router {}

impl Router {
    /// Builds the table.
    pub fn new(settings: &Settings) -> Result<Self, RouterError> {
        todo!("{settings:?}")
    }

    /// Finds the prefix for a request. `host` without port, as received (empty for none); `path` decoded and
    /// normalised. Host and prefix path are compared without regard to case.
    pub fn route<'p>(
        &self,
        scheme: Scheme,
        local_port: u16,
        host: &str,
        local_ip: IpAddr,
        path: &'p str,
    ) -> RouteResult<'p> {
        let _ = (scheme, local_port, host, local_ip, path);
        todo!()
    }

    /// The ports to listen on, each once, in ascending order.
    pub fn ports(&self) -> impl Iterator<Item = (u16, Scheme)> + '_ {
        core::iter::empty()
    }
}
