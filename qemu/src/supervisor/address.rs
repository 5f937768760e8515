//! Looks after a server that was there already: nobody starts or ends it here, but it is told whether it is well.
//!
//! One that cannot be connected to is *down* at once, because no request can reach it; one that answers no ping, or with
//! something else than it should, after the ping limit. The appliance gives it nothing while it is down.

use super::check::{Ill, Question};
use crate::relay::Signs;
use crate::relay::target::Target;
use image::config::Ping;
use model::id::PoolId;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Between two looks at whether one that is down is back.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Least time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What has become of a server.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) pool: PoolId,
    /// Which of the pool's addresses.
    pub(super) address: usize,
    /// Why it is down, `None` if it is well again.
    pub(super) down: Option<String>,
}

/// A server, and how it is looked after.
pub(super) struct Watch {
    pub(super) pool: PoolId,
    pub(super) address: usize,
    pub(super) target: Target,
    pub(super) ping: Ping,
    pub(super) question: Question,
    /// What its relay sees.
    pub(super) signs: Rc<Signs>,
    pub(super) changes: mpsc::UnboundedSender<Change>,
}

impl Watch {
    /// Looks after it for as long as it is let run.
    pub(super) async fn run(self) {
        let (mut well_at, mut down) = (Instant::now(), false);
        loop {
            let asked_at = Instant::now();
            let left = self.ping.limit.saturating_sub(well_at.elapsed()).max(ANSWER_LIMIT);
            let ill = match timeout(if down { ANSWER_LIMIT } else { left }, self.ask()).await {
                Ok(Ok(())) => None,
                Ok(Err(ill)) => Some(ill),
                Err(_) => Some(Ill::Silent),
            };
            match &ill {
                None => well_at = Instant::now(),
                // It may have no time for pings because of what it sends.
                Some(Ill::Silent) => well_at = self.signs.heard().map_or(well_at, |at| at.max(well_at)),
                Some(_) => {}
            }
            let over = well_at.elapsed() >= self.ping.limit;
            let is_down = match &ill {
                None => false,
                Some(Ill::Unreachable(_)) => true,
                Some(_) => down || over,
            };
            if is_down != down {
                let why = ill.as_ref().filter(|_| is_down).map(Ill::to_string);
                let _ = self.changes.send(Change { pool: self.pool, address: self.address, down: why });
            }
            down = is_down;
            let next = match &ill {
                Some(_) if down => LOOK_AGAIN,
                Some(_) => self.ping.interval.min(self.ping.limit.saturating_sub(well_at.elapsed())),
                None => self.ping.interval,
            };
            let pause = next.saturating_sub(asked_at.elapsed()).max(LOOK_AGAIN);
            tokio::select! {
                () = sleep(pause) => {}
                // A request has not reached it.
                () = self.signs.unreached(), if !down => {}
            }
        }
    }

    async fn ask(&self) -> Result<(), Ill> {
        let ready = self.target.ready().await.ok_or_else(|| Ill::Unreachable("it has ended".into()))?;
        match ready.open().await {
            Ok((stream, _)) => self.question.ask(stream).await,
            Err(error) => Err(Ill::Unreachable(format!("{error:#}"))),
        }
    }
}
