//! Health checks of servers at an address, which the supervisor neither starts nor ends.
//!
//! A server is *down* as soon as connections to it fail, because no request can reach it, and after the ping limit if it does not
//! respond or responds unexpectedly. The appliance gives it no requests while it is down.

use super::check::{Question, Unhealthy};
use crate::relay::Signs;
use crate::relay::target::Target;
use image::config::Ping;
use model::id::PoolId;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Interval of checks whether a server is back.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Minimum time for a response.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A change in a server's health.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) pool: PoolId,
    /// Index among the pool's addresses.
    pub(super) address: usize,
    /// Why it is down; `None` if it is healthy again.
    pub(super) down: Option<String>,
}

/// A server being monitored.
pub(super) struct Watch {
    pub(super) pool: PoolId,
    pub(super) address: usize,
    pub(super) target: Target,
    pub(super) ping: Ping,
    pub(super) question: Question,
    /// Signs of life seen by its relay.
    pub(super) signs: Rc<Signs>,
    pub(super) changes: mpsc::UnboundedSender<Change>,
}

impl Watch {
    /// Monitors the server while it runs.
    pub(super) async fn run(self) {
        let (mut well_at, mut down) = (Instant::now(), false);
        loop {
            let asked_at = Instant::now();
            let left = self.ping.limit.saturating_sub(well_at.elapsed()).max(ANSWER_LIMIT);
            let unhealthy = match timeout(if down { ANSWER_LIMIT } else { left }, self.ask()).await {
                Ok(Ok(())) => None,
                Ok(Err(unhealthy)) => Some(unhealthy),
                Err(_) => Some(Unhealthy::Silent),
            };
            match &unhealthy {
                None => well_at = Instant::now(),
                // It may be too busy sending to respond to pings.
                Some(Unhealthy::Silent) => well_at = self.signs.heard().map_or(well_at, |at| at.max(well_at)),
                Some(_) => {}
            }
            let over = well_at.elapsed() >= self.ping.limit;
            let is_down = match &unhealthy {
                None => false,
                Some(Unhealthy::Unreachable(_)) => true,
                Some(_) => down || over,
            };
            if is_down != down {
                let why = unhealthy.as_ref().filter(|_| is_down).map(Unhealthy::to_string);
                let _ = self.changes.send(Change { pool: self.pool, address: self.address, down: why });
            }
            down = is_down;
            let next = match &unhealthy {
                Some(_) if down => LOOK_AGAIN,
                Some(_) => self.ping.interval.min(self.ping.limit.saturating_sub(well_at.elapsed())),
                None => self.ping.interval,
            };
            let pause = next.saturating_sub(asked_at.elapsed()).max(LOOK_AGAIN);
            tokio::select! {
                () = sleep(pause) => {}
                // A request did not reach it.
                () = self.signs.unreached(), if !down => {}
            }
        }
    }

    async fn ask(&self) -> Result<(), Unhealthy> {
        let ready = self.target.ready().await.ok_or_else(|| Unhealthy::Unreachable("it has ended".into()))?;
        match ready.open().await {
            Ok((stream, _)) => self.question.ask(stream).await,
            Err(error) => Err(Unhealthy::Unreachable(format!("{error:#}"))),
        }
    }
}
