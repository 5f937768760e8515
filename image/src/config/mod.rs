//! `weir.toml`: parsed, checked, and turned into a [`Config`] that the image builder and the supervisor share.
//!
//! Every error is one line, `FILE:LINE:COLUMN: what, expected what`. All errors are reported at once, in file order.

mod bandwidth;
mod bounds;
mod check;
mod error;
mod host;
mod http;
mod log;
mod parse;
mod passthrough;
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
mod warnings;
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
    /// Static address; DHCP if `None`.
    pub address: Option<StaticAddress>,
    /// Bandwidth of all sites together.
    pub bandwidth: settings::ServerBandwidth,
    /// Limits on all sites together.
    pub limits: settings::Limits,
    /// How requests are parsed.
    pub http: settings::Http,
    /// Trusted proxies and how they identify their clients.
    pub trust: settings::Trust,
    /// Sites in file order.
    pub sites: Vec<Site>,
    /// Pools in file order.
    pub pools: Vec<Pool>,
    /// Directories of static files, without duplicates; [`settings::Handler::Files`] is an index into it.
    pub trees: Vec<PathBuf>,
    /// How logs are written; `None`: no logs.
    pub log: Option<Log>,
    /// How long requests in progress may take to complete during shutdown.
    pub shutdown_limit: Duration,
    /// Warnings: valid, but probably mistakes.
    pub warnings: Vec<ConfigError>,
}

/// A site: URL prefixes that share limits and properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Name, unique.
    pub name: String,
    /// URL prefixes in file order.
    pub prefixes: Vec<Prefix>,
    /// Bandwidth.
    pub bandwidth: settings::SiteBandwidth,
    /// Limits.
    pub limits: settings::Limits,
    /// How requests to it are parsed.
    pub http: settings::Http,
    /// TLS, for a site with certificates.
    pub tls: Option<settings::Tls>,
    /// The https port that plain HTTP requests are redirected to.
    pub redirect_https: Option<u16>,
}

/// A URL prefix and what serves the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Canonical URL prefix.
    pub url: String,
    /// TCP port.
    pub port: u16,
    /// What serves it; holds an index into [`Config::trees`] or [`Config::pools`].
    pub handler: settings::Handler,
    /// Whether clients are asked for a certificate; `None`: the site's setting.
    pub client_certificates: Option<settings::ClientCertificates>,
    /// What is forwarded from its requests unchanged.
    pub passthrough: settings::Passthrough,
}

/// An application pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Name, unique.
    pub name: String,
    /// Its workers, at least one.
    pub workers: Vec<Worker>,
    /// Settings of the request queue.
    pub queue: Queue,
    /// How its workers are supervised.
    pub supervision: Supervision,
    /// TLS on its links.
    pub tls: Option<settings::LinkTls>,
}

/// An entry of a pool's list of workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The kind of worker.
    pub kind: WorkerKind,
    /// Maximum number of instances at a time.
    pub instances: u32,
}

/// A kind of worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// A VM that the supervisor boots and relays to.
    Vm {
        /// Its image.
        image: VmImage,
        /// Its memory in MiB.
        memory_mib: u32,
    },
    /// A command that the supervisor runs and relays to.
    Process(Process),
    /// A server that is already running.
    Address(Address),
}

/// The image of a worker VM.
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
        /// Appended to the supervisor's own kernel command line.
        append: String,
    },
}

/// Address of a server that is already running.
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
    /// The vsock address that the appliance connects to itself. It learns of all other workers from the supervisor, which relays
    /// to them.
    fn dialled(&self) -> Option<settings::Worker> {
        match self.kind {
            WorkerKind::Address(Address::Vsock { cid, port }) => Some(settings::Worker { cid, port }),
            _ => None,
        }
    }

    /// Whether the supervisor starts this worker.
    pub fn is_started(&self) -> bool {
        !matches!(self.kind, WorkerKind::Address(_))
    }
}

impl Config {
    /// The settings that the appliance needs.
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

    /// The lowest TCP port of the URL prefixes with this scheme.
    pub fn first_port(&self, scheme: Scheme) -> Option<u16> {
        let prefixes = self.sites.iter().flat_map(|site| &site.prefixes);
        let start = format!("{}:", scheme.as_str());
        prefixes.filter(|prefix| prefix.url.starts_with(&start)).map(|prefix| prefix.port).min()
    }

    /// The TCP ports of all URL prefixes, sorted, without duplicates.
    pub fn ports(&self) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.sites.iter().flat_map(|s| &s.prefixes).map(|p| p.port).collect();
        ports.into_iter().collect()
    }
}

#[cfg(test)]
mod front_tests;
#[cfg(test)]
mod tests;
