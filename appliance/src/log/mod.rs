//! Logs: a line for every request and a line for every refusal, and the counters of both.
//!
//! - The *access log* has a line for each request, also for those that were refused before they were routed: W3C extended
//!   with the fields that the configuration names, or JSON lines ([`line`](mod@line)).
//! - The *error log* (HTTPERR) has a line for each request that was refused and each connection that was ended, with its
//!   [`Reason`](model::reason::Reason).
//!
//! Lines go into a [`Spool`] of fixed size and from there over a vsock stream to the host ([`LogLink`]), which
//! writes files. A line that finds no room is dropped and counted; the count is told to the host as soon as there is room
//! again. Lines are kept until the host has acknowledged them, and sent again on a new stream if one ends before that.
//!
//! On the stream each line begins with a byte that says what it is ([`Kind`](model::log::Kind)) and ends with LF. No value can contain LF.

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

/// What is logged, and the lines that wait to be fetched.
#[derive(Debug)]
pub struct Log {
    pub(crate) settings: Option<settings::Log>,
    pub(crate) sites: Vec<String>,
    pub(crate) pools: Vec<String>,
    /// Lines for the host.
    pub spool: Spool,
    /// Records to be used again.
    #[allow(clippy::vec_box, reason = "records move between here and their connections in their boxes")]
    spare: Vec<Box<Record>>,
    /// Where lines are put together.
    line: Vec<u8>,
}

/// Records kept to be used again.
const SPARE: usize = 32;

impl Log {
    /// A log with a spool of so many bytes, or none if the settings want none.
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

    /// Anything is logged.
    pub const fn is_on(&self) -> bool {
        self.settings.is_some()
    }

    /// An empty record.
    pub fn record(&mut self) -> Box<Record> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a record back.
    pub fn recycle(&mut self, mut record: Box<Record>) {
        if self.spare.len() < SPARE {
            record.clear();
            self.spare.push(record);
        }
    }
}
