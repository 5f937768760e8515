//! How a shard divides its machine's memory, and why settings may be refused.

use crate::flow::FlowError;
use crate::serving::RouterError;
use crate::serving::Timers;
use crate::tls::link::SESSION_BYTES;
use crate::upstream::PoolLimits;
use model::settings::Settings;
use netdrv::entropy;

/// Memory per link to a worker, in bytes: the transport's receive buffer.
const LINK_BYTES: usize = 64 << 10;
/// TCP memory per allowed half-open connection, in bytes.
const HALF_OPEN_BYTES: usize = 12 << 10;

/// Parameters of a shard.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Memory for TCP sockets and their buffers, in bytes.
    pub buffer_bytes: usize,
    /// Memory for held request heads (incomplete, or waiting for a worker), in bytes.
    pub head_bytes: usize,
    /// Memory for TLS, in bytes.
    pub tls_bytes: usize,
    /// Limit on open connections.
    pub max_connections: usize,
    /// Limit on half-open connections.
    pub max_half_open: usize,
    /// Limits of pools.
    pub pools: PoolLimits,
    /// Timers of client connections.
    pub timers: Timers,
    /// Secret random numbers.
    pub seed: [u64; 4],
    /// Seconds since 1970-01-01 UTC at the first poll, for `Date`.
    pub unix_time: u64,
    /// Reports the state of the random number generator.
    pub entropy: fn() -> entropy::Status,
}

impl ShardConfig {
    /// Parameters for a machine with `free` bytes of memory. TCP gets five eighths, or three if TLS gets two;
    /// held heads get one, the buffers of links to workers one. The last eighth is for small and short-lived
    /// allocations.
    pub fn for_memory(free: usize, settings: &Settings, seed: [u64; 4], unix_time: u64) -> Self {
        let tls = settings.serves_tls();
        let link_bytes = LINK_BYTES + if settings.secures_links() { 2 * SESSION_BYTES } else { 0 };
        let links = (free / 8 / link_bytes).clamp(1, 256);
        let tls_bytes = if tls { free / 8 * 2 } else { 0 };
        let buffer_bytes = free / 8 * 5 - tls_bytes;
        Self {
            buffer_bytes,
            tls_bytes,
            head_bytes: free / 8,
            max_connections: 65_536,
            // A host's network may deliver a whole burst of new connections before any of them completes its
            // handshake.
            max_half_open: (buffer_bytes / HALF_OPEN_BYTES).clamp(256, 1024),
            pools: PoolLimits { links, ..PoolLimits::default() },
            timers: Timers::default(),
            seed,
            unix_time,
            entropy: entropy::Status::default,
        }
    }
}

/// Why settings cannot be served. The host has checked them already, so this means that bundle and program do
/// not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// The URL prefixes.
    Router(RouterError),
    /// Bandwidth or limits.
    Flow(FlowError),
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Router(error) => error.fmt(f),
            Self::Flow(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_64_mib_holds_a_thousand_unfinished_handshakes() {
        let plain = ShardConfig::for_memory(42 << 20, &Settings::default(), [0; 4], 0);
        assert_eq!(plain.max_half_open, 1024);
        // They never take more than the memory for TCP allows.
        for free in [4 << 20, 16 << 20, 42 << 20] {
            let config = ShardConfig::for_memory(free, &Settings::default(), [0; 4], 0);
            assert!(
                config.max_half_open >= 256
                    && config.max_half_open << 13 <= config.buffer_bytes.max(256 << 13)
            );
        }
    }
}
