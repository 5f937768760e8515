//! The host: processes, programs, signals, sockets, network interfaces.

pub mod accel;
pub mod child;
pub mod message;
pub mod own_socket;
pub mod programs;
pub mod runtime_dir;
pub mod signals;
pub mod tap;
pub mod tether;
