//! `weir-agent`: makes any Linux server a Weir worker.
//!
//! ```text
//!  supervisor ── vsock PORT ──────────▶ server ── join ──▶ the application's TCP or Unix socket
//!             ── vsock CONTROL_PORT ──▶ control: ping, stop
//! ```
//!
//! | module | purpose |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`target`] | where the application listens, and connecting to it |
//! | [`server`] | accepts the appliance's streams, up to a limit |
//! | [`join`] | moves the bytes of one stream both ways |
//! | [`tls`] | optional TLS on the appliance's streams |
//! | [`protocol`] | the control protocol, shared with the supervisor |
//! | [`control`] | serves it |
//! | [`application`] | the application as a child process |
//! | [`agent`] | the sequence of everything |
//! | [`init`] | additional duties as init of a VM |
//!
//! Each stream has a thread and two buffers of [`join::BUFFER`] bytes: memory is bounded by the number of streams, and a worker
//! VM has few.
#![forbid(unsafe_code)]

pub mod agent;
pub mod application;
pub mod arguments;
pub mod control;
pub mod init;
pub mod join;
pub mod protocol;
pub mod server;
pub mod target;
pub mod tls;

/// Default vsock port of the appliance's streams, the same as the demo worker's.
pub const PORT: u32 = 80;

/// Default vsock port of [`protocol`].
pub const CONTROL_PORT: u32 = 81;
