//! The host side of Weir: what Windows' WAS is to IIS, this is to a Weir appliance.
//!
//! ```text
//!                     ┌────────────── weir up ───────────────┐
//! client ──TCP──▶ QEMU: appliance                            │
//!                     │   │ virtio-vsock                     │
//!                     │ vsock daemon ──▶ appliance.vsock_10000
//!                     │                      │ relay         │
//!                     │               vsock daemon of worker │
//!                     │                      │ virtio-vsock  │
//!                     │               QEMU: worker VM        │
//!                     └──────────────────────────────────────┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`ctl`] | `weir ctl`: what an administrator sees and orders |
//! | [`images`] | `weir image`: builds images, and looks into them |
//! | [`up`] | brings everything up in order and takes it down again |
//! | [`supervise`] | the supervisor as a process of its own |
//! | [`supervisor`] | looks after workers: demand, health, recycling; tells the appliance who is there |
//! | [`relay`] | joins the appliance's vsock streams to a worker |
//! | [`vm`] | one virtual machine: its vsock daemon, its QEMU, its serial line |
//! | [`host`] | child processes that cannot outlive us, programs and ports of the host |
//!
//! One thread runs it all (tokio's current-thread runtime); serial lines have a thread each, because writing to a stopped
//! terminal blocks.
#![forbid(unsafe_code)]

#[macro_use]
mod say;

pub mod cli;
pub mod ctl;
pub mod host;
pub mod images;
pub mod logs;
pub mod relay;
pub mod supervise;
pub mod supervisor;
pub mod up;
pub mod vm;
