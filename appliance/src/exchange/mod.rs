//! One request and its response, whatever protocol the client speaks and wherever the response comes from.
//!
//! [`decide`] says where that is. Then the exchange pulls the response from its [`Source`], as far as the client has room, and
//! has the client's protocol ([`Encode`]) write it:
//!
//! ```text
//!  request ─► decide ─► Source ──head, content──► Exchange ──Encode──► Client ─► gate, TLS, socket
//!                          ▲                                              │
//!                          └───────────── the request's content ──────────┘
//! ```
//!
//! The beginning of a response that may yet come anew from another worker is held back here ([`FirstBuffer`]); until it is
//! released the client has seen nothing, and the source may start again.

pub(crate) mod client;
pub(crate) mod decide;
mod first_buffer;
pub(crate) mod forward;
pub(crate) mod journal;
mod origin;
pub(crate) mod source;

pub(crate) use origin::Origin;

use crate::budget::Buffers;
use crate::http::{Encode, Fields, Page, Refusal, Reply, Sink};
use crate::time::Instant;
use alloc::boxed::Box;
use client::Client;
use first_buffer::FirstBuffer;
use model::date::DateCache;
use model::reason::Reason;
use source::{Headed, Lost, Pulled, Ready, Source};

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It waits for its source or its client.
    Waiting,
    /// The response went out whole.
    Done,
    /// Nothing of a response was sent yet: answer this instead.
    Failed(Refusal),
    /// The response broke off after its first bytes were sent, or the client broke the rules: see [`Encode::reset`].
    Broken(Reason),
}

/// What responses are written with.
pub(crate) struct Desk<'d> {
    /// Heads are rendered here, and content is put together with what stands around it.
    pub(crate) render: &'d mut [u8],
    pub(crate) buffers: &'d mut Buffers,
    pub(crate) date: &'d DateCache,
    /// What the site says with each of its responses.
    pub(crate) site: Fields<'d>,
    pub(crate) now: Instant,
}

/// One request under way. `E` writes its response, `R` is where that comes from.
pub(crate) struct Exchange<E, R> {
    encoder: E,
    source: R,
    /// The final head was written.
    headed: bool,
    /// The front part of the response while nothing of it was sent to the client. Boxed: few have one.
    first: Option<Box<FirstBuffer>>,
    /// Status of the response; 0 while there is none.
    status: u16,
}

/// What one step of the response did.
enum Step {
    Nothing,
    Moved,
    Finished,
    Failed(Refusal),
}

impl<E: Encode, R> Exchange<E, R> {
    /// An exchange whose response is still to come.
    pub(crate) const fn new(encoder: E, source: R) -> Self {
        Self { encoder, source, headed: false, first: None, status: 0 }
    }

    /// An exchange whose head, of this status, was sent.
    pub(crate) const fn answered(encoder: E, source: R, status: u16) -> Self {
        Self { encoder, source, headed: true, first: None, status }
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

    /// When something has to be sent to the client even if nothing arrives.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.first.as_ref().map(|first| first.release_at())
    }

    /// Status of the response, 0 if the client has got nothing of it.
    pub(crate) fn status(&self) -> u16 {
        if self.has_begun() { self.status } else { 0 }
    }

    /// The client has got a part of the response.
    pub(crate) fn has_begun(&self) -> bool {
        self.headed && self.first.is_none()
    }

    /// Its source has nothing more to give: the response is out, but for what the client has yet to take.
    pub(crate) fn is_sent<Cx>(&self, cx: &Cx) -> bool
    where
        R: Source<Cx>,
    {
        self.headed && self.source.ready(cx) == Ready::Finished
    }

    /// Gives up the source: the client has gone, or is to be told something else.
    pub(crate) fn abandon<Cx>(&mut self, buffers: &mut Buffers, cx: &mut Cx)
    where
        R: Source<Cx>,
    {
        self.source.abandon(cx);
        self.drop_first(buffers);
    }

    /// Moves whatever can be moved. Second value: whether any byte did.
    pub(crate) fn run<Cx>(
        &mut self,
        client: &mut impl Client,
        desk: &mut Desk<'_>,
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
                    self.abandon(desk.buffers, cx);
                    return (status, true);
                }
            };
            if fed.asks {
                self.ask_for_content(client, desk);
            }
            let step = if client.is_blocked() { Step::Nothing } else { self.respond(client, desk, cx) };
            moved |= fed.moved || !matches!(step, Step::Nothing);
            match step {
                Step::Moved => {}
                Step::Failed(refusal) => return (self.failed(refusal, desk.buffers), true),
                Step::Finished => {
                    self.source.finish(cx);
                    return (Status::Done, true);
                }
                Step::Nothing if fed.over => {
                    self.source.finish(cx);
                    return (Status::Done, true);
                }
                Step::Nothing => {
                    let lost =
                        if client.is_blocked() { None } else { self.source.lost(self.has_begun(), cx) };
                    if let Some(lost) = lost {
                        return (self.settle(lost, desk.buffers), true);
                    }
                    if self.release_at().is_some_and(|at| at <= desk.now) {
                        self.release(client, desk.buffers);
                        moved = true;
                    } else if !fed.moved {
                        return (Status::Waiting, moved);
                    }
                }
            }
        }
    }

    /// Does what it means that the source is lost.
    pub(crate) fn settle(&mut self, lost: Lost, buffers: &mut Buffers) -> Status {
        match lost {
            Lost::For(refusal) => self.failed(refusal, buffers),
            Lost::Again => {
                self.drop_first(buffers);
                (self.headed, self.status) = (false, 0);
                Status::Waiting
            }
        }
    }

    fn failed(&mut self, refusal: Refusal, buffers: &mut Buffers) -> Status {
        let status = self.fail(refusal);
        self.drop_first(buffers);
        status
    }

    /// The error to show: a response if the client got nothing, a response that breaks off otherwise.
    fn fail(&self, refusal: Refusal) -> Status {
        if self.has_begun() { Status::Broken(refusal.reason) } else { Status::Failed(refusal) }
    }

    fn ask_for_content(&mut self, client: &mut impl Client, desk: &mut Desk<'_>) {
        let mut page = Page::new(&mut self.encoder, desk.date, desk.render);
        // There is room: the buffer holds the longest head there is.
        if page.head(&Reply::CONTINUE).is_ok() {
            let len = page.len();
            client.send(desk.render.get(..len).unwrap_or_default(), 0);
        }
    }

    /// Takes one step: a head, or a piece of content.
    fn respond<Cx>(&mut self, client: &mut impl Client, desk: &mut Desk<'_>, cx: &mut Cx) -> Step
    where
        R: Source<Cx>,
    {
        if self.headed {
            return self.pull(client, desk, cx);
        }
        let mut page = Page::new(&mut self.encoder, desk.date, desk.render);
        page.of_site(desk.site);
        let headed = self.source.head(&mut |reply| page.head(reply).map(|()| page.len()), cx);
        let (len, status) = (page.len(), page.status());
        let head = desk.render.get(..len).unwrap_or_default();
        match headed {
            Headed::Nothing => return Step::Nothing,
            Headed::Moved => {}
            Headed::Failed(refusal) => return Step::Failed(refusal),
            Headed::Interim => client.send(head, 0),
            Headed::Final(hold) => {
                (self.headed, self.status) = (true, status);
                match hold {
                    None => client.send(head, 0),
                    Some(hold) => {
                        let first = FirstBuffer::new(desk.buffers.take(), head, hold.length, desk.now);
                        self.first = Some(Box::new(first));
                    }
                }
            }
        }
        Step::Moved
    }

    /// Takes a piece of content.
    fn pull<Cx>(&mut self, client: &mut impl Client, desk: &mut Desk<'_>, cx: &mut Cx) -> Step
    where
        R: Source<Cx>,
    {
        let ready = self.source.ready(cx);
        let available = match ready {
            Ready::Nothing => return Step::Nothing,
            Ready::Finished if self.first.is_some() => {
                self.release(client, desk.buffers);
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
            self.release(client, desk.buffers);
            return Step::Moved;
        };
        let together = overhead > 0 && self.first.is_none() && client.is_costly();
        let room = if together { room.min(desk.render.len().saturating_sub(overhead)) } else { room };
        let (encoder, render, now) = (&mut self.encoder, &mut *desk.render, desk.now);
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
            Pulled::Nothing => Step::Nothing,
            Pulled::Moved => Step::Moved,
            Pulled::Failed(refusal) => Step::Failed(refusal),
            Pulled::Ended => {
                let end = self.encoder.end();
                match &mut self.first {
                    Some(first) => first.put(end, now),
                    None => client.write(end),
                }
                Step::Moved
            }
        }
    }

    /// Sends what was held back; from here on the source cannot start again.
    fn release(&mut self, client: &mut impl Client, buffers: &mut Buffers) {
        let Some(first) = self.first.take() else { return };
        let bytes = first.into_bytes();
        client.send(&bytes, 0);
        buffers.recycle(bytes);
    }

    fn drop_first(&mut self, buffers: &mut Buffers) {
        if let Some(first) = self.first.take() {
            buffers.recycle(first.into_bytes());
        }
    }
}
