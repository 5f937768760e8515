//! One request at a worker: content up, response down, both with back-pressure and neither ever held whole.

pub(crate) mod body;
pub(crate) mod decide;
mod down;
mod first_buffer;
mod head;
pub(crate) mod journal;
mod tunnel;
mod up;
mod upload;

use crate::budget::Lease;
use crate::connection::gate::Gate;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::http::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::request::RequestHead;
use crate::http::response::{Client, Delivery};
use crate::http::{Overflow, Refusal, Sink};
use crate::time::Instant;
use crate::upstream::{Ending, Evidence, LinkId, Loss, Requester};
use alloc::boxed::Box;
use alloc::vec::Vec;
use body::Body;
use core::time::Duration;
use down::{Progress, Unfit};
use first_buffer::FirstBuffer;
use head::Gathered;
use model::id::{PoolId, SiteId};
use model::reason::Reason;
use netdrv::stream::{CloseReason, StreamTransport};
use tunnel::Tunnel;
use upload::Upload;

/// Most that a chunk's size line, the line end after its data, and the last chunk take.
const CHUNK_OVERHEAD: usize = 18 + CHUNK_END.len() + LAST_CHUNK.len();
/// Requests that die with their worker are given to another one so many times.
const REPLAYS: u8 = 1;
/// Requests of which the worker got nothing are given to another one so many times.
const RESUBMITS: u8 = 8;

/// How far an exchange has come.
pub(crate) enum Status {
    /// It waits for the worker, the client, or a link.
    Waiting,
    /// The response went out whole; the connection may live on once this rest of the request's content is read.
    Done { keep_alive: bool, drain: Body },
    /// Nothing of a response was sent yet: answer this instead.
    Failed(Refusal),
    /// The response broke off after its first bytes were sent, or the client broke the rules: cut the connection.
    Broken(Reason),
}

/// A request on its way through a pool.
pub(crate) struct Exchange {
    pool: PoolId,
    /// The site, if the request came over TLS.
    secure_site: Option<SiteId>,
    link: Option<LinkId>,
    /// The link's stream has ended.
    link_ended: Option<CloseReason>,
    /// The head as the worker receives it, kept for a replay.
    request_head: Vec<u8>,
    lease: Option<Lease>,
    head_sent: usize,
    /// The client's content still to be read.
    content: Body,
    /// It is passed on in chunks, because its length is not known.
    content_chunked: bool,
    content_ended: bool,
    upload: Upload,
    /// The protocols that the worker is asked to change to; empty for none.
    upgrade: Box<[u8]>,
    expects_continue: bool,
    idempotent: bool,
    client: Client,
    replays: u8,
    resubmits: u8,
    interim: u8,
    /// What the worker may be silent for.
    patience: Duration,
    /// The front part of the response while nothing of it was sent to the client.
    first: Option<FirstBuffer>,
    response: Response,
    /// Status of the response; 0 while there is none.
    status: u16,
    gathered: Gathered,
    /// An interim response was such that the link is not used again.
    used_up: bool,
    /// The content is complete, and the worker does not come to the end of the trailer section.
    trailers_late: bool,
}

enum Response {
    Head,
    Content { from: Body, delivery: Delivery, reuse: bool },
    Tunnel(Tunnel),
}

impl Exchange {
    pub(crate) fn new(
        pool: PoolId,
        secure_site: Option<SiteId>,
        head: &RequestHead<'_>,
        for_worker: &[u8],
        upgrade: Box<[u8]>,
        content: Body,
    ) -> Self {
        Self {
            pool,
            secure_site,
            link: None,
            link_ended: None,
            request_head: for_worker.to_vec(),
            lease: None,
            head_sent: 0,
            content_chunked: matches!(content, Body::Chunked { .. }),
            content_ended: content.is_finished(),
            content,
            upload: Upload::new(head.method.is_idempotent()),
            upgrade,
            expects_continue: head.expects_continue(),
            idempotent: head.method.is_idempotent(),
            client: Client {
                version: head.version,
                to_head: head.method == crate::http::Method::Head,
                keep_alive: head.keep_alive(),
            },
            replays: 0,
            resubmits: 0,
            interim: 0,
            patience: Duration::ZERO,
            first: None,
            response: Response::Head,
            status: 0,
            gathered: Gathered::default(),
            used_up: false,
            trailers_late: false,
        }
    }

    /// What is still to be read of the request's content.
    pub(crate) const fn content(&self) -> &Body {
        &self.content
    }

    /// Takes a place in the pool's queue, and memory for the head while it waits there.
    pub(crate) fn start<S: StreamTransport>(
        &mut self,
        me: Requester,
        env: &mut Env<S>,
    ) -> Result<(), Refusal> {
        self.may_be_asked(env)?;
        let lease = env.heads.lease(self.request_head.len());
        self.lease = Some(lease.ok_or(Refusal::new(503, Reason::QueueFull))?);
        self.patience = env.pools.response_timeout(self.pool);
        env.pools.submit(self.pool, me, env.now).map_err(|reason| Refusal::new(503, reason))
    }

    /// Refuses what has ended workers.
    fn may_be_asked<S: StreamTransport>(&self, env: &Env<S>) -> Result<(), Refusal> {
        match env.pools.suspects_targets() && env.pools.is_fatal(&self.evidence(), env.now) {
            true => Err(Refusal::new(502, Reason::RequestEndsWorkers)),
            false => Ok(()),
        }
    }

    /// What this request says about a worker that does not answer it.
    fn evidence(&self) -> Evidence {
        Evidence::of(self.pool, &self.request_head)
    }

    /// The worker's stream has ended, which is the end of the response if somebody says that it was not cut.
    fn awaits_verdict<S: StreamTransport>(&self, link: LinkId, env: &Env<S>) -> bool {
        let by_end = matches!(self.response, Response::Content { from: Body::UntilClose, .. });
        by_end && self.link_ended == Some(CloseReason::Shutdown) && env.pools.ending(link) == Ending::Unknown
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

    /// The client is expected to send more content before anything else can happen.
    pub(crate) fn waits_for_client(&self, socket: &Wire<'_, '_>) -> bool {
        self.link.is_some() && !self.content_ended && socket.is_read()
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
        of_unknown_length && !from.has_content() && self.link.is_some() && self.first.is_none()
    }

    /// A tunnel has been silent for too long: ends it as its protocol wants it. `None` if this is no tunnel.
    pub(crate) fn end_tunnel<S: StreamTransport>(
        &mut self,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) -> Option<Status> {
        let Response::Tunnel(tunnel) = &self.response else { return None };
        let link = self.link.take()?;
        tunnel.say_goodbye(link, env.now.as_nanos() | 1, socket, gate, env);
        env.pools.finish(link, false, env.now);
        Some(Status::Done { keep_alive: false, drain: Body::NONE })
    }

    /// When something has to be sent to the client even if nothing arrives.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.first.as_ref().map(FirstBuffer::release_at)
    }

    pub(crate) fn pool(&self) -> PoolId {
        self.pool
    }

    /// Status of the response, 0 if none has begun.
    pub(crate) fn status(&self) -> u16 {
        if self.has_begun() { self.status } else { 0 }
    }

    /// What it means for the client to go now.
    pub(crate) fn reason_if_dropped(&self) -> Reason {
        if self.link.is_some() { Reason::ConnectionDropped } else { Reason::ClientReset }
    }

    /// Gives up the link or the place in the queue: the client has gone, or is to be told something else.
    pub(crate) fn abandon<S: StreamTransport>(&mut self, me: Requester, env: &mut Env<S>) {
        match self.link.take() {
            Some(link) => env.pools.abandon(link, env.now),
            None => env.pools.withdraw(self.pool, me),
        }
        self.drop_first(env);
    }

    fn drop_first<S>(&mut self, env: &mut Env<S>) {
        if let Some(first) = self.first.take() {
            env.recycle(first.into_bytes());
        }
    }

    /// Moves whatever can be moved, starting with nothing held at the gate. Second value: whether any byte moved.
    pub(crate) fn run<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) -> (Status, bool) {
        let Some(link) = self.link else { return (Status::Waiting, false) };
        let mut moved = false;
        // It may have waited since such a request last ended a worker.
        if self.head_sent == 0
            && let Err(refusal) = self.may_be_asked(env)
        {
            let status = self.fail(refusal);
            self.abandon(me, env);
            return (status, true);
        }
        loop {
            if self.is_tunnel() {
                return self.run_tunnel(link, socket, gate, env, moved);
            }
            let sent = match self.send_request(link, socket, gate, env) {
                Ok(sent) => sent,
                Err(refusal) => {
                    let status = self.fail(refusal);
                    self.abandon(me, env);
                    return (status, true);
                }
            };
            match self.receive_response(link, socket, gate, env) {
                Ok(Progress::Moved) => moved = true,
                Ok(Progress::Finished { keep_alive, reuse }) => {
                    let clean = self.content_ended
                        && self.head_sent == self.request_head.len()
                        && self.upload.is_sent();
                    self.link = None;
                    env.pools.finish(link, reuse && clean && self.link_ended.is_none(), env.now);
                    env.counters.served_by_workers += 1;
                    if env.pools.suspects_targets() {
                        env.pools.answered(&self.evidence());
                    }
                    let drain = core::mem::replace(&mut self.content, Body::NONE);
                    return (Status::Done { keep_alive, drain }, true);
                }
                Ok(Progress::Stuck)
                    if self.link_ended.is_some()
                        && env.pools.readable(link).is_empty()
                        && gate.is_empty()
                        && !self.awaits_verdict(link, env) =>
                {
                    let refusal = Refusal::new(502, Reason::ConnectionAbandonedByAppPool);
                    return (self.worker_lost(me, refusal, env), true);
                }
                Ok(Progress::Stuck) if self.first.as_ref().is_some_and(|f| f.release_at() <= env.now) => {
                    self.release_first(socket, gate, env);
                    moved = true;
                }
                Ok(Progress::Stuck) if !sent => return (Status::Waiting, moved),
                Ok(Progress::Stuck) => moved = true,
                Err(why) => return (self.unfit(link, why, env), true),
            }
        }
    }

    fn run_tunnel<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
        moved: bool,
    ) -> (Status, bool) {
        let Response::Tunnel(tunnel) = &mut self.response else { return (Status::Waiting, moved) };
        let turn = tunnel::pump(tunnel, link, self.link_ended.is_some(), socket, gate, env);
        if !turn.over {
            return (Status::Waiting, turn.moved || moved);
        }
        self.link = None;
        env.pools.finish(link, false, env.now);
        (Status::Done { keep_alive: false, drain: Body::NONE }, true)
    }

    /// Not replayed: another worker would be asked to say the same.
    fn unfit<S: StreamTransport>(&mut self, link: LinkId, why: Unfit, env: &mut Env<S>) -> Status {
        self.link = None;
        self.gathered.clear();
        let status = match why {
            Unfit::Malformed => {
                env.counters.malformed += 1;
                env.pools.fail(link, &self.evidence(), env.now);
                self.fail(Refusal::new(502, Reason::ConnectionAbandonedByAppPool))
            }
            Unfit::NoMemory => {
                env.pools.abandon(link, env.now);
                self.fail(Refusal::new(503, Reason::NotAvailable))
            }
        };
        self.drop_first(env);
        status
    }

    /// The error to show for a failed exchange: a response if the client got nothing, a cut connection otherwise.
    fn fail(&self, refusal: Refusal) -> Status {
        if self.has_begun() { Status::Broken(refusal.reason) } else { Status::Failed(refusal) }
    }

    /// The client has got a part of the response.
    fn has_begun(&self) -> bool {
        !matches!(self.response, Response::Head) && self.first.is_none()
    }

    /// The worker has been silent for too long.
    pub(crate) fn on_silence<S: StreamTransport>(
        &mut self,
        me: Requester,
        env: &mut Env<S>,
    ) -> Option<Status> {
        // Something came in at the last moment.
        self.link.filter(|link| env.pools.readable(*link).is_empty())?;
        if matches!(&self.response, Response::Content { from, .. } if from.has_content()) {
            self.trailers_late = true;
            return None;
        }
        env.counters.silent += 1;
        Some(self.worker_lost(me, Refusal::new(504, Reason::TimerResponse), env))
    }

    /// The worker will not answer: another one gets the request if that can do no harm, else the client is told.
    ///
    /// Harmless is what a worker got nothing of, and what may be repeated by its method (RFC 9110 §9.2.2) while the client
    /// has got nothing of the answer and all content that the worker got is still here.
    fn worker_lost<S: StreamTransport>(
        &mut self,
        me: Requester,
        refusal: Refusal,
        env: &mut Env<S>,
    ) -> Status {
        let Some(link) = self.link.take() else { return Status::Waiting };
        // When our own device was reset, the worker is not to blame.
        let blame = self.link_ended != Some(CloseReason::TransportReset);
        let silent = refusal.reason == Reason::TimerResponse;
        let spoiled = env.pools.is_spoiled(link);
        // Somebody else's surplus says nothing about this request; it costs no replay.
        let untouched = (self.head_sent == 0 || (spoiled && self.idempotent && self.upload.rewind()))
            && self.resubmits < RESUBMITS
            && !silent;
        let repeatable = self.idempotent && !self.has_begun() && self.replays < REPLAYS;
        // Whoever was silent is not asked the same again.
        let elsewhere = !silent || env.pools.has_other(link, env.now);
        let can_repeat = untouched || (repeatable && elsewhere && self.upload.rewind());
        if !can_repeat {
            let status = self.fail(refusal);
            self.drop_first(env);
            if blame {
                env.pools.fail(link, &self.evidence(), env.now);
            } else {
                env.pools.abandon(link, env.now);
            }
            return status;
        }
        if untouched {
            self.resubmits += 1;
        } else {
            self.replays += 1;
            env.counters.replayed += 1;
        }
        self.drop_first(env);
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
        env.pools.resubmit(link, me, loss, &self.evidence(), env.now);
        Status::Waiting
    }
}

/// Content as a chunk, and the last chunk where it ends.
fn put_chunk(out: &mut Sink<'_>, content: &[u8], last: bool) -> Result<(), Overflow> {
    if !content.is_empty() {
        out.put(ChunkHeader::new(content.len() as u64).as_bytes())?;
        out.put(content)?;
        out.put(CHUNK_END)?;
    }
    if last { out.put(LAST_CHUNK) } else { Ok(()) }
}
