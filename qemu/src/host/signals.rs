//! Termination signals.

use anyhow::Result;
use std::task::Poll;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Signals within this time of another are the same request. `timeout` signals both its child and the process group, a closing
/// terminal and its shell both send SIGHUP, and systemd may send SIGHUP with SIGTERM.
const ECHO: Duration = Duration::from_millis(250);

/// Catches SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub struct Signals {
    caught: Vec<(&'static str, Signal)>,
    /// When the last separate request arrived.
    last: Option<Instant>,
}

impl Signals {
    /// Starts catching them.
    pub fn new() -> Result<Self> {
        let kinds = [
            ("SIGINT", SignalKind::interrupt()),
            ("SIGTERM", SignalKind::terminate()),
            ("SIGHUP", SignalKind::hangup()),
        ];
        let caught =
            kinds.into_iter().map(|(name, kind)| Ok((name, signal(kind)?))).collect::<Result<_>>()?;
        Ok(Self { caught, last: None })
    }

    /// Waits for the next separate request and returns the signal's name.
    pub async fn next(&mut self) -> &'static str {
        loop {
            let name = self.arrives().await;
            if self.is_new(Instant::now()) {
                return name;
            }
        }
    }

    fn is_new(&mut self, now: Instant) -> bool {
        let is_new = self.last.is_none_or(|last| now > last + ECHO);
        if is_new {
            self.last = Some(now);
        }
        is_new
    }

    async fn arrives(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            let arrived = |(name, signal): &mut (&'static str, Signal)| {
                signal.poll_recv(context).is_ready().then_some(*name)
            };
            self.caught.iter_mut().find_map(arrived).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_are_one_order() {
        let (mut signals, start) = (Signals { caught: Vec::new(), last: None }, Instant::now());
        let mut after = |ms| signals.is_new(start + Duration::from_millis(ms));
        assert!(after(0) && !after(1) && !after(250) && after(400) && !after(600) && after(700));
    }
}
