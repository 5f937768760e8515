//! The time for the validation of certificates and tickets.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Seconds since 1970-01-01 UTC, as last set by the shard.
#[derive(Debug, Default)]
pub struct WallClock(AtomicU64);

impl WallClock {
    /// Sets the time.
    pub fn set(&self, unix_seconds: u64) {
        self.0.store(unix_seconds, Ordering::Relaxed);
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The time for rustls.
    pub(super) fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.seconds()))
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}
