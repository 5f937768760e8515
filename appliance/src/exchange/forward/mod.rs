//! A worker as the source of a response: content up, response down, both with back-pressure and neither ever held whole.

mod answer;
mod frames;
mod head;
mod loss;
mod tunnel;
mod up;
mod upload;

use super::client::Client;
use super::source::{Fed, Headed, Lost, Pulled, Ready, Source};
use crate::budget::{Budget, Lease};
use crate::http::h1::Body;
use crate::http::request::{Framing, RequestHead};
use crate::http::{Method, Overflow, Refusal, Reply};
use crate::log::Counters;
use crate::time::Instant;
use crate::upstream::{Ending, Evidence, ExchangeId, LinkId, Upstream};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use head::Gathered;
use model::id::PoolId;
use model::reason::Reason;
use netdrv::stream::CloseReason;
use tunnel::Tunnel;
use upload::Upload;

pub(crate) use upload::PIECE;

/// What a forwarded request works with.
pub(crate) struct Workers<'c, U> {
    pub(crate) pools: &'c mut U,
    pub(crate) counters: &'c mut Counters,
    /// For heads that are held.
    pub(crate) heads: &'c Budget,
    /// For content that may have to be given to a second worker.
    pub(crate) contents: &'c Budget,
    /// A [`PIECE`], for content that goes to the worker in chunks.
    pub(crate) chunk: &'c mut [u8],
    pub(crate) now: Instant,
    /// Who asks.
    pub(crate) me: ExchangeId,
}

/// A request on its way through a pool.
pub(crate) struct Forward {
    pool: PoolId,
    link: Option<LinkId>,
    /// The link's stream has ended.
    link_ended: Option<CloseReason>,
    /// The head as the worker receives it, kept for a replay.
    request_head: Vec<u8>,
    lease: Option<Lease>,
    head_sent: usize,
    /// Content is passed on in chunks, because its length is not known.
    is_chunked: bool,
    content_ended: bool,
    upload: Upload,
    /// The protocols that the worker is asked to change to; empty for none.
    upgrade: Box<[u8]>,
    expects_continue: bool,
    idempotent: bool,
    to_head: bool,
    replays: u8,
    resubmits: u8,
    interim: u8,
    /// What the worker may be silent for.
    patience: Duration,
    response: Response,
    gathered: Gathered,
    /// An interim response was such that the link is not used again.
    used_up: bool,
    /// The content is complete, and the worker does not come to the end of the trailer section.
    trailers_late: bool,
}

enum Response {
    Head,
    Content { from: Body, reuse: bool },
    Tunnel(Tunnel),
}

impl Forward {
    pub(crate) fn new(pool: PoolId, head: &RequestHead<'_>, for_worker: &[u8], upgrade: Box<[u8]>) -> Self {
        Self {
            pool,
            link: None,
            link_ended: None,
            request_head: for_worker.to_vec(),
            lease: None,
            head_sent: 0,
            is_chunked: head.framing == Framing::Chunked,
            content_ended: head.framing == Framing::None,
            upload: Upload::new(head.method.is_idempotent()),
            upgrade,
            expects_continue: head.expects_continue(),
            idempotent: head.method.is_idempotent(),
            to_head: head.method == Method::Head,
            replays: 0,
            resubmits: 0,
            interim: 0,
            patience: Duration::ZERO,
            response: Response::Head,
            gathered: Gathered::default(),
            used_up: false,
            trailers_late: false,
        }
    }

    /// Takes a place in the pool's queue, and memory for the head while it waits there.
    pub(crate) fn start<U: Upstream>(&mut self, cx: &mut Workers<'_, U>) -> Result<(), Refusal> {
        self.may_be_asked(cx)?;
        let lease = cx.heads.lease(self.request_head.len());
        self.lease = Some(lease.ok_or(Refusal::new(503, Reason::QueueFull))?);
        self.patience = cx.pools.response_timeout(self.pool);
        cx.pools.submit(self.pool, cx.me, cx.now).map_err(|reason| Refusal::new(503, reason))
    }

    /// Refuses what has ended workers.
    fn may_be_asked<U: Upstream>(&self, cx: &Workers<'_, U>) -> Result<(), Refusal> {
        match cx.pools.suspects_targets() && cx.pools.is_fatal(&self.evidence(), cx.now) {
            true => Err(Refusal::new(502, Reason::RequestEndsWorkers)),
            false => Ok(()),
        }
    }

    /// What this request says about a worker that does not answer it.
    fn evidence(&self) -> Evidence {
        Evidence::of(self.pool, &self.request_head)
    }

    /// The worker's stream has ended, which is the end of the response if somebody says that it was not cut.
    fn awaits_verdict<U: Upstream>(&self, link: LinkId, cx: &Workers<'_, U>) -> bool {
        let by_end = matches!(self.response, Response::Content { from: Body::UntilClose, .. });
        by_end && self.link_ended == Some(CloseReason::Shutdown) && cx.pools.ending(link) == Ending::Unknown
    }

    pub(crate) fn on_assigned(&mut self, link: LinkId) {
        self.link = Some(link);
        self.link_ended = None;
    }

    pub(crate) fn on_link_ended(&mut self, reason: CloseReason) {
        self.link_ended = Some(reason);
    }

    /// Content of the client's is still to be read.
    pub(crate) fn reads_content(&self) -> bool {
        self.link.is_some() && !self.content_ended
    }

    /// The worker has the request, and how long it may be silent.
    pub(crate) fn waits_for_worker(&self) -> Option<Duration> {
        self.link.map(|_| self.patience)
    }

    /// The connection has changed its protocol.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.response, Response::Tunnel(_))
    }

    /// The worker's answer has begun, and only the worker knows when it will go on: its length was not said.
    pub(crate) fn is_stream(&self) -> bool {
        let Response::Content { from, .. } = &self.response else { return false };
        let of_unknown_length = matches!(from, Body::UntilClose | Body::Chunked { .. });
        // Trailers are waited for no longer than a head.
        of_unknown_length && !from.has_content() && self.link.is_some()
    }

    pub(crate) fn pool(&self) -> PoolId {
        self.pool
    }

    /// What it means for the client to go now.
    pub(crate) fn reason_if_dropped(&self) -> Reason {
        if self.link.is_some() { Reason::ConnectionDropped } else { Reason::ClientReset }
    }

    /// A tunnel has been silent for too long: ends it as its protocol wants it. What the client is told; `None` if this is no
    /// tunnel.
    pub(crate) fn end_tunnel<U: Upstream>(&mut self, cx: &mut Workers<'_, U>) -> Option<&'static [u8]> {
        let Response::Tunnel(tunnel) = &self.response else { return None };
        let link = self.link.take()?;
        let for_client = tunnel.say_goodbye(link, cx);
        cx.pools.finish(link, false, cx.now);
        Some(for_client)
    }
}

impl<U: Upstream> Source<Workers<'_, U>> for Forward {
    fn feed(&mut self, client: &mut impl Client, cx: &mut Workers<'_, U>) -> Result<Fed, Refusal> {
        let Some(link) = self.link else { return Ok(Fed::default()) };
        if let Response::Tunnel(tunnel) = &mut self.response {
            return Ok(tunnel.pass_up(link, client, cx));
        }
        // It may have waited since such a request last ended a worker.
        if self.head_sent == 0 {
            self.may_be_asked(cx)?;
        }
        self.send_request(link, client, cx)
    }

    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut Workers<'_, U>,
    ) -> Headed {
        match self.link {
            Some(link) => self.receive_head(link, write, cx),
            None => Headed::Nothing,
        }
    }

    fn ready(&self, cx: &Workers<'_, U>) -> Ready {
        self.link.map_or(Ready::Nothing, |link| self.look(link, cx))
    }

    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), cx: &mut Workers<'_, U>) -> Pulled {
        match self.link {
            Some(link) => self.take_content(link, room, put, cx),
            None => Pulled::Nothing,
        }
    }

    fn lost(&mut self, begun: bool, cx: &mut Workers<'_, U>) -> Option<Lost> {
        let link = self.link?;
        let is_over = self.link_ended.is_some() && !self.is_tunnel();
        if !is_over || !cx.pools.readable(link).is_empty() || self.awaits_verdict(link, cx) {
            return None;
        }
        self.worker_lost(begun, Refusal::new(502, Reason::ConnectionAbandonedByAppPool), cx)
    }

    fn finish(&mut self, cx: &mut Workers<'_, U>) {
        let Some(link) = self.link.take() else { return };
        let Response::Content { reuse, .. } = self.response else {
            return cx.pools.finish(link, false, cx.now);
        };
        let is_clean = self.is_sent() && self.link_ended.is_none() && !self.trailers_late;
        cx.pools.finish(link, reuse && is_clean, cx.now);
        cx.counters.served_by_workers += 1;
        if cx.pools.suspects_targets() {
            cx.pools.answered(&self.evidence());
        }
    }

    fn abandon(&mut self, cx: &mut Workers<'_, U>) {
        match self.link.take() {
            Some(link) => cx.pools.abandon(link, cx.now),
            None => cx.pools.withdraw(self.pool, cx.me),
        }
    }
}
