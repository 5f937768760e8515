//! Receives a request head, and starts what was decided about the request.

use super::shared::Shared;
use super::wire::Wire;
use super::{Connection, Phase, Step, skip};
use crate::budget::Lease;
use crate::exchange::client::ContentEnd;
use crate::exchange::decide::{Decision, Inputs, Next, Secure, decide};
use crate::exchange::source::Memory;
use crate::exchange::{Exchange, Origin};
use crate::http::Refusal;
use crate::http::h1::request::{Parsed, Progress, parse};
use crate::http::h1::{Body, Encoder};
use crate::hub::Hub;
use crate::serving::SiteSnapshot;
use crate::tcp::{ConnId, FlowKey};
use alloc::vec::Vec;
use model::reason::Reason;

/// Content up to this size, in bytes, shares a TLS record with its head: a record costs more than a copy.
const MAX_JOINED: usize = 4 << 10;

/// The start of a head that does not lie in the receive buffer in one piece.
pub(super) struct PartialHead {
    bytes: Vec<u8>,
    _lease: Lease,
}

/// Result of examining the bytes of a head.
enum Head {
    Wait,
    Partial,
    Decided(Next, Encoder),
}

impl Head {
    fn refused(refusal: Refusal) -> Self {
        Self::Decided(Next::Refuse(refusal), Encoder::of_refusal(false))
    }
}

impl Connection {
    pub(super) fn head_begun(&self, socket: &Wire<'_, '_>) -> bool {
        self.head.is_some() || !socket.input_is_drained()
    }

    pub(super) fn drop_head<H>(&mut self, shared: &mut Shared<H>) {
        self.progress = Progress::default();
        if let Some(partial) = self.head.take() {
            shared.buffers.recycle(partial.bytes);
        }
    }

    /// Receives the next head: in place if it lies in the socket in one piece, else through a buffer.
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
            self.journal.note_first_byte(&shared.logs);
            let limits = &shared.serving.limits;
            let fresh = self.head.is_none();
            let before = self.head.as_ref().map_or(0, |partial| partial.bytes.len());
            let piece = &input[..input.len().min((limits.max_request_bytes + 1).saturating_sub(before))];
            let bytes = match &mut self.head {
                None => piece,
                Some(partial) => {
                    partial.bytes.extend_from_slice(piece);
                    &partial.bytes[..]
                }
            };
            self.is_head = bytes.starts_with(b"HEAD ");
            match parse(bytes, limits, &mut shared.path, &mut self.progress) {
                Parsed::Complete { mut head, len } => {
                    if shared.drain.has_begun() {
                        head.make_last();
                    }
                    let client = self.security.as_ref().and_then(|security| security.client.as_deref());
                    self.journal.begin_record(&head, len, client, &mut shared.logs);
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
                    if let Some(site) = site {
                        self.snapshot = Some(SiteSnapshot::new(&shared.serving, site));
                    }
                    self.content = Body::of_request(head.framing, max_content);
                    // Invalid content that has already arrived is refused no matter who would answer.
                    let next = match self.content.check(&input[len - before..]) {
                        Err(error) if !matches!(next, Next::TooMany { .. }) => Next::Refuse(error.refusal()),
                        _ => next,
                    };
                    (len - before, Head::Decided(next, encoder))
                }
                Parsed::Refused(refusal) => {
                    self.journal.begin_refused(bytes, &mut shared.logs);
                    (piece.len(), Head::refused(refusal))
                }
                // There is room for the rest behind it.
                Parsed::Partial if fresh && input.len() == queued && queued < capacity => (0, Head::Wait),
                Parsed::Partial => {
                    if fresh {
                        let Some(lease) = shared.heads.lease(limits.max_request_bytes) else {
                            self.journal.begin_refused(piece, &mut shared.logs);
                            let refusal = Refusal::new(503, Reason::NotAvailable);
                            return (piece.len(), Head::refused(refusal));
                        };
                        let mut bytes = shared.buffers.take();
                        bytes.extend_from_slice(piece);
                        self.head = Some(PartialHead { bytes, _lease: lease });
                    }
                    (piece.len(), Head::Partial)
                }
            }
        });
        let (next, encoder) = match received {
            Ok(Head::Wait) if shared.drain.closes_idle(self.served) && !self.head_begun(socket) => {
                return self.close(socket);
            }
            Ok(Head::Wait) if socket.client_has_ended() => return self.head_is_cut_off(socket, shared),
            Ok(Head::Wait) => return Step::Wait,
            Ok(Head::Partial) => return Step::Again,
            Ok(Head::Decided(next, encoder)) => (next, encoder),
            // The client sends nothing more. A head that it began was copied before.
            Err(_) if self.head.is_some() => return self.head_is_cut_off(socket, shared),
            Err(_) => return self.close(socket),
        };
        self.drop_head(shared);
        self.gate.begin_response();
        self.execute(next, encoder, me, socket, shared)
    }

    /// Reads content that has already arrived and is not wanted before answering, since invalid content
    /// changes the answer, as it does when a worker receives it. Bounded by the receive buffer.
    fn read_unwanted<H>(
        &mut self,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Result<(), ContentEnd> {
        while !self.content.is_finished() {
            if skip(&mut self.content, &mut self.gate, socket, &mut shared.traffic)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Closes a connection on which the client sent FIN in the middle of a head. There is nothing to answer.
    fn head_is_cut_off<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) -> Step {
        shared.counters.count(Reason::ConnectionDropped);
        self.journal.refused(None, Reason::ConnectionDropped, &mut shared.logs);
        self.close_journal(false, shared);
        self.drop_head(shared);
        self.close(socket)
    }

    /// Starts what was decided about a request.
    fn execute<H: Hub>(
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
                self.journal.refused(Some(429), Reason::RequestRate, &mut shared.logs);
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

    /// Sends the rendered bytes; the rest of the content follows.
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
