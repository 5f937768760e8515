//! What exchanges need of the pools.

use super::{Ending, ExchangeId, Fingerprint, LinkId, Loss, Pools};
use crate::http::response::ResponseLimits;
use crate::time::Instant;
use core::time::Duration;
use model::id::PoolId;
use model::reason::Reason;
use model::settings::Verbosity;
use netdrv::stream::StreamTransport;

/// Access to workers as exchanges see it: a queue to wait in, then a link to write to and read from.
pub trait Upstream {
    /// See [`Pools::submit`].
    fn submit(&mut self, pool: PoolId, requester: ExchangeId, now: Instant) -> Result<(), Reason>;
    /// See [`Pools::withdraw`].
    fn withdraw(&mut self, pool: PoolId, requester: ExchangeId);
    /// See [`Pools::resubmit`].
    fn resubmit(
        &mut self,
        id: LinkId,
        requester: ExchangeId,
        loss: Loss,
        fingerprint: &Fingerprint,
        now: Instant,
    );
    /// See [`Pools::readable`].
    fn readable(&self, id: LinkId) -> &[u8];
    /// See [`Pools::consume`].
    fn consume(&mut self, id: LinkId, n: usize);
    /// See [`Pools::send`].
    fn send(&mut self, id: LinkId, data: &[u8]) -> usize;
    /// See [`Pools::finish`].
    fn finish(&mut self, id: LinkId, reuse: bool, now: Instant);
    /// See [`Pools::abandon`].
    fn abandon(&mut self, id: LinkId, now: Instant);
    /// See [`Pools::fail`].
    fn fail(&mut self, id: LinkId, fingerprint: &Fingerprint, now: Instant);
    /// See [`Pools::ending`].
    fn ending(&self, id: LinkId) -> Ending;
    /// See [`Pools::is_spoiled`].
    fn is_spoiled(&self, id: LinkId) -> bool;
    /// See [`Pools::has_alternative`].
    fn has_alternative(&self, id: LinkId, now: Instant) -> bool;
    /// See [`Pools::response_timeout`].
    fn response_timeout(&self, pool: PoolId) -> Duration;
    /// See [`Pools::response_limits`].
    fn response_limits(&self, pool: PoolId) -> ResponseLimits;
    /// See [`Pools::verbosity`].
    fn verbosity(&self, pool: PoolId) -> Verbosity;
    /// See [`Pools::suspects_targets`].
    fn suspects_targets(&self) -> bool;
    /// See [`Pools::is_fatal`].
    fn is_fatal(&self, fingerprint: &Fingerprint, now: Instant) -> bool;
    /// See [`Pools::answered`].
    fn answered(&mut self, fingerprint: &Fingerprint);
}

impl<S: StreamTransport> Upstream for Pools<S> {
    fn submit(&mut self, pool: PoolId, requester: ExchangeId, now: Instant) -> Result<(), Reason> {
        Self::submit(self, pool, requester, now)
    }

    fn withdraw(&mut self, pool: PoolId, requester: ExchangeId) {
        Self::withdraw(self, pool, requester);
    }

    fn resubmit(
        &mut self,
        id: LinkId,
        requester: ExchangeId,
        loss: Loss,
        fingerprint: &Fingerprint,
        now: Instant,
    ) {
        Self::resubmit(self, id, requester, loss, fingerprint, now);
    }

    fn readable(&self, id: LinkId) -> &[u8] {
        Self::readable(self, id)
    }

    fn consume(&mut self, id: LinkId, n: usize) {
        Self::consume(self, id, n);
    }

    fn send(&mut self, id: LinkId, data: &[u8]) -> usize {
        Self::send(self, id, data)
    }

    fn finish(&mut self, id: LinkId, reuse: bool, now: Instant) {
        Self::finish(self, id, reuse, now);
    }

    fn abandon(&mut self, id: LinkId, now: Instant) {
        Self::abandon(self, id, now);
    }

    fn fail(&mut self, id: LinkId, fingerprint: &Fingerprint, now: Instant) {
        Self::fail(self, id, fingerprint, now);
    }

    fn ending(&self, id: LinkId) -> Ending {
        Self::ending(self, id)
    }

    fn is_spoiled(&self, id: LinkId) -> bool {
        Self::is_spoiled(self, id)
    }

    fn has_alternative(&self, id: LinkId, now: Instant) -> bool {
        Self::has_alternative(self, id, now)
    }

    fn response_timeout(&self, pool: PoolId) -> Duration {
        Self::response_timeout(self, pool)
    }

    fn response_limits(&self, pool: PoolId) -> ResponseLimits {
        Self::response_limits(self, pool)
    }

    fn verbosity(&self, pool: PoolId) -> Verbosity {
        Self::verbosity(self, pool)
    }

    fn suspects_targets(&self) -> bool {
        Self::suspects_targets(self)
    }

    fn is_fatal(&self, fingerprint: &Fingerprint, now: Instant) -> bool {
        Self::is_fatal(self, fingerprint, now)
    }

    fn answered(&mut self, fingerprint: &Fingerprint) {
        Self::answered(self, fingerprint);
    }
}
