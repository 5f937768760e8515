//! The control connection between the host's supervisor and the appliance: what is said, and in which frames.

pub mod frame;
pub mod message;

pub use message::{CONTROL_PORT, VERSION};
