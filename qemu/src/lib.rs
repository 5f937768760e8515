//! The host side of Weir: manages an appliance and its workers, as WAS does for IIS on Windows.
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
//! | module | purpose |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`ctl`] | `weir ctl`: status and control commands |
//! | [`images`] | `weir image`: builds and inspects images |
//! | [`up`] | `weir up`: starts everything in order and shuts it down |
//! | [`supervise`] | `weir supervise`: the supervisor as a separate process |
//! | [`supervisor`] | manages workers: demand, health, recycling; reports them to the appliance |
//! | [`relay`] | connects the appliance's vsock streams to a worker |
//! | [`vm`] | one virtual machine: vsock daemon, QEMU, serial console |
//! | [`host`] | child processes that cannot outlive `weir`, and the host's programs and ports |
//!
//! Everything runs on one thread (tokio's current-thread runtime), except serial consoles, which have a thread each because
//! writing to a stopped terminal blocks.
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

#[cfg(test)]
#[path = "../../tests/src/require.rs"]
#[expect(unreachable_pub, reason = "it is public in the crate that it is shared with")]
mod require;
