//! Whether the end of a link can be trusted.
//!
//! A response without a length ends with its stream (RFC 9112 §6.3), so a stream that was cut must not pass
//! for one that ended. Between the appliance and most workers there is a relay, and a vsock daemon that turns
//! every reset into an orderly end. So the relay reports how each stream ended over the control connection
//! ([`StreamEnded`](model::control::message::Request::StreamEnded)), by the name that the appliance sends as
//! the first bytes of the stream.
//!
//! The report and the end may arrive in either order. An end without a verdict is *unknown*: the last of the
//! response is held back until the verdict arrives, for at most [`VERDICT_LIMIT`]; without one the end counts
//! as *broken*, as it does when a supervisor was killed. Responses with framing need no verdict, nor do links
//! with TLS, where the worker marks the end itself (close_notify), nor workers reached without a relay.

use crate::time::Instant;
use model::pool::VERDICT_LIMIT;
use netdrv::stream::CloseReason;

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The worker ended it, and all data has arrived.
    Whole,
    /// Not known yet; [`PoolEvent::Ready`](super::PoolEvent::Ready) follows.
    Unknown,
    /// It was cut, or the verdict is missing.
    Broken,
}

/// What is known about the end of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Name of the stream, if a relay will report how it ended.
    name: Option<u64>,
    whole: Option<bool>,
    /// When a verdict is overdue; set once the stream has ended.
    due: Option<Instant>,
}

impl Verdict {
    pub(super) fn of(name: Option<u64>) -> Self {
        Self { name, whole: None, due: None }
    }

    /// Notes that the stream has ended. Returns the deadline for a verdict, if one is needed.
    pub(super) fn ended(&mut self, reason: CloseReason, now: Instant) -> Option<Instant> {
        let open = reason == CloseReason::Shutdown && self.name.is_some() && self.whole.is_none();
        self.due = open.then(|| now + VERDICT_LIMIT);
        self.due
    }

    /// Whether it concerns the stream of this name.
    pub(super) fn is_of(&self, name: u64) -> bool {
        self.name == Some(name)
    }

    /// Records the relay's report, or that it is overdue. A report that the stream was cut is final.
    pub(super) fn pass(&mut self, whole: bool) {
        self.whole = Some(whole && self.whole != Some(false));
        self.due = None;
    }

    /// Deadline for the verdict, if one is awaited.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn ending(&self) -> Ending {
        match (self.name, self.whole) {
            (None, _) | (_, Some(true)) => Ending::Whole,
            (_, Some(false)) => Ending::Broken,
            (_, None) => Ending::Unknown,
        }
    }
}

/// Generates stream names. They start with the time, so that a restarted appliance does not reuse names that
/// the relay knows.
#[derive(Debug, Default)]
pub(super) struct StreamNames {
    last: u64,
}

impl StreamNames {
    pub(super) fn next(&mut self, now: Instant) -> u64 {
        self.last = now.as_nanos().max(self.last + 1);
        self.last
    }
}
