//! The program in the unikernel, as a library that runs anywhere.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boot;
pub mod bundle;
pub mod cache;
pub mod control;
pub mod date;
pub mod flow;
pub mod http;
pub mod log;
pub mod pool;
pub mod proxy;
pub mod reason;
pub mod settings;
pub mod shard;
pub mod site;
pub mod tcp;
pub mod time;
pub mod tls;

pub use netdrv::mask;
