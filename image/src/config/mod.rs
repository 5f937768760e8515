//! `weir.toml`: read, checked, and turned into a [`Config`] that the image builder and the supervisor share.
//!
//! Every error is one line, `FILE:LINE:COLUMN: what, expected what`, and all of them are told at once, in the file's order.

mod bandwidth;
mod bounds;
mod check;
mod error;
mod host;
mod http;
mod log;
mod odd;
mod parse;
mod passing;
mod ping;
mod process;
mod queue;
mod raw;
mod reference;
mod schema;
mod supervision;
mod tls;
mod trust;
mod units;
mod value;
mod worker;

pub use check::{check, check_text};
pub use error::{ConfigError, ConfigErrors};
pub use log::{LOG_PORT, Log, Rotate};
pub use ping::{HttpCheck, Ping};
pub use process::{Environment, ListensOn, Process};
pub use queue::Queue;
pub use reference::reference;
pub use schema::schema;
pub use supervision::{Recycle, Supervision};
pub use units::rate as parse_rate;
pub use value::parse_address;

use model::settings::{self, Settings, StaticAddress};
use model::url::Scheme;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// A static address; DHCP where there is none.
    pub address: Option<StaticAddress>,
    /// Bandwidth of all sites together.
    pub bandwidth: settings::ServerBandwidth,
    /// Limits on all sites together.
    pub limits: settings::Limits,
    /// How requests are read.
    pub http: settings::Http,
    /// Proxies whose word about their client is taken.
    pub trust: settings::Trust,
    /// Sites in the file's order.
    pub sites: Vec<Site>,
    /// Pools in the file's order.
    pub pools: Vec<Pool>,
    /// Directories of static files, each once; [`settings::Handler::Files`] indexes it.
    pub trees: Vec<PathBuf>,
    /// How logs are written; not at all where there is none.
    pub log: Option<Log>,
    /// How long requests under way may take when everything is to end.
    pub shutdown_limit: Duration,
    /// What is allowed and probably not meant.
    pub warnings: Vec<ConfigError>,
}

/// A site: the URL prefixes that share limits and properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Name, unique.
    pub name: String,
    /// What it answers to, in the file's order.
    pub prefixes: Vec<Prefix>,
    /// Bandwidth.
    pub bandwidth: settings::SiteBandwidth,
    /// Limits.
    pub limits: settings::Limits,
    /// How its requests are read.
    pub http: settings::Http,
    /// TLS, for a site with certificates.
    pub tls: Option<settings::Tls>,
    /// The port of https that plain HTTP is sent to.
    pub redirect_https: Option<u16>,
}

/// A URL prefix and what serves the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Canonical URL prefix.
    pub url: String,
    /// TCP port it is reached at.
    pub port: u16,
    /// What serves it: a number of [`Config::trees`] or [`Config::pools`].
    pub handler: settings::Handler,
    /// What is asked of clients, if not what the site says.
    pub client_certificates: Option<settings::ClientCertificates>,
    /// What of its requests is passed on as the client wrote it.
    pub passthrough: settings::Passthrough,
}

/// An application pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Name, unique.
    pub name: String,
    /// Its workers, at least one.
    pub workers: Vec<Worker>,
    /// How its requests wait.
    pub queue: Queue,
    /// How its workers are looked after.
    pub supervision: Supervision,
    /// TLS on its links.
    pub tls: Option<settings::LinkTls>,
}

/// An entry of a pool's list of workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// What it is on the host.
    pub kind: WorkerKind,
    /// How many of it there may be at a time.
    pub instances: u32,
}

/// What a worker is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// A VM that the supervisor boots and relays to.
    Vm {
        /// What it boots.
        image: VmImage,
        /// Its memory in MiB.
        memory_mib: u32,
    },
    /// A command that the supervisor runs and relays to.
    Process(Process),
    /// A server that is already there.
    Address(Address),
}

/// What a worker VM boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmImage {
    /// The demo worker of this workspace ([`crate::Program::Worker`]).
    Worker,
    /// A Hermit ELF on the host.
    Elf(PathBuf),
    /// A Linux kernel and its initial RAM file system on the host.
    Linux {
        /// The kernel (bzImage).
        kernel: PathBuf,
        /// The initial RAM file system.
        initrd: PathBuf,
        /// What the kernel command line gets after the supervisor's own words.
        append: String,
    },
}

/// Where a worker that is already there listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `vsock:CID:PORT`, dialled by the appliance itself.
    Vsock {
        /// Context identifier.
        cid: u32,
        /// Port.
        port: u32,
    },
    /// `tcp:HOST:PORT`, relayed by the supervisor.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:PATH`, relayed by the supervisor.
    Unix(PathBuf),
}

impl Worker {
    /// Where the appliance itself dials it. All others it learns of from the supervisor, who relays to them.
    fn dialled(&self) -> Option<settings::Worker> {
        match self.kind {
            WorkerKind::Address(Address::Vsock { cid, port }) => Some(settings::Worker { cid, port }),
            _ => None,
        }
    }

    /// The supervisor starts it.
    pub fn is_started(&self) -> bool {
        !matches!(self.kind, WorkerKind::Address(_))
    }
}

impl Config {
    /// The part of the configuration that the appliance sees.
    pub fn settings(&self) -> Settings {
        let prefix = |p: &Prefix| settings::Prefix {
            url: p.url.clone(),
            handler: p.handler,
            client_certificates: p.client_certificates,
            passthrough: p.passthrough.clone(),
        };
        let site = |s: &Site| settings::Site {
            name: s.name.clone(),
            prefixes: s.prefixes.iter().map(prefix).collect(),
            bandwidth: s.bandwidth,
            limits: s.limits,
            http: s.http,
            tls: s.tls.clone(),
            redirect_https: s.redirect_https,
        };
        let pool = |p: &Pool| settings::Pool {
            name: p.name.clone(),
            workers: p.workers.iter().filter_map(Worker::dialled).collect(),
            queue_length: p.queue.length,
            queue_timeout_s: p.queue.timeout_s,
            response_timeout_s: p.queue.response_timeout_s,
            requests_per_worker: p.queue.per_worker,
            response_head_bytes: p.queue.response_head_bytes,
            response_fields: p.queue.response_fields,
            verbosity: p.queue.verbosity,
            tls: p.tls.clone(),
        };
        Settings {
            server: settings::Server {
                address: self.address,
                bandwidth: self.bandwidth,
                limits: self.limits,
                http: self.http,
                trust: self.trust.clone(),
            },
            sites: self.sites.iter().map(site).collect(),
            pools: self.pools.iter().map(pool).collect(),
            log: self.log.as_ref().map(|log| log.settings.clone()),
        }
    }

    /// The first TCP port of the URL prefixes with this scheme.
    pub fn first_port(&self, scheme: Scheme) -> Option<u16> {
        let prefixes = self.sites.iter().flat_map(|site| &site.prefixes);
        let start = format!("{}:", scheme.as_str());
        prefixes.filter(|prefix| prefix.url.starts_with(&start)).map(|prefix| prefix.port).min()
    }

    /// The TCP ports of the URL prefixes, sorted, each once.
    pub fn ports(&self) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.sites.iter().flat_map(|s| &s.prefixes).map(|p| p.port).collect();
        ports.into_iter().collect()
    }
}

#[cfg(test)]
mod front_tests;
#[cfg(test)]
mod tests;
