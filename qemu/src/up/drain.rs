//! Graceful shutdown: the appliance finishes its requests before it is switched off.

use crate::ctl::Begun;
use crate::supervisor::client::Client;
use model::control::message::{Answer, Draining, Request};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Interval at which the appliance is asked about its progress.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for the last log lines, after the appliance has aborted unfinished requests.
const LOG_LIMIT: Duration = Duration::from_secs(2);

/// Time for the control connection to come up, or come up again.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Returns when nothing is left to do, when `limit` and a little more have passed, or when the appliance does not reply; says
/// which in one line. Clients that asked for it (`order`, `more`) are notified once the appliance accepts nothing new.
pub(super) async fn drain(
    client: &Client,
    limit: Duration,
    mut order: Option<Begun>,
    more: &mut mpsc::UnboundedReceiver<Begun>,
) -> String {
    let started = Instant::now();
    loop {
        let left = limit.saturating_sub(started.elapsed());
        let limit_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let answer = client.ask(Request::Drain { limit_ms }).await;
        if let Ok(Ok(Answer::Draining(_))) = answer {
            for begun in order.take().into_iter().chain(std::iter::from_fn(|| more.try_recv().ok())) {
                // Fails if the client has gone.
                let _ = begun.send(());
            }
        }
        match answer {
            Ok(Ok(Answer::Draining(Draining { connections: 0, log_bytes: 0 }))) => {
                return format!("drained in {:.1} s", started.elapsed().as_secs_f64());
            }
            Ok(Ok(Answer::Draining(left))) if started.elapsed() > limit + LOG_LIMIT => {
                return format!(
                    "gave up after {} s with {} connections and {} bytes of logs left",
                    started.elapsed().as_secs(),
                    left.connections,
                    left.log_bytes
                );
            }
            Ok(Ok(Answer::Draining(_))) => sleep(PAUSE).await,
            Ok(Ok(_)) => return "the appliance sent an unexpected reply to the drain request".into(),
            Ok(Err(refusal)) => return format!("the appliance refused to drain: {refusal}"),
            Err(_) if started.elapsed() < CONNECT_LIMIT.min(limit) => sleep(PAUSE).await,
            Err(error) => return format!("cannot drain: {error:#}"),
        }
    }
}
