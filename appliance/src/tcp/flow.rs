//! The key of the connection table: the 4-tuple, hashed with a secret key so that clients cannot choose
//! tuples that collide.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;

/// A connection's 4-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The client's address.
    pub remote: IpAddr,
    /// The client's port.
    pub remote_port: u16,
    /// The address it connected to.
    pub local: IpAddr,
    /// The port it connected to.
    pub local_port: u16,
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u32::from(self.remote_port) << 16 | u32::from(self.local_port);
        // One write for the common case, since each write has its own cost.
        if let (IpAddr::V4(remote), IpAddr::V4(local)) = (self.remote, self.local) {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&remote.octets());
            bytes[4..8].copy_from_slice(&local.octets());
            bytes[8..].copy_from_slice(&ports.to_le_bytes());
            state.write(&bytes);
        } else {
            self.remote.hash(state);
            self.local.hash(state);
            state.write_u32(ports);
        }
    }
}
