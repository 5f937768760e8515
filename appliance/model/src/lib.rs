//! Types shared by the host's tools and the appliance.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | `weir.toml` once it has been checked: what the bundle carries |
//! | [`bundle`] | the part of an image that the host writes: settings and static files |
//! | [`control`] | messages and frames of the control connection |
//! | [`pool`], [`metrics`], [`tls`] | states, counters and errors that those messages carry |
//! | [`id`] | numbers of sites and pools |
//! | [`memory`] | how much memory a machine needs for an image |
//! | [`log`] | the fields of the access log, and what a line on the log stream is |
//! | [`reason`] | why a request was refused or a connection ended |
//! | [`url`] | schemes and URL prefixes |
//! | [`date`] | HTTP dates and the calendar |
//!
//! A type belongs here if both the host's tools (`image`, `qemu`) and the appliance need it. Whatever only
//! the data plane does with it stays in `appliance`, which depends on this crate.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bundle;
pub mod control;
mod counters;
pub mod date;
pub mod id;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod pool;
pub mod reason;
pub mod settings;
pub mod tls;
pub mod url;
