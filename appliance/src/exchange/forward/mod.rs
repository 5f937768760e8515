//! A worker as the source of a response. Content flows up and the response down, both with back-pressure,
//! neither ever held whole.

mod answer;
mod frames;
mod head;
mod loss;
mod tunnel;
mod up;
mod upload;

use super::client::Client;
use super::source::{FeedProgress, HeadProgress, Lost, PullProgress, Ready, Source};
use crate::budget::{Budget, Lease};
use crate::http::h1::Body;
use crate::http::request::{Framing, RequestHead};
use crate::http::{Method, Overflow, Refusal, Reply};
use crate::log::RequestCounters;
use crate::time::Instant;
use crate::upstream::{Ending, ExchangeId, Fingerprint, LinkId, Upstream};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use head::PartialResponseHead;
use model::id::PoolId;
use model::reason::Reason;
use netdrv::stream::CloseReason;
use tunnel::Tunnel;
use upload::Upload;

pub(crate) use upload::PIECE;

/// What a forwarded request needs besides its own state.
pub(crate) struct ForwardContext<'c, U> {
    pub(crate) pools: &'c mut U,
    pub(crate) counters: &'c mut RequestCounters,
    /// Memory for heads.
    pub(crate) heads: &'c Budget,
    /// Memory for content kept for a replay.
    pub(crate) contents: &'c Budget,
    /// Scratch space of [`PIECE`] bytes for content sent to the worker in chunks.
    pub(crate) chunk: &'c mut [u8],
    pub(crate) now: Instant,
    /// The exchange that makes the request.
    pub(crate) me: ExchangeId,
}

/// A request forwarded through a pool.
pub(crate) struct Forward {
    pool: PoolId,
    link: Option<LinkId>,
    /// How the link's stream ended, if it has.
    link_ended: Option<CloseReason>,
    /// The head as sent to the worker, kept for a replay.
    request_head: Vec<u8>,
    lease: Option<Lease>,
    head_sent: usize,
    /// Content is sent in chunks, because its length is not known.
    is_chunked: bool,
    content_ended: bool,
    upload: Upload,
    /// Protocols the worker is asked to switch to; empty for none.
    upgrade: Box<[u8]>,
    expects_continue: bool,
    idempotent: bool,
    is_head: bool,
    replays: u8,
    resubmits: u8,
    interim: u8,
    /// How long the worker may be silent.
    response_timeout: Duration,
    response: Response,
    partial_head: PartialResponseHead,
    /// An interim response forbids reuse of the link.
    no_reuse: bool,
    /// The content is complete, but the end of the trailer section has not arrived in time.
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
            is_head: head.method == Method::Head,
            replays: 0,
            resubmits: 0,
            interim: 0,
            response_timeout: Duration::ZERO,
            response: Response::Head,
            partial_head: PartialResponseHead::default(),
            no_reuse: false,
            trailers_late: false,
        }
    }

    /// Joins the pool's queue, and reserves memory for the head while it waits.
    pub(crate) fn start<U: Upstream>(&mut self, cx: &mut ForwardContext<'_, U>) -> Result<(), Refusal> {
        self.check_not_fatal(cx)?;
        let lease = cx.heads.lease(self.request_head.len());
        self.lease = Some(lease.ok_or(Refusal::new(503, Reason::QueueFull))?);
        self.response_timeout = cx.pools.response_timeout(self.pool);
        cx.pools.submit(self.pool, cx.me, cx.now).map_err(|reason| Refusal::new(503, reason))
    }

    /// Refuses a request that has repeatedly ended workers.
    fn check_not_fatal<U: Upstream>(&self, cx: &ForwardContext<'_, U>) -> Result<(), Refusal> {
        match cx.pools.suspects_targets() && cx.pools.is_fatal(&self.fingerprint(), cx.now) {
            true => Err(Refusal::new(502, Reason::RequestEndsWorkers)),
            false => Ok(()),
        }
    }

    /// Identifies this request for the record of which requests end workers.
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.pool, &self.request_head)
    }

    /// Whether the worker's stream ended and a verdict is needed on whether that completes the response or
    /// cut it.
    fn awaits_verdict<U: Upstream>(&self, link: LinkId, cx: &ForwardContext<'_, U>) -> bool {
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

    /// Whether request content is still to be read.
    pub(crate) fn reads_content(&self) -> bool {
        self.link.is_some() && !self.content_ended
    }

    /// How long the worker may be silent, once it has the request.
    pub(crate) fn waits_for_worker(&self) -> Option<Duration> {
        self.link.map(|_| self.response_timeout)
    }

    /// Whether the connection has switched protocols.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.response, Response::Tunnel(_))
    }

    /// Whether the worker has begun a response of unknown length, so that only it knows when more will
    /// follow.
    pub(crate) fn is_stream(&self) -> bool {
        let Response::Content { from, .. } = &self.response else { return false };
        let of_unknown_length = matches!(from, Body::UntilClose | Body::Chunked { .. });
        // Trailers get no longer than a head.
        of_unknown_length && !from.content_is_complete() && self.link.is_some()
    }

    pub(crate) fn pool(&self) -> PoolId {
        self.pool
    }

    /// The reason to log if the client leaves now.
    pub(crate) fn reason_if_dropped(&self) -> Reason {
        if self.link.is_some() { Reason::ConnectionDropped } else { Reason::ClientReset }
    }

    /// Ends a tunnel that was silent for too long, the way its protocol asks for. Returns the bytes to send
    /// to the client, or `None` if this is not a tunnel.
    pub(crate) fn end_tunnel<U: Upstream>(
        &mut self,
        cx: &mut ForwardContext<'_, U>,
    ) -> Option<&'static [u8]> {
        let Response::Tunnel(tunnel) = &self.response else { return None };
        let link = self.link.take()?;
        let for_client = tunnel.send_close_frame(link, cx);
        cx.pools.finish(link, false, cx.now);
        Some(for_client)
    }
}

impl<U: Upstream> Source<ForwardContext<'_, U>> for Forward {
    fn feed(
        &mut self,
        client: &mut impl Client,
        cx: &mut ForwardContext<'_, U>,
    ) -> Result<FeedProgress, Refusal> {
        let Some(link) = self.link else { return Ok(FeedProgress::default()) };
        if let Response::Tunnel(tunnel) = &mut self.response {
            return Ok(tunnel.pass_up(link, client, cx));
        }
        // A similar request may have ended a worker while this one waited.
        if self.head_sent == 0 {
            self.check_not_fatal(cx)?;
        }
        self.send_request(link, client, cx)
    }

    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut ForwardContext<'_, U>,
    ) -> HeadProgress {
        match self.link {
            Some(link) => self.receive_head(link, write, cx),
            None => HeadProgress::Nothing,
        }
    }

    fn ready(&self, cx: &ForwardContext<'_, U>) -> Ready {
        self.link.map_or(Ready::Nothing, |link| self.ready_on(link, cx))
    }

    fn pull(
        &mut self,
        room: usize,
        put: &mut dyn FnMut(&[u8], bool),
        cx: &mut ForwardContext<'_, U>,
    ) -> PullProgress {
        match self.link {
            Some(link) => self.take_content(link, room, put, cx),
            None => PullProgress::Nothing,
        }
    }

    fn lost(&mut self, begun: bool, cx: &mut ForwardContext<'_, U>) -> Option<Lost> {
        let link = self.link?;
        let is_over = self.link_ended.is_some() && !self.is_tunnel();
        if !is_over || !cx.pools.readable(link).is_empty() || self.awaits_verdict(link, cx) {
            return None;
        }
        self.worker_lost(begun, Refusal::new(502, Reason::ConnectionAbandonedByAppPool), cx)
    }

    fn finish(&mut self, cx: &mut ForwardContext<'_, U>) {
        let Some(link) = self.link.take() else { return };
        let Response::Content { reuse, .. } = self.response else {
            return cx.pools.finish(link, false, cx.now);
        };
        let is_clean = self.is_sent() && self.link_ended.is_none() && !self.trailers_late;
        cx.pools.finish(link, reuse && is_clean, cx.now);
        cx.counters.served_by_workers += 1;
        if cx.pools.suspects_targets() {
            cx.pools.answered(&self.fingerprint());
        }
    }

    fn abandon(&mut self, cx: &mut ForwardContext<'_, U>) {
        match self.link.take() {
            Some(link) => cx.pools.abandon(link, cx.now),
            None => cx.pools.withdraw(self.pool, cx.me),
        }
    }
}
