//! The program in the unikernel, as a library that runs anywhere.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boot;
mod budget;
pub mod bundle;
pub mod cache;
mod connection;
pub mod control;
pub mod date;
mod env;
mod exchange;
pub mod flow;
pub mod http;
pub mod log;
pub mod proxy;
pub mod reason;
pub mod serving;
pub mod settings;
pub mod shard;
pub mod tcp;
pub mod time;
pub mod tls;
pub mod upstream;

pub use netdrv::mask;
