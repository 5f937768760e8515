//! From the bytes of a request head to what is done with the request.

use super::{Connection, Phase, Step, skip};
use crate::budget::Lease;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::exchange::body::Body;
use crate::exchange::decide::{Decision, Desk, Secure, decide};
use crate::http::request::{Parsed, Progress, parse};
use crate::http::{Refusal, error};
use crate::tcp::FlowKey;
use crate::upstream::Requester;
use alloc::vec::Vec;
use model::reason::Reason;
use netdrv::stream::StreamTransport;

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
    Decided(Decision),
}

impl Connection {
    pub(super) fn head_begun(&self, socket: &Wire<'_, '_>) -> bool {
        self.head.is_some() || !socket.is_read()
    }

    pub(super) fn drop_head<S>(&mut self, env: &mut Env<S>) {
        self.progress = Progress::default();
        if let Some(gathered) = self.head.take() {
            env.recycle(gathered.bytes);
        }
    }

    /// Takes the next head from the socket: in place while it is there in one piece, else through a buffer.
    pub(super) fn receive_head<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) -> Step {
        let (queued, capacity) = (socket.recv_queue(), socket.recv_capacity());
        let received = socket.recv(|input| {
            if input.is_empty() {
                return (0, Head::Wait);
            }
            self.journal.see(env.now);
            let limits = &env.serving.limits;
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
            match parse(bytes, limits, &mut env.path, &mut self.progress) {
                Parsed::Complete { mut head, len } => {
                    if env.drain.has_begun() {
                        head.make_last();
                    }
                    let client = self.security.as_ref().and_then(|security| security.client.as_deref());
                    self.journal.open(&head, len, client, &mut env.log, &env.records);
                    let secured = self.security.as_ref().zip(env.security.store());
                    let secure =
                        secured.map(|(security, store)| Secure { site: security.site, client, store });
                    let desk = Desk {
                        serving: &env.serving,
                        date: &env.date,
                        flow: &mut env.flow,
                        journal: &mut self.journal,
                        render: &mut env.render,
                        conn: self.gate.conn(),
                        now: env.now,
                        head_len: len,
                        site: &mut self.site,
                        secure,
                    };
                    let decision = decide(&head, key, desk).judged(&input[len - before..]);
                    (len - before, Head::Decided(decision))
                }
                Parsed::Refused(refusal) => {
                    self.journal.open_refused(bytes, &mut env.log, &env.records);
                    (piece.len(), Head::Decided(Decision::Refuse(refusal)))
                }
                // More of it fits behind what is there.
                Parsed::Partial if fresh && input.len() == queued && queued < capacity => (0, Head::Wait),
                Parsed::Partial => {
                    if fresh {
                        let Some(lease) = env.heads.lease(limits.max_request_bytes) else {
                            self.journal.open_refused(piece, &mut env.log, &env.records);
                            let refusal = Refusal::new(503, Reason::NotAvailable);
                            return (piece.len(), Head::Decided(Decision::Refuse(refusal)));
                        };
                        let mut bytes = env.buffer();
                        bytes.extend_from_slice(piece);
                        self.head = Some(Gathered { bytes, _lease: lease });
                    }
                    (piece.len(), Head::Gathered)
                }
            }
        });
        let decision = match received {
            Ok(Head::Wait) if env.drain.closes_idle(self.served) && !self.head_begun(socket) => {
                return self.close(socket);
            }
            Ok(Head::Wait) if socket.is_all() => return self.head_is_cut_off(socket, env),
            Ok(Head::Wait) => return Step::Wait,
            Ok(Head::Gathered) => return Step::Again,
            Ok(Head::Decided(decision)) => decision,
            // The client sends nothing more. What it began was gathered before.
            Err(_) if self.head.is_some() => return self.head_is_cut_off(socket, env),
            Err(_) => return self.close(socket),
        };
        self.drop_head(env);
        self.gate.begin();
        self.carry_out(decision, me, socket, env)
    }

    /// Reads what has arrived of content that nobody wants, before the answer: what is wrong with it decides on the answer,
    /// as it does where a worker gets the content. The receive buffer bounds it.
    fn read_unwanted<S>(
        &mut self,
        content: &mut Body,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) -> Result<(), Refusal> {
        while !content.is_finished() {
            match skip(content, &mut self.gate, socket, env) {
                Ok(Some(0)) => break,
                Ok(Some(_)) => {}
                Ok(None) => return Err(Refusal::new(400, Reason::ConnectionDropped)),
                Err(error) => return Err(error.refusal()),
            }
        }
        Ok(())
    }

    /// The client has ended its side in the middle of a head: there is nobody who could send the rest, and nothing to answer.
    fn head_is_cut_off<S>(&mut self, socket: &mut Wire<'_, '_>, env: &mut Env<S>) -> Step {
        env.counters.count(Reason::ConnectionDropped);
        self.journal.refused(None, Reason::ConnectionDropped, env);
        self.close_journal(false, env);
        self.drop_head(env);
        self.close(socket)
    }

    /// Begins what was decided about a request.
    fn carry_out<S: StreamTransport>(
        &mut self,
        decision: Decision,
        me: Requester,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) -> Step {
        match decision {
            Decision::Refuse(refusal) => {
                env.security.count_refusal(refusal.reason);
                return self.refuse(refusal, socket, env);
            }
            Decision::TooMany { head_len } => {
                env.counters.count(Reason::RequestRate);
                self.journal.refused(Some(429), Reason::RequestRate, env);
                self.gate.send_rendered(socket, head_len, 0, env);
                self.phase = Phase::Respond { content: &[], keep_alive: false, drain: Body::NONE };
                return Step::Again;
            }
            Decision::Respond { head_len, content, keep_alive, mut drain } => {
                if let Err(refusal) = self.read_unwanted(&mut drain, socket, env) {
                    return self.refuse(refusal, socket, env);
                }
                env.counters.served_from_memory += 1;
                self.journal.answered(error::status_of(&env.render));
                let joined = env.render.get_mut(head_len..head_len + content.len());
                let joined = joined.filter(|joined| socket.is_secure() && joined.len() <= MAX_JOINED);
                let (len, content) = match joined {
                    Some(place) => {
                        place.copy_from_slice(content);
                        (head_len + content.len(), &[][..])
                    }
                    None => (head_len, content),
                };
                self.gate.send_rendered(socket, len, content.len(), env);
                self.phase = Phase::Respond { content, keep_alive, drain };
            }
            Decision::Forward(mut exchange) => {
                let started = exchange.start(me, env);
                self.phase = Phase::Forward(exchange);
                if let Err(refusal) = started {
                    return self.refuse(refusal, socket, env);
                }
            }
        }
        env.counters.requests += 1;
        Step::Again
    }
}
