//! Logs and counters of requests and refusals.
//!
//! - The *access log* has a line for each request, even if it was refused before it was routed: in W3C
//!   extended format with the configured fields, or as JSON ([`line`](mod@line)).
//! - The *error log* (HTTPERR) has a line for each refused request and each connection that was ended, with
//!   its [`Reason`](model::reason::Reason).
//!
//! Lines go into a [`Spool`] of fixed size, and from there over a vsock stream ([`LogLink`]) to the host,
//! which writes files. A line without room is dropped and counted; the host is told the count as soon as
//! there is room again. Lines are kept until the host has acknowledged them, and are sent again on a new
//! stream if necessary.
//!
//! On the stream, each line begins with a byte for its kind ([`Kind`](model::log::Kind)) and ends with LF.
//! Values cannot contain LF.

mod counters;
mod escape;
pub mod line;
mod link;
mod record;
mod spool;

pub use counters::RequestCounters;
pub use link::LogLink;
pub use record::{Endpoints, Outcome, Record, Value};
pub use spool::Spool;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use model::settings;

/// What is logged, and the lines waiting to be sent.
#[derive(Debug)]
pub struct Log {
    pub(crate) settings: Option<settings::Log>,
    pub(crate) sites: Vec<String>,
    pub(crate) pools: Vec<String>,
    /// Lines for the host.
    pub spool: Spool,
    /// Records for reuse.
    #[allow(clippy::vec_box, reason = "records move between here and their connections in their boxes")]
    spare: Vec<Box<Record>>,
    /// Buffer for composing a line.
    line: Vec<u8>,
}

/// Limit on records kept for reuse.
const SPARE: usize = 32;

impl Log {
    /// A log with a spool of `spool_bytes` bytes, or without one if the settings disable logging.
    pub fn new(settings: &settings::Settings, spool_bytes: usize) -> Self {
        let on = settings.log.is_some();
        Self {
            settings: settings.log.clone(),
            sites: settings.sites.iter().filter(|_| on).map(|site| site.name.clone()).collect(),
            pools: settings.pools.iter().filter(|_| on).map(|pool| pool.name.clone()).collect(),
            spool: Spool::new(if on { spool_bytes } else { 0 }),
            spare: Vec::new(),
            line: Vec::new(),
        }
    }

    /// Whether anything is logged.
    pub const fn is_on(&self) -> bool {
        self.settings.is_some()
    }

    /// An empty record.
    pub fn record(&mut self) -> Box<Record> {
        self.spare.pop().unwrap_or_default()
    }

    /// Returns a record for reuse.
    pub fn recycle(&mut self, mut record: Box<Record>) {
        if self.spare.len() < SPARE {
            record.clear();
            self.spare.push(record);
        }
    }
}
