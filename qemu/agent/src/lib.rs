//! `weir-agent`: makes any Linux server a worker of Weir.
//!
//! ```text
//!  supervisor ── vsock PORT ──────────▶ server ── join ──▶ the application's TCP or Unix socket
//!             ── vsock CONTROL_PORT ──▶ control: ping, stop
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`target`] | where the application listens, and connecting to it |
//! | [`server`] | accepts the appliance's streams, at most so many at a time |
//! | [`join`] | moves the bytes of one stream both ways |
//! | [`tls`] | TLS on the appliance's streams, if it is wanted |
//! | [`protocol`] | what the supervisor asks and the agent answers, shared with the supervisor |
//! | [`control`] | answers it |
//! | [`application`] | the application as a child process |
//! | [`agent`] | all of it in order, from the first line to the last |
//! | [`init`] | what the first process of a machine does besides |
//!
//! A thread per stream with two buffers of [`join::BUFFER`] bytes: what the agent holds is bounded by the number of
//! streams, and a worker VM has few.
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

/// The vsock port for the appliance's streams, unless the command line says otherwise: the demo worker's own.
pub const PORT: u32 = 80;

/// The vsock port for [`protocol`].
pub const CONTROL_PORT: u32 = 81;
