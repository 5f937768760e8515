//! The structure of `weir.toml`, before anything is checked.
//!
//! These structs are the single source of the configuration format: serde deserializes into them, and the JSON Schema and the
//! reference (`schema`) are generated from their fields, doc comments and bounds, so no key is accepted without being documented.
//! Doc comments here are written for users; the first paragraph of a table is what an editor shows.

mod bandwidth;
mod forms;
mod http;
mod log;
mod pool;
mod server;
mod site;
mod tls;
mod worker;

pub(super) use bandwidth::{Limits, ServerBandwidth, SiteBandwidth};
pub(super) use http::Http;
pub(super) use log::Log;
pub(super) use pool::{Ping, Pool};
pub(super) use server::Server;
pub(super) use site::{Prefix, Site};
pub(super) use tls::{Certificate, PoolTls, Tls};
pub(super) use worker::Worker;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// Configuration of an appliance: what it serves, from where, and within which limits.
///
/// Paths are relative to the directory of `weir.toml`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "weir.toml", extend("required" = ["site"]))]
pub(super) struct File {
    /// The appliance itself, and settings for all sites together.
    pub(super) server: Option<Server>,
    /// The sites: 1 to 65536. Error: `no site, expected at least one [[site]]`.
    #[serde(default)]
    #[schemars(with = "Vec<Site>", length(min = 1))]
    pub(super) site: Vec<Spanned<Site>>,
    /// The application pools.
    #[serde(default)]
    #[schemars(with = "Vec<Pool>")]
    pub(super) pool: Vec<Spanned<Pool>>,
    /// The logs. Without this table nothing is logged.
    pub(super) log: Option<Log>,
}
