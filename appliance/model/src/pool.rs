//! The states of a pool, as WAS shows them, and the bounds that both sides keep to.

use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Workers that one pool may have; more are a supervisor gone mad.
pub const MAX_WORKERS: usize = 64;
/// Bytes of what is said of a worker or a pool; more is cut off.
pub const NOTE_MAX: usize = 200;
/// Longest wait for the supervisor's word on how a stream ended.
pub const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// A pool's state; the numbers are those of the APP_POOL_WAS performance counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PoolState {
    /// There is no such pool.
    Uninitialized = 1,
    /// It takes requests; no worker is in sight.
    Initialized = 2,
    /// It takes requests and has a worker.
    Running = 3,
    /// Out of service; workers still finish what they have.
    Disabling = 4,
    /// Out of service.
    Disabled = 5,
    /// Being shut down; workers still finish what they have.
    ShutdownPending = 6,
    /// Shut down, to be removed with the next configuration.
    DeletePending = 7,
}

/// Whether a pool takes requests: what an administrator, or rapid-fail protection, decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// It does.
    #[default]
    Open,
    /// It answers 503 `AppOffline` at once.
    Offline,
    /// It answers 503 `AppShutdown` at once.
    Shutdown,
}

/// Why a pool is out of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Its workers failed too often (rapid-fail protection); else somebody gave the order.
    pub failures: bool,
    /// What happened, and what brings it back: a line for people.
    pub what: String,
}

impl Service {
    /// The state of a pool in this service, by the requests that its workers have and whether there is one to take more.
    pub fn state(self, in_hand: usize, worker_in_sight: bool) -> PoolState {
        match self {
            Self::Open if worker_in_sight => PoolState::Running,
            Self::Open => PoolState::Initialized,
            Self::Offline if in_hand > 0 => PoolState::Disabling,
            Self::Offline => PoolState::Disabled,
            Self::Shutdown if in_hand > 0 => PoolState::ShutdownPending,
            Self::Shutdown => PoolState::DeletePending,
        }
    }
}
