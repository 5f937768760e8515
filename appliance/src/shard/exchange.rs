//! One request at a worker: content up, response down, both with back-pressure and neither ever held whole.

use super::body::Body;
use super::budget::Lease;
use super::env::{Env, MAX_RESPONSE_HEAD};
use super::gate::Gate;
use crate::http::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::request::RequestHead;
use crate::http::response::{self, Client, Delivery, Framing};
use crate::http::{Refusal, Sink, error};
use crate::pool::{LinkId, Requester};
use crate::reason::Reason;
use crate::tcp::Socket;
use alloc::vec::Vec;
use netdrv::stream::StreamTransport;

/// Most that a chunk's size line, the line end after its data, and the last chunk take.
const CHUNK_OVERHEAD: usize = 18 + CHUNK_END.len() + LAST_CHUNK.len();
/// Most content passed to a worker in one chunk.
const MAX_CHUNK: usize = 16 << 10;
/// Requests that die with their worker are given to another one so many times.
const REPLAYS: u8 = 1;

/// How far an exchange has come.
pub(super) enum Status {
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
pub(super) struct Exchange {
    pool: u16,
    link: Option<LinkId>,
    /// The link's stream has ended.
    link_ended: bool,
    /// The head as the worker receives it, kept for a replay.
    request_head: Vec<u8>,
    lease: Option<Lease>,
    head_sent: usize,
    /// The client's content still to be read.
    content: Body,
    /// It is passed on in chunks, because its length is not known.
    content_chunked: bool,
    content_ended: bool,
    content_started: bool,
    /// A chunk on its way to the worker.
    chunk: Vec<u8>,
    chunk_sent: usize,
    expects_continue: bool,
    idempotent: bool,
    client: Client,
    replays: u8,
    response: Response,
    /// Response head bytes while it is incomplete.
    response_head: Vec<u8>,
}

enum Response {
    Head,
    Content { from: Body, delivery: Delivery, reuse: bool },
}

impl Exchange {
    pub(super) fn new(pool: u16, head: &RequestHead<'_>, for_worker: &[u8]) -> Self {
        let content = Body::from(head.framing);
        Self {
            pool,
            link: None,
            link_ended: false,
            request_head: for_worker.to_vec(),
            lease: None,
            head_sent: 0,
            content_chunked: matches!(content, Body::Chunked(_)),
            content_ended: content.is_finished(),
            content,
            content_started: false,
            chunk: Vec::new(),
            chunk_sent: 0,
            expects_continue: head.expects_continue,
            idempotent: head.method.is_idempotent(),
            client: Client {
                version: head.version,
                to_head: head.method == crate::http::Method::Head,
                keep_alive: head.keep_alive,
            },
            replays: 0,
            response: Response::Head,
            response_head: Vec::new(),
        }
    }

    /// Takes a place in the pool's queue, and memory for the head while it waits there.
    pub(super) fn start<S: StreamTransport>(
        &mut self,
        me: Requester,
        env: &mut Env<'_, S>,
    ) -> Result<(), Refusal> {
        let lease = env.heads.lease(self.request_head.len());
        self.lease = Some(lease.ok_or(Refusal::new(503, Reason::QueueFull))?);
        self.submit(me, env)
    }

    /// Asks the pool for a link.
    fn submit<S: StreamTransport>(&self, me: Requester, env: &mut Env<'_, S>) -> Result<(), Refusal> {
        env.pools.submit(self.pool, me, env.now).map_err(|reason| Refusal::new(503, reason))
    }

    pub(super) fn on_assigned(&mut self, link: LinkId) {
        self.link = Some(link);
        self.link_ended = false;
    }

    pub(super) fn on_link_ended(&mut self) {
        self.link_ended = true;
    }

    /// The client is expected to send more content before anything else can happen.
    pub(super) fn waits_for_client(&self) -> bool {
        self.link.is_some() && !self.content_ended
    }

    /// The request was HEAD: its answer has no content.
    pub(super) fn answers_head(&self) -> bool {
        self.client.to_head
    }

    /// Gives up the link or the place in the queue.
    pub(super) fn abandon<S: StreamTransport>(&mut self, me: Requester, env: &mut Env<'_, S>) {
        match self.link.take() {
            Some(link) => env.pools.finish(link, false, env.now),
            None => env.pools.withdraw(self.pool, me),
        }
    }

    /// Moves whatever can be moved, starting with nothing held at the gate. Second value: whether any byte moved.
    pub(super) fn run<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> (Status, bool) {
        let Some(link) = self.link else { return (Status::Waiting, false) };
        let mut moved = false;
        loop {
            let sent = match self.send_request(link, socket, gate, env) {
                Ok(sent) => sent,
                Err(refusal) => {
                    self.abandon(me, env);
                    return (self.fail(refusal), true);
                }
            };
            match self.receive_response(link, socket, gate, env) {
                Ok(Progress::Moved) => moved = true,
                Ok(Progress::Finished { keep_alive, reuse }) => {
                    let clean = self.content_ended
                        && self.head_sent == self.request_head.len()
                        && self.chunk_sent == self.chunk.len();
                    self.link = None;
                    env.pools.finish(link, reuse && clean && !self.link_ended, env.now);
                    env.counters.served_by_workers += 1;
                    let drain = core::mem::replace(&mut self.content, Body::NONE);
                    return (Status::Done { keep_alive, drain }, true);
                }
                Ok(Progress::Stuck) if self.link_ended && env.pools.readable(link).is_empty() => {
                    return (self.worker_died(me, env), true);
                }
                Ok(Progress::Stuck) if !sent => return (Status::Waiting, moved),
                Ok(Progress::Stuck) => moved = true,
                Err(()) => {
                    self.abandon(me, env);
                    return (self.fail(Refusal::new(502, Reason::ConnectionAbandonedByAppPool)), true);
                }
            }
        }
    }

    /// The error to show for a failed exchange: a response if none has begun, a cut connection otherwise.
    fn fail(&self, refusal: Refusal) -> Status {
        match self.response {
            Response::Head => Status::Failed(refusal),
            Response::Content { .. } => Status::Broken(refusal.reason),
        }
    }

    fn worker_died<S: StreamTransport>(&mut self, me: Requester, env: &mut Env<'_, S>) -> Status {
        self.abandon(me, env);
        let untouched = matches!(self.response, Response::Head) && self.response_head.is_empty();
        // Content that went to the dead worker is not held for another one.
        if untouched && self.idempotent && !self.content_started && self.replays < REPLAYS {
            self.replays += 1;
            self.head_sent = 0;
            env.counters.replayed += 1;
            return match self.submit(me, env) {
                Ok(()) => Status::Waiting,
                Err(refusal) => Status::Failed(refusal),
            };
        }
        self.fail(Refusal::new(502, Reason::ConnectionAbandonedByAppPool))
    }

    /// Sends the head, then content as it comes from the client.
    fn send_request<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Socket<'_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<bool, Refusal> {
        if self.link_ended {
            return Ok(false);
        }
        let mut moved = false;
        if self.head_sent < self.request_head.len() {
            let n = env.pools.send(link, &self.request_head[self.head_sent..]);
            self.head_sent += n;
            moved |= n > 0;
        }
        if self.head_sent < self.request_head.len() {
            return Ok(moved);
        }
        if self.expects_continue && !self.content_ended {
            self.expects_continue = false;
            gate.send(socket, error::CONTINUE, 0, env);
            moved = true;
        }
        loop {
            // A send that is cut short makes the transport tell us when there is room again.
            while self.chunk_sent < self.chunk.len() {
                let n = env.pools.send(link, &self.chunk[self.chunk_sent..]);
                if n == 0 {
                    return Ok(moved);
                }
                self.chunk_sent += n;
                moved = true;
            }
            if self.content_ended {
                return Ok(moved);
            }
            let passed = socket.recv(|input| {
                let admitted = gate.admit(self.content.wanted(input.len()), env);
                let step = self.pass_content(link, &input[..admitted], env);
                let done = step.as_ref().map_or(0, |n| *n);
                gate.took(done);
                (done, step)
            });
            match passed {
                Ok(Ok(0)) => return Ok(moved),
                Ok(Ok(_)) => moved = true,
                Ok(Err(reason)) => return Err(Refusal::new(400, reason)),
                // The client ended its half before its content was complete.
                Err(_) => return Err(Refusal::new(400, Reason::ConnectionDropped)),
            }
        }
    }

    /// Passes one piece of content on and returns how many input bytes are done with.
    fn pass_content<S: StreamTransport>(
        &mut self,
        link: LinkId,
        input: &[u8],
        env: &mut Env<'_, S>,
    ) -> Result<usize, Reason> {
        if input.is_empty() {
            return Ok(0);
        }
        self.content_started = true;
        if self.content_chunked {
            // One piece of chunked content becomes one chunk, put together first so that it leaves as one packet.
            let span =
                self.content.read(&input[..input.len().min(MAX_CHUNK)]).map_err(|_| Reason::BadRequest)?;
            self.content_ended = self.content.is_finished();
            self.chunk.clear();
            self.chunk_sent = 0;
            put_chunk(&mut self.chunk, &input[span.content], self.content_ended);
            return Ok(span.consumed);
        }
        let wanted = self.content.wanted(input.len());
        let sent = env.pools.send(link, &input[..wanted]);
        let span = self.content.read(&input[..sent]).map_err(|_| Reason::BadRequest)?;
        self.content_ended = self.content.is_finished();
        Ok(span.consumed)
    }

    fn receive_response<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Socket<'_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<Progress, ()> {
        if !gate.is_empty() {
            return Ok(Progress::Stuck);
        }
        match &mut self.response {
            Response::Head => self.receive_head(link, socket, gate, env),
            Response::Content { from, delivery, reuse } => {
                let (delivery, reuse) = (*delivery, *reuse);
                let chunked = delivery.framing == Framing::Chunked;
                if from.is_finished() {
                    return Ok(Progress::Finished { keep_alive: delivery.keep_alive, reuse });
                }
                let overhead = if chunked { CHUNK_OVERHEAD } else { 0 };
                let available = env.pools.readable(link).len();
                let ends = available == 0 && self.link_ended && matches!(from, Body::UntilClose);
                if available == 0 && !ends {
                    return Ok(Progress::Stuck);
                }
                let room = gate.open(available + overhead, socket, env);
                let Some(room) = room.checked_sub(overhead) else { return Ok(Progress::Stuck) };
                if ends {
                    if chunked {
                        gate.write(socket, LAST_CHUNK);
                    }
                    *from = Body::NONE;
                    return Ok(Progress::Moved);
                }
                let input = env.pools.readable(link);
                let input = &input[..input.len().min(room)];
                if input.is_empty() {
                    return Ok(Progress::Stuck);
                }
                let span = from.read(input).map_err(|_| ())?;
                let content = &input[span.content];
                // Everything below fits: the input was cut to the room there is. A socket that was closed
                // meanwhile takes nothing, which its owner notices.
                if chunked {
                    if !content.is_empty() {
                        gate.write(socket, ChunkHeader::new(content.len() as u64).as_bytes());
                        gate.write(socket, content);
                        gate.write(socket, CHUNK_END);
                    }
                    if from.is_finished() {
                        gate.write(socket, LAST_CHUNK);
                    }
                } else {
                    gate.write(socket, content);
                }
                env.pools.consume(link, span.consumed);
                Ok(Progress::Moved)
            }
        }
    }

    fn receive_head<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Socket<'_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<Progress, ()> {
        let input = env.pools.readable(link);
        if input.is_empty() {
            return Ok(Progress::Stuck);
        }
        let before = self.response_head.len();
        let piece = &input[..input.len().min(MAX_RESPONSE_HEAD + 1 - before.min(MAX_RESPONSE_HEAD))];
        let bytes: &[u8] = if before == 0 {
            piece
        } else {
            self.response_head.extend_from_slice(piece);
            &self.response_head
        };
        match response::parse(bytes, self.client.to_head, MAX_RESPONSE_HEAD) {
            response::Parsed::Invalid(_) => Err(()),
            response::Parsed::Partial => {
                if before == 0 {
                    self.response_head.extend_from_slice(piece);
                }
                let n = piece.len();
                env.pools.consume(link, n);
                Ok(Progress::Moved)
            }
            response::Parsed::Complete { head, len } => {
                let skip = head.status == 100
                    || (head.is_interim() && self.client.version == crate::http::Version::Http10);
                if skip {
                    let taken = len - before;
                    self.response_head.clear();
                    env.pools.consume(link, taken);
                    return Ok(Progress::Moved);
                }
                let mut out = Sink::new(&mut env.render);
                let delivery = response::write_response(&head, self.client, &env.serving.date, &mut out)
                    .map_err(|_| ())?;
                let rendered = out.len();
                let (interim, from, reuse) = (head.is_interim(), Body::from(head.framing), head.keep_alive);
                self.response_head.clear();
                env.pools.consume(link, len - before);
                gate.send_rendered(socket, rendered, 0, env);
                if !interim {
                    self.response = Response::Content { from, delivery, reuse };
                }
                Ok(Progress::Moved)
            }
        }
    }
}

enum Progress {
    Stuck,
    Moved,
    Finished { keep_alive: bool, reuse: bool },
}

/// Appends a chunk with this content, if there is any, and the last chunk.
fn put_chunk(out: &mut Vec<u8>, content: &[u8], last: bool) {
    if !content.is_empty() {
        out.extend_from_slice(ChunkHeader::new(content.len() as u64).as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(CHUNK_END);
    }
    if last {
        out.extend_from_slice(LAST_CHUNK);
    }
}
