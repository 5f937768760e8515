//! Shared by these tests: failures, and a time limit that only a failure reaches.

use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Time limit that only a failure reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with a time limit.
pub(crate) async fn within<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    LocalSet::new().run_until(timeout(2 * PATIENCE, what)).await?
}
