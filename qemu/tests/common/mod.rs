//! What these tests have in common: one way to fail, and one bound that only a failure reaches.

use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What only a failure waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test, with a bound for all of it.
pub(crate) async fn within<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    LocalSet::new().run_until(timeout(2 * PATIENCE, what)).await?
}
