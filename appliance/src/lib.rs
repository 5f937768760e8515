//! The appliance's program, as a library that runs anywhere.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boot;
mod budget;
pub mod cache;
mod connection;
pub mod control;
mod exchange;
pub mod flow;
pub mod http;
pub mod hub;
pub mod log;
pub mod manual;
pub mod proxy;
pub mod serving;
pub mod shard;
mod table;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod time;
pub mod tls;
pub mod upstream;
