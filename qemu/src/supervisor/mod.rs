//! Keeps worker VMs running.
//!
//! [`lifecycle`] decides, without input, output or clock of its own; [`worker`] does what it decides: starts and stops
//! the VM, asks whether it answers, and tells the relay.

pub mod lifecycle;
pub mod worker;
