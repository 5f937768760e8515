//! `weir-agent`: makes any Linux server a worker of Weir.
//!
//! [`PORT`] takes the appliance's streams; on [`CONTROL_PORT`] the supervisor asks how the application is and asks for
//! an orderly end, in the words of [`protocol`].
#![forbid(unsafe_code)]

pub mod protocol;

/// The vsock port for the appliance's streams, unless the command line says otherwise: the demo worker's own.
pub const PORT: u32 = 80;

/// The vsock port for [`protocol`].
pub const CONTROL_PORT: u32 = 81;
