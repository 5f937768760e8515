//! Whether the end of a link can be believed.
//!
//! A response without a length ends with its stream (RFC 9112 §6.3), so that a stream that was cut must not pass for one
//! that has ended. Between the appliance and most workers lies a relay, and a vsock daemon that turns every reset into
//! an orderly end. So the relay says how a stream ended where nothing can change it: over the control connection
//! ([`StreamEnded`](model::control::message::Request::StreamEnded)), by the name that the appliance gave the stream, which
//! is the first thing it sends over it.
//!
//! The two ways have no order, so that either may come first. An end without a verdict is *unknown*: the last of the response
//! is held back until the verdict is here, at most for [`VERDICT_LIMIT`]; without one the end is *broken*, which is
//! what a supervisor means that was killed. Responses with framing need no verdict, nor do links over TLS, where
//! the worker itself says that it is the end (close_notify), nor workers that are reached without a relay.

use crate::time::Instant;
use model::pool::VERDICT_LIMIT;
use netdrv::stream::CloseReason;

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The worker ended it, and everything it sent is here.
    Whole,
    /// Not known yet; [`PoolEvent::Ready`](super::PoolEvent::Ready) follows.
    Unknown,
    /// It was cut, or nobody knows.
    Broken,
}

/// What is known of a link's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// The name of its stream, where somebody will say how it ended.
    name: Option<u64>,
    whole: Option<bool>,
    /// From its end: when a verdict is too late.
    due: Option<Instant>,
}

impl Verdict {
    pub(super) fn of(name: Option<u64>) -> Self {
        Self { name, whole: None, due: None }
    }

    /// The stream has ended, as far as the transport knows. Returns until when there has to be a verdict.
    pub(super) fn ended(&mut self, reason: CloseReason, now: Instant) -> Option<Instant> {
        let open = reason == CloseReason::Shutdown && self.name.is_some() && self.whole.is_none();
        self.due = open.then(|| now + VERDICT_LIMIT);
        self.due
    }

    /// Whether it is about the stream of this name.
    pub(super) fn is_of(&self, name: u64) -> bool {
        self.name == Some(name)
    }

    /// Somebody says how it ended, or it is too late to. That it was cut is never taken back.
    pub(super) fn pass(&mut self, whole: bool) {
        self.whole = Some(whole && self.whole != Some(false));
        self.due = None;
    }

    /// Until when there has to be one, if it is waited for.
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

/// Gives names to streams. They begin with the time, so that one of an appliance that has been started anew is none that the
/// relay knows from before.
#[derive(Debug, Default)]
pub(super) struct Names {
    last: u64,
}

impl Names {
    pub(super) fn next(&mut self, now: Instant) -> u64 {
        self.last = now.as_nanos().max(self.last + 1);
        self.last
    }
}
