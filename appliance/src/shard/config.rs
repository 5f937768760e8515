//! What a shard may take of its machine, and why it cannot serve.

use crate::flow::FlowError;
use crate::serving::RouterError;
use crate::serving::Timers;
use crate::tls::link::SESSION_BYTES;
use crate::upstream::PoolLimits;
use model::settings::Settings;
use netdrv::entropy;

/// What a link to a worker takes: the transport's receive buffer.
const LINK_BYTES: usize = 64 << 10;
/// So many bytes for TCP allow one half-open connection more.
const HALF_OPEN_BYTES: usize = 12 << 10;

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Memory for TCP sockets and their buffers, in bytes.
    pub buffer_bytes: usize,
    /// Memory for request heads that are held because they are incomplete or wait for a worker, in bytes.
    pub head_bytes: usize,
    /// Memory for TLS, in bytes.
    pub tls_bytes: usize,
    /// Open connections at most.
    pub max_connections: usize,
    /// Half-open connections at most.
    pub max_half_open: usize,
    /// Bounds of pools.
    pub pools: PoolLimits,
    /// Timers of client connections.
    pub timers: Timers,
    /// Secret random numbers.
    pub seed: [u64; 4],
    /// Seconds since 1970-01-01 UTC at the first poll, for `Date`.
    pub unix_time: u64,
    /// Tells the state of the random numbers.
    pub entropy: fn() -> entropy::Status,
}

impl ShardConfig {
    /// For a machine with so many bytes of free memory: five eighths for TCP, or three and two for TLS, one for held heads,
    /// one for the buffers of links to workers. The last eighth is for what is small or short-lived.
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
            // A host's network may hand over in one moment all who came: none of them has finished its handshake by then.
            max_half_open: (buffer_bytes / HALF_OPEN_BYTES).clamp(256, 1024),
            pools: PoolLimits { links, ..PoolLimits::default() },
            timers: Timers::default(),
            seed,
            unix_time,
            entropy: entropy::Status::default,
        }
    }
}

/// Why settings cannot be served. The host has checked them, so this says that bundle and program do not fit.
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
        // They never take more than the memory for TCP has room for.
        for free in [4 << 20, 16 << 20, 42 << 20] {
            let config = ShardConfig::for_memory(free, &Settings::default(), [0; 4], 0);
            assert!(
                config.max_half_open >= 256
                    && config.max_half_open << 13 <= config.buffer_bytes.max(256 << 13)
            );
        }
    }
}
