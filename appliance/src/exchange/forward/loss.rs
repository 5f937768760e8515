//! Decides what happens to a request whose worker will not answer it.

use super::{Forward, ForwardContext, Response};
use crate::exchange::source::Lost;
use crate::http::Refusal;
use crate::upstream::{LinkId, Loss, Upstream};
use model::reason::Reason;
use netdrv::stream::CloseReason;

/// How often a request is replayed after its worker died.
const REPLAYS: u8 = 1;
/// How often a request is given to another worker because the previous one received nothing of it.
const RESUBMITS: u8 = 8;

/// Why a response cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseError {
    /// Not valid HTTP.
    Malformed,
    /// No memory for the head.
    NoMemory,
}

impl Forward {
    /// Rejects a response. The request is not replayed: another worker would answer the same.
    pub(super) fn reject<U: Upstream>(
        &mut self,
        link: LinkId,
        why: ResponseError,
        cx: &mut ForwardContext<'_, U>,
    ) -> Refusal {
        self.link = None;
        self.partial_head.clear();
        match why {
            ResponseError::Malformed => {
                cx.counters.malformed += 1;
                cx.pools.fail(link, &self.fingerprint(), cx.now);
                Refusal::new(502, Reason::ConnectionAbandonedByAppPool)
            }
            ResponseError::NoMemory => {
                cx.pools.abandon(link, cx.now);
                Refusal::new(503, Reason::NotAvailable)
            }
        }
    }

    /// Handles a worker that was silent for too long.
    pub(crate) fn on_silence<U: Upstream>(
        &mut self,
        begun: bool,
        cx: &mut ForwardContext<'_, U>,
    ) -> Option<Lost> {
        // Bytes arrived at the last moment.
        self.link.filter(|link| cx.pools.readable(*link).is_empty())?;
        if matches!(&self.response, Response::Content { from, .. } if from.content_is_complete()) {
            self.trailers_late = true;
            return None;
        }
        cx.counters.silent += 1;
        self.worker_lost(begun, Refusal::new(504, Reason::TimerResponse), cx)
    }

    /// Gives the request to another worker if that is safe, and refuses it otherwise.
    ///
    /// It is safe if the worker received nothing of it; or if the method is idempotent (RFC 9110 §9.2.2), the
    /// client has received nothing of the response, and all content sent so far is still held.
    pub(super) fn worker_lost<U: Upstream>(
        &mut self,
        begun: bool,
        refusal: Refusal,
        cx: &mut ForwardContext<'_, U>,
    ) -> Option<Lost> {
        let link = self.link.take()?;
        // A reset of our own device is not the worker's fault.
        let blame = self.link_ended != Some(CloseReason::TransportReset);
        let silent = refusal.reason == Reason::TimerResponse;
        let spoiled = cx.pools.is_spoiled(link);
        // Surplus bytes of an earlier answer say nothing about this request; the attempt does not count as a
        // replay.
        let untouched = (self.head_sent == 0 || (spoiled && self.idempotent && self.upload.rewind()))
            && self.resubmits < RESUBMITS
            && !silent;
        let repeatable = self.idempotent && !begun && self.replays < REPLAYS;
        // A silent worker is not asked the same again.
        let elsewhere = !silent || cx.pools.has_alternative(link, cx.now);
        let can_repeat = untouched || (repeatable && elsewhere && self.upload.rewind());
        if !can_repeat {
            if blame {
                cx.pools.fail(link, &self.fingerprint(), cx.now);
            } else {
                cx.pools.abandon(link, cx.now);
            }
            return Some(Lost::Fail(refusal));
        }
        if untouched {
            self.resubmits += 1;
        } else {
            self.replays += 1;
            cx.counters.replayed += 1;
        }
        self.response = Response::Head;
        self.partial_head.clear();
        self.no_reuse = false;
        self.head_sent = 0;
        self.interim = 0;
        let loss = match (blame, untouched) {
            _ if spoiled => Loss::Spoiled,
            (false, _) => Loss::Ours,
            (true, true) => Loss::Closed,
            (true, false) if silent => Loss::Silent,
            (true, false) => Loss::Failed,
        };
        cx.pools.resubmit(link, cx.me, loss, &self.fingerprint(), cx.now);
        Some(Lost::Retry)
    }
}
