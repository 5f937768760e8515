//! What becomes of a request whose worker will not answer it.

use super::{Forward, Response, Workers};
use crate::exchange::source::Lost;
use crate::http::Refusal;
use crate::upstream::{LinkId, Loss, Upstream};
use model::reason::Reason;
use netdrv::stream::CloseReason;

/// How often a request is replayed after its worker died.
const REPLAYS: u8 = 1;
/// How often a request is given to another worker of which the first one got nothing.
const RESUBMITS: u8 = 8;

/// Why a response is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not HTTP as we know it.
    Malformed,
    /// There is no memory for its head.
    NoMemory,
}

impl Forward {
    /// Not replayed: another worker would be asked to say the same.
    pub(super) fn unfit<U: Upstream>(
        &mut self,
        link: LinkId,
        why: Unfit,
        cx: &mut Workers<'_, U>,
    ) -> Refusal {
        self.link = None;
        self.gathered.clear();
        match why {
            Unfit::Malformed => {
                cx.counters.malformed += 1;
                cx.pools.fail(link, &self.evidence(), cx.now);
                Refusal::new(502, Reason::ConnectionAbandonedByAppPool)
            }
            Unfit::NoMemory => {
                cx.pools.abandon(link, cx.now);
                Refusal::new(503, Reason::NotAvailable)
            }
        }
    }

    /// The worker has been silent for too long.
    pub(crate) fn on_silence<U: Upstream>(&mut self, begun: bool, cx: &mut Workers<'_, U>) -> Option<Lost> {
        // Something came in at the last moment.
        self.link.filter(|link| cx.pools.readable(*link).is_empty())?;
        if matches!(&self.response, Response::Content { from, .. } if from.has_content()) {
            self.trailers_late = true;
            return None;
        }
        cx.counters.silent += 1;
        self.worker_lost(begun, Refusal::new(504, Reason::TimerResponse), cx)
    }

    /// The worker will not answer: another one gets the request if that can do no harm, else the client is told.
    ///
    /// Harmless is what a worker got nothing of, and what may be repeated by its method (RFC 9110 §9.2.2) while the client
    /// has got nothing of the answer and all content that the worker got is still here.
    pub(super) fn worker_lost<U: Upstream>(
        &mut self,
        begun: bool,
        refusal: Refusal,
        cx: &mut Workers<'_, U>,
    ) -> Option<Lost> {
        let link = self.link.take()?;
        // When our own device was reset, the worker is not to blame.
        let blame = self.link_ended != Some(CloseReason::TransportReset);
        let silent = refusal.reason == Reason::TimerResponse;
        let spoiled = cx.pools.is_spoiled(link);
        // Somebody else's surplus says nothing about this request; it costs no replay.
        let untouched = (self.head_sent == 0 || (spoiled && self.idempotent && self.upload.rewind()))
            && self.resubmits < RESUBMITS
            && !silent;
        let repeatable = self.idempotent && !begun && self.replays < REPLAYS;
        // Whoever was silent is not asked the same again.
        let elsewhere = !silent || cx.pools.has_other(link, cx.now);
        let can_repeat = untouched || (repeatable && elsewhere && self.upload.rewind());
        if !can_repeat {
            if blame {
                cx.pools.fail(link, &self.evidence(), cx.now);
            } else {
                cx.pools.abandon(link, cx.now);
            }
            return Some(Lost::For(refusal));
        }
        if untouched {
            self.resubmits += 1;
        } else {
            self.replays += 1;
            cx.counters.replayed += 1;
        }
        self.response = Response::Head;
        self.gathered.clear();
        self.used_up = false;
        self.head_sent = 0;
        self.interim = 0;
        let loss = match (blame, untouched) {
            _ if spoiled => Loss::Spoiled,
            (false, _) => Loss::Ours,
            (true, true) => Loss::Closed,
            (true, false) if silent => Loss::Silent,
            (true, false) => Loss::Failed,
        };
        cx.pools.resubmit(link, cx.me, loss, &self.evidence(), cx.now);
        Some(Lost::Again)
    }
}
