//! The control connection between the host's supervisor and the appliance: messages and framing.

pub mod frame;
pub mod message;

pub use message::{CONTROL_PORT, VERSION};
