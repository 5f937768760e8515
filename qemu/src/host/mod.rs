//! What the supervisor needs of the machine it runs on.

pub mod accel;
pub mod child;
pub mod programs;
