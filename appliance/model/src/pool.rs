//! States of a pool, as in WAS, and limits that host and appliance share.

use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Limit on the workers of a pool; a sane supervisor does not exceed it.
pub const MAX_WORKERS: usize = 64;
/// Limit on notes about workers and pools in bytes; the rest is cut off.
pub const NOTE_MAX: usize = 200;
/// How long to wait for the supervisor's report on how a stream ended.
pub const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// A pool's state, numbered as in the APP_POOL_WAS performance counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PoolState {
    /// There is no such pool.
    Uninitialized = 1,
    /// In service, but no worker is reachable.
    Initialized = 2,
    /// In service with a worker.
    Running = 3,
    /// Out of service; workers finish their requests.
    Disabling = 4,
    /// Out of service.
    Disabled = 5,
    /// Being shut down; workers finish their requests.
    ShutdownPending = 6,
    /// Shut down, to be removed with the next configuration.
    DeletePending = 7,
}

/// Whether a pool accepts requests, as decided by an administrator or by rapid-fail protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Accepts requests.
    #[default]
    Open,
    /// Answers 503 `AppOffline` at once.
    Offline,
    /// Answers 503 `AppShutdown` at once.
    Shutdown,
}

/// Why a pool is out of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Whether its workers failed too often (rapid-fail protection); otherwise it was ordered.
    pub failures: bool,
    /// What happened and what restores service: a line for people.
    pub what: String,
}

impl Service {
    /// The state of a pool in this service state, given its requests at workers and whether there is a worker
    /// to take more.
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
