//! One request and its response, independent of the client's protocol and of the response's source.
//!
//! [`decide`] chooses the source. The exchange then pulls the response from its [`Source`], as far as the
//! client has room, and has the client's protocol ([`Encode`]) write it:
//!
//! ```text
//!  request ─► decide ─► Source ──head, content──► Exchange ──Encode──► Client ─► gate, TLS, socket
//!                          ▲                                              │
//!                          └───────────── the request's content ──────────┘
//! ```
//!
//! The start of a response that could still be replayed to another worker is held back ([`FirstBuffer`]):
//! until it is released, the client has seen nothing and the source may start over.

pub(crate) mod client;
pub(crate) mod decide;
mod first_buffer;
pub(crate) mod forward;
pub(crate) mod journal;
mod origin;
pub(crate) mod source;

pub(crate) use origin::Origin;

use crate::budget::BufferPool;
use crate::http::{Encode, Fields, Refusal, Reply, ResponseWriter, Sink};
use crate::time::Instant;
use alloc::boxed::Box;
use client::Client;
use first_buffer::FirstBuffer;
use model::date::DateCache;
use model::reason::Reason;
use source::{HeadProgress, Lost, PullProgress, Ready, Source};

/// Progress of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Waiting for the source or the client.
    Waiting,
    /// The whole response was sent.
    Done,
    /// Failed before anything of a response was sent: answer with this refusal instead.
    Failed(Refusal),
    /// The response broke off after its first bytes, or the client violated the protocol: see
    /// [`Encode::reset`].
    Broken(Reason),
}

/// What an exchange needs to write a response.
pub(crate) struct WriteContext<'d> {
    /// Scratch space for heads, and for content that is merged with its framing.
    pub(crate) render: &'d mut [u8],
    pub(crate) buffers: &'d mut BufferPool,
    pub(crate) date: &'d DateCache,
    /// Header fields that the site adds to all of its responses.
    pub(crate) site: Fields<'d>,
    pub(crate) now: Instant,
}

/// One request in progress. `E` encodes its response, `R` supplies it.
pub(crate) struct Exchange<E, R> {
    encoder: E,
    source: R,
    /// The final head has been written.
    head_written: bool,
    /// The held-back start of the response. Boxed, since few exchanges have one.
    first: Option<Box<FirstBuffer>>,
    /// Status of the response, 0 before it is known.
    status: u16,
}

/// Result of one step of the response.
enum Step {
    Nothing,
    Moved,
    Finished,
    Failed(Refusal),
}

impl<E: Encode, R> Exchange<E, R> {
    /// An exchange whose response is still to be written.
    pub(crate) const fn new(encoder: E, source: R) -> Self {
        Self { encoder, source, head_written: false, first: None, status: 0 }
    }

    /// An exchange whose head, with this status, was already sent.
    pub(crate) const fn answered(encoder: E, source: R, status: u16) -> Self {
        Self { encoder, source, head_written: true, first: None, status }
    }

    pub(crate) const fn source(&self) -> &R {
        &self.source
    }

    pub(crate) const fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    pub(crate) const fn encoder(&mut self) -> &mut E {
        &mut self.encoder
    }

    /// When held bytes must be sent even if nothing more arrives.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.first.as_ref().map(|first| first.release_at())
    }

    /// Status of the response, 0 if nothing of it was sent to the client.
    pub(crate) fn status(&self) -> u16 {
        if self.has_begun() { self.status } else { 0 }
    }

    /// Whether any part of the response was sent to the client.
    pub(crate) fn has_begun(&self) -> bool {
        self.head_written && self.first.is_none()
    }

    /// Whether the source is exhausted: the client has yet to take what was sent, nothing more follows.
    pub(crate) fn is_sent<Cx>(&self, cx: &Cx) -> bool
    where
        R: Source<Cx>,
    {
        self.head_written && self.source.ready(cx) == Ready::Finished
    }

    /// Gives up the source: the client has gone, or gets another response.
    pub(crate) fn abandon<Cx>(&mut self, buffers: &mut BufferPool, cx: &mut Cx)
    where
        R: Source<Cx>,
    {
        self.source.abandon(cx);
        self.drop_first(buffers);
    }

    /// Moves what can be moved. The second value tells whether any byte moved.
    pub(crate) fn run<Cx>(
        &mut self,
        client: &mut impl Client,
        wcx: &mut WriteContext<'_>,
        cx: &mut Cx,
    ) -> (Status, bool)
    where
        R: Source<Cx>,
    {
        let mut moved = false;
        loop {
            let fed = match self.source.feed(client, cx) {
                Ok(fed) => fed,
                Err(refusal) => {
                    let status = self.fail(refusal);
                    self.abandon(wcx.buffers, cx);
                    return (status, true);
                }
            };
            if fed.wants_content {
                self.send_continue(client, wcx);
            }
            let step = if client.is_blocked() { Step::Nothing } else { self.respond(client, wcx, cx) };
            moved |= fed.moved || !matches!(step, Step::Nothing);
            match step {
                Step::Moved => {}
                Step::Failed(refusal) => return (self.failed(refusal, wcx.buffers), true),
                Step::Finished => {
                    self.source.finish(cx);
                    return (Status::Done, true);
                }
                Step::Nothing if fed.finished => {
                    self.source.finish(cx);
                    return (Status::Done, true);
                }
                Step::Nothing => {
                    let lost =
                        if client.is_blocked() { None } else { self.source.lost(self.has_begun(), cx) };
                    if let Some(lost) = lost {
                        return (self.on_source_lost(lost, wcx.buffers), true);
                    }
                    if self.release_at().is_some_and(|at| at <= wcx.now) {
                        self.release(client, wcx.buffers);
                        moved = true;
                    } else if !fed.moved {
                        return (Status::Waiting, moved);
                    }
                }
            }
        }
    }

    /// Handles the loss of the source.
    pub(crate) fn on_source_lost(&mut self, lost: Lost, buffers: &mut BufferPool) -> Status {
        match lost {
            Lost::Fail(refusal) => self.failed(refusal, buffers),
            Lost::Retry => {
                self.drop_first(buffers);
                (self.head_written, self.status) = (false, 0);
                Status::Waiting
            }
        }
    }

    fn failed(&mut self, refusal: Refusal, buffers: &mut BufferPool) -> Status {
        let status = self.fail(refusal);
        self.drop_first(buffers);
        status
    }

    /// Fails the exchange with a response if nothing was sent to the client, by breaking off otherwise.
    fn fail(&self, refusal: Refusal) -> Status {
        if self.has_begun() { Status::Broken(refusal.reason) } else { Status::Failed(refusal) }
    }

    fn send_continue(&mut self, client: &mut impl Client, wcx: &mut WriteContext<'_>) {
        let mut writer = ResponseWriter::new(&mut self.encoder, wcx.date, wcx.render);
        // Cannot fail: the buffer holds the longest head.
        if writer.head(&Reply::CONTINUE).is_ok() {
            let len = writer.len();
            client.send(wcx.render.get(..len).unwrap_or_default(), 0);
        }
    }

    /// Takes one step: writes a head or a piece of content.
    fn respond<Cx>(&mut self, client: &mut impl Client, wcx: &mut WriteContext<'_>, cx: &mut Cx) -> Step
    where
        R: Source<Cx>,
    {
        if self.head_written {
            return self.pull(client, wcx, cx);
        }
        let mut writer = ResponseWriter::new(&mut self.encoder, wcx.date, wcx.render);
        writer.add_site_fields(wcx.site);
        let head_written = self.source.head(&mut |reply| writer.head(reply).map(|()| writer.len()), cx);
        let (len, status) = (writer.len(), writer.status());
        let head = wcx.render.get(..len).unwrap_or_default();
        match head_written {
            HeadProgress::Nothing => return Step::Nothing,
            HeadProgress::Moved => {}
            HeadProgress::Failed(refusal) => return Step::Failed(refusal),
            HeadProgress::Interim => client.send(head, 0),
            HeadProgress::Final(hold) => {
                (self.head_written, self.status) = (true, status);
                match hold {
                    None => client.send(head, 0),
                    Some(hold) => {
                        let first = FirstBuffer::new(wcx.buffers.take(), head, hold.length, wcx.now);
                        self.first = Some(Box::new(first));
                    }
                }
            }
        }
        Step::Moved
    }

    /// Pulls a piece of content.
    fn pull<Cx>(&mut self, client: &mut impl Client, wcx: &mut WriteContext<'_>, cx: &mut Cx) -> Step
    where
        R: Source<Cx>,
    {
        let ready = self.source.ready(cx);
        let available = match ready {
            Ready::Nothing => return Step::Nothing,
            Ready::Finished if self.first.is_some() => {
                self.release(client, wcx.buffers);
                return Step::Moved;
            }
            Ready::Finished => return Step::Finished,
            Ready::End => 0,
            Ready::Bytes(bytes) => bytes,
        };
        let overhead = self.encoder.overhead();
        let room = match &self.first {
            Some(first) => first.room(),
            None => client.room(available + overhead),
        };
        let Some(room) = room.checked_sub(overhead).filter(|room| *room > 0 || ready == Ready::End) else {
            if self.first.is_none() {
                return Step::Nothing;
            }
            self.release(client, wcx.buffers);
            return Step::Moved;
        };
        let together = overhead > 0 && self.first.is_none() && client.prefers_merged_writes();
        let room = if together { room.min(wcx.render.len().saturating_sub(overhead)) } else { room };
        let (encoder, render, now) = (&mut self.encoder, &mut *wcx.render, wcx.now);
        let first = &mut self.first;
        // Everything fits: no more is pulled than there is room for.
        let mut put = |content: &[u8], last: bool| {
            let around = encoder.data(content.len(), last);
            let parts = [around.before(), content, around.after];
            match first {
                Some(first) => parts.into_iter().for_each(|part| first.put(part, now)),
                None if together => {
                    let mut out = Sink::new(render);
                    let fits = parts.into_iter().try_for_each(|part| out.put(part));
                    debug_assert!(fits.is_ok(), "a piece is shorter than the buffer");
                    client.write(out.written());
                }
                None => parts.into_iter().filter(|part| !part.is_empty()).for_each(|part| client.write(part)),
            }
        };
        match self.source.pull(room, &mut put, cx) {
            PullProgress::Nothing => Step::Nothing,
            PullProgress::Moved => Step::Moved,
            PullProgress::Failed(refusal) => Step::Failed(refusal),
            PullProgress::Ended => {
                let end = self.encoder.end();
                match &mut self.first {
                    Some(first) => first.put(end, now),
                    None => client.write(end),
                }
                Step::Moved
            }
        }
    }

    /// Sends the held bytes. The source cannot start over afterwards.
    fn release(&mut self, client: &mut impl Client, buffers: &mut BufferPool) {
        let Some(first) = self.first.take() else { return };
        let bytes = first.into_bytes();
        client.send(&bytes, 0);
        buffers.recycle(bytes);
    }

    fn drop_first(&mut self, buffers: &mut BufferPool) {
        if let Some(first) = self.first.take() {
            buffers.recycle(first.into_bytes());
        }
    }
}
