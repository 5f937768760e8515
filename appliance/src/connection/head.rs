//! From the bytes of a request head to what is done with the request.

use super::shared::Shared;
use super::wire::Wire;
use super::{Connection, Phase, Step, skip};
use crate::budget::Lease;
use crate::exchange::client::NoContent;
use crate::exchange::decide::{Decision, Inputs, Next, Secure, decide};
use crate::exchange::source::Memory;
use crate::exchange::{Exchange, Origin};
use crate::http::Refusal;
use crate::http::h1::request::{Parsed, Progress, parse};
use crate::http::h1::{Body, Encoder};
use crate::hub::Hub;
use crate::tcp::{ConnId, FlowKey};
use alloc::vec::Vec;
use model::reason::Reason;

/// Content up to here goes into one record with its head over TLS: a record costs more than a copy.
const MAX_JOINED: usize = 4 << 10;

/// A head that does not fit the receive buffer in one piece, so far.
pub(super) struct Gathered {
    bytes: Vec<u8>,
    _lease: Lease,
}

/// What became of the bytes of a head.
enum Head {
    Wait,
    Gathered,
    Decided(Next, Encoder),
}

impl Head {
    fn refused(refusal: Refusal) -> Self {
        Self::Decided(Next::Refuse(refusal), Encoder::of_refusal(false))
    }
}

impl Connection {
    pub(super) fn head_begun(&self, socket: &Wire<'_, '_>) -> bool {
        self.head.is_some() || !socket.is_read()
    }

    pub(super) fn drop_head<H>(&mut self, shared: &mut Shared<H>) {
        self.progress = Progress::default();
        if let Some(gathered) = self.head.take() {
            shared.buffers.recycle(gathered.bytes);
        }
    }

    /// Takes the next head from the socket: in place while it is there in one piece, else through a buffer.
    pub(super) fn receive_head<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Step {
        let (queued, capacity) = (socket.recv_queue(), socket.recv_capacity());
        let received = socket.recv(|input| {
            if input.is_empty() {
                return (0, Head::Wait);
            }
            self.journal.see(&shared.books);
            let limits = &shared.serving.limits;
            let fresh = self.head.is_none();
            let before = self.head.as_ref().map_or(0, |gathered| gathered.bytes.len());
            let piece = &input[..input.len().min((limits.max_request_bytes + 1).saturating_sub(before))];
            let bytes = match &mut self.head {
                None => piece,
                Some(gathered) => {
                    gathered.bytes.extend_from_slice(piece);
                    &gathered.bytes[..]
                }
            };
            self.to_head = bytes.starts_with(b"HEAD ");
            match parse(bytes, limits, &mut shared.path, &mut self.progress) {
                Parsed::Complete { mut head, len } => {
                    if shared.drain.has_begun() {
                        head.make_last();
                    }
                    let client = self.security.as_ref().and_then(|security| security.client.as_deref());
                    self.journal.open(&head, len, client, &mut shared.books);
                    let secured = self.security.as_ref().zip(shared.security.store());
                    let secure =
                        secured.map(|(security, store)| Secure { site: security.site, client, store });
                    let mut encoder = Encoder::of(&head);
                    let inputs = Inputs {
                        serving: &shared.serving,
                        flow: &mut shared.traffic.flow,
                        journal: &mut self.journal,
                        encoder: &mut encoder,
                        date: &shared.date,
                        render: &mut shared.render,
                        conn: self.gate.conn(),
                        now: shared.now,
                        head_len: len,
                        secure,
                    };
                    let Decision { next, site, max_content } = decide(&head, key, inputs);
                    self.site = site.or(self.site);
                    self.content = Body::of_request(head.framing, max_content);
                    // Something may be wrong with what has arrived of the content, whoever is to answer.
                    let next = match self.content.judge(&input[len - before..]) {
                        Err(error) if !matches!(next, Next::TooMany { .. }) => Next::Refuse(error.refusal()),
                        _ => next,
                    };
                    (len - before, Head::Decided(next, encoder))
                }
                Parsed::Refused(refusal) => {
                    self.journal.open_refused(bytes, &mut shared.books);
                    (piece.len(), Head::refused(refusal))
                }
                // More of it fits behind what is there.
                Parsed::Partial if fresh && input.len() == queued && queued < capacity => (0, Head::Wait),
                Parsed::Partial => {
                    if fresh {
                        let Some(lease) = shared.heads.lease(limits.max_request_bytes) else {
                            self.journal.open_refused(piece, &mut shared.books);
                            let refusal = Refusal::new(503, Reason::NotAvailable);
                            return (piece.len(), Head::refused(refusal));
                        };
                        let mut bytes = shared.buffers.take();
                        bytes.extend_from_slice(piece);
                        self.head = Some(Gathered { bytes, _lease: lease });
                    }
                    (piece.len(), Head::Gathered)
                }
            }
        });
        let (next, encoder) = match received {
            Ok(Head::Wait) if shared.drain.closes_idle(self.served) && !self.head_begun(socket) => {
                return self.close(socket);
            }
            Ok(Head::Wait) if socket.is_all() => return self.head_is_cut_off(socket, shared),
            Ok(Head::Wait) => return Step::Wait,
            Ok(Head::Gathered) => return Step::Again,
            Ok(Head::Decided(next, encoder)) => (next, encoder),
            // The client sends nothing more. What it began was gathered before.
            Err(_) if self.head.is_some() => return self.head_is_cut_off(socket, shared),
            Err(_) => return self.close(socket),
        };
        self.drop_head(shared);
        self.gate.begin();
        self.carry_out(next, encoder, me, socket, shared)
    }

    /// Reads what has arrived of content that nobody wants, before the answer: what is wrong with it decides on the answer,
    /// as it does where a worker gets the content. The receive buffer bounds it.
    fn read_unwanted<H>(
        &mut self,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Result<(), NoContent> {
        while !self.content.is_finished() {
            if skip(&mut self.content, &mut self.gate, socket, &mut shared.traffic)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The client has ended its side in the middle of a head: there is nobody who could send the rest, and nothing to answer.
    fn head_is_cut_off<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) -> Step {
        shared.counters.count(Reason::ConnectionDropped);
        self.journal.refused(None, Reason::ConnectionDropped, &mut shared.books);
        self.close_journal(false, shared);
        self.drop_head(shared);
        self.close(socket)
    }

    /// Begins what was decided about a request.
    fn carry_out<H: Hub>(
        &mut self,
        next: Next,
        encoder: Encoder,
        me: ConnId,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Step {
        self.stream = self.stream.wrapping_add(1);
        match next {
            Next::Refuse(refusal) => {
                shared.security.count_refusal(refusal.reason);
                return self.refuse(refusal, socket, shared);
            }
            Next::TooMany { rendered } => {
                shared.counters.count(Reason::RequestRate);
                self.journal.refused(Some(429), Reason::RequestRate, &mut shared.books);
                self.content = Body::NONE;
                self.respond(encoder, (rendered, 429), &[], socket, shared);
                return Step::Again;
            }
            Next::Respond { rendered, status, content } => {
                if let Err(why) = self.read_unwanted(socket, shared) {
                    return self.refuse(why.refusal(), socket, shared);
                }
                shared.counters.served_from_memory += 1;
                self.journal.answered(status);
                self.respond(encoder, (rendered, status), content, socket, shared);
            }
            Next::Forward(mut forward) => {
                let started = forward.start(&mut shared.workers(self.exchange_id(me)));
                self.phase = Phase::Exchange(Exchange::new(encoder, Origin::Worker(forward)));
                if let Err(refusal) = started {
                    return self.refuse(refusal, socket, shared);
                }
            }
        }
        shared.counters.requests += 1;
        Step::Again
    }

    /// Sends what was rendered; the rest of the content follows.
    fn respond<H>(
        &mut self,
        encoder: Encoder,
        (rendered, status): (usize, u16),
        content: &'static [u8],
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) {
        let joined = shared.render.get_mut(rendered..rendered + content.len());
        let joined = joined.filter(|joined| socket.is_secure() && joined.len() <= MAX_JOINED);
        let (len, content) = match joined {
            Some(place) => {
                place.copy_from_slice(content);
                (rendered + content.len(), &[][..])
            }
            None => (rendered, content),
        };
        self.gate.send(socket, &shared.render[..len], content.len(), &mut shared.traffic);
        let source = Origin::Memory(Memory::new(content));
        self.phase = Phase::Exchange(Exchange::answered(encoder, source, status));
    }
}
