//! One client connection: requests in, responses out, one at a time and in order (RFC 9112 §9.3.2).

mod timer;

use super::body::Body;
use super::budget::Lease;
use super::env::Env;
use super::exchange::{Exchange, Status};
use super::gate::Gate;
use super::journal::Journal;
use super::request::{Decision, Desk, Secure, decide};
use super::wire::{self, Wire};
use crate::flow::Direction;
use crate::http::request::{Parsed, Progress, parse};
use crate::http::{Refusal, Sink, error};
use crate::pool::{LinkId, Requester};
use crate::reason::Reason;
use crate::settings::Verbosity;
use crate::tcp::{FlowKey, Socket, State};
use crate::time::Instant;
use crate::tls::{ClientCertificate, Connection};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use netdrv::stream::{CloseReason, StreamTransport};
use timer::{Timer, TimerKind};

/// Content nobody wants is read so far to keep the connection; beyond that, closing it is cheaper.
const MAX_DRAIN: u64 = 256 << 10;

/// Content up to here goes into one record with its head over TLS: a record costs more than a copy.
const MAX_JOINED: usize = 4 << 10;

/// The state of one client connection beside its socket.
#[derive(Default)]
pub(super) struct Session<'b> {
    phase: Phase<'b>,
    /// A head that does not fit the receive buffer in one piece, so far.
    head: Option<Gathered>,
    progress: Progress,
    gate: Gate,
    journal: Journal,
    /// Index of the site that the last request was for: its rules are the connection's.
    site: Option<u16>,
    /// Requests answered on this connection.
    served: u32,
    timer: Timer,
    /// When MinSendRate ends it.
    too_slow_at: Option<Instant>,
    /// It stands in the shard's queue.
    pub(super) queued: bool,
    /// It has been looked at.
    opened: bool,
    /// Boxed: without TLS it is not to cost anything.
    security: Option<Box<Secured>>,
    tls: Option<Box<Connection>>,
}

/// What a session keeps of its TLS.
struct Secured {
    _memory: Lease,
    handshaking: bool,
    /// It could go on, but others come first.
    waits: bool,
    counted: bool,
    site: usize,
    client: Option<Arc<ClientCertificate>>,
}

struct Gathered {
    bytes: Vec<u8>,
    _lease: Lease,
}

#[derive(Default)]
enum Phase<'b> {
    /// Waiting for a head.
    #[default]
    Head,
    /// Sending content from memory.
    Respond { content: &'b [u8], keep_alive: bool, drain: Body },
    /// Reading content that nobody wants.
    Drain { content: Body, read: u64 },
    /// Waiting for or served by a worker.
    Forward(Box<Exchange>),
    /// Our FIN is on its way; whatever still arrives is thrown away.
    Linger,
}

/// What became of the bytes of a head.
enum Head<'b> {
    Wait,
    Gathered,
    Decided(Decision<'b>),
}

/// What one step did.
enum Step {
    /// Something changed: look again.
    Again,
    /// Nothing to do before something arrives or leaves.
    Wait,
}

impl<'b> Session<'b> {
    /// Neither a request nor a response is under way, not even in the socket's buffers.
    pub(super) fn is_idle(&self, socket: &Socket<'_>) -> bool {
        matches!(self.phase, Phase::Head)
            && self.served > 0
            && self.head.is_none()
            && socket.recv_queue() == 0
            && self.tls.as_ref().is_none_or(|tls| !tls.holds_input() && tls.output().is_empty())
            && socket.send_queue() == 0
    }

    fn head_begun(&self, socket: &Wire<'_, '_>) -> bool {
        self.head.is_some() || !socket.is_read()
    }

    /// Its TLS handshake could go on at once.
    pub(super) fn waits_for_turn(&self) -> bool {
        self.security.as_ref().is_some_and(|security| security.waits)
    }

    /// When this connection's timer fires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let release = match &self.phase {
            Phase::Forward(exchange) => exchange.release_at(),
            _ => None,
        };
        [self.timer.deadline, self.too_slow_at, release].into_iter().flatten().min()
    }

    /// `flow` lets it move so many bytes more.
    pub(super) fn grant(&mut self, direction: Direction, bytes: usize) {
        self.gate.grant(direction, bytes);
    }

    pub(super) fn on_assigned(&mut self, link: LinkId) -> bool {
        match &mut self.phase {
            Phase::Forward(exchange) => exchange.on_assigned(link),
            _ => return false,
        }
        true
    }

    pub(super) fn on_link_ended(&mut self, reason: CloseReason) {
        if let Phase::Forward(exchange) = &mut self.phase {
            exchange.on_link_ended(reason);
        }
    }

    /// The pool will not serve the request that waits in its queue.
    pub(super) fn on_refused<S: StreamTransport>(
        &mut self,
        reason: Reason,
        socket: &mut Socket<'_>,
        env: &mut Env<'b, S>,
    ) {
        if matches!(self.phase, Phase::Forward(_)) {
            let mut wire = Wire::join(socket, &mut self.tls, env);
            self.refuse(Refusal::new(503, reason), &mut wire, env);
            wire.part(&mut self.tls, env);
        }
    }

    /// Time is up for whatever it has in hand.
    pub(super) fn shut_down<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<'b, S>,
    ) {
        match self.phase {
            Phase::Linger => self.abort(me, socket, env),
            _ => self.cut_off(Reason::AppShutdown, me, socket, env),
        }
    }

    /// Ends the connection at once for a reason of ours.
    pub(super) fn cut_off<S: StreamTransport>(
        &mut self,
        reason: Reason,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<'b, S>,
    ) {
        env.counters.count(reason);
        self.journal.refused(None, reason, env);
        self.abort(me, socket, env);
    }

    /// Ends the connection at once, with RST.
    pub(super) fn abort<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<'b, S>,
    ) {
        self.abandon(me, env);
        socket.abort();
    }

    /// Gives back what the session holds elsewhere; its socket is gone or going.
    pub(super) fn abandon<S: StreamTransport>(&mut self, me: Requester, env: &mut Env<'b, S>) {
        let reason = match &mut self.phase {
            Phase::Forward(exchange) => {
                let reason = exchange.reason_if_dropped();
                self.journal.answered(exchange.status());
                exchange.abandon(me, env);
                Some(reason)
            }
            Phase::Respond { content, .. } if !content.is_empty() || !self.gate.is_empty() => {
                Some(Reason::ConnectionDropped)
            }
            _ => None,
        };
        if let Some(reason) = reason {
            env.counters.count(reason);
            self.journal.refused(None, reason, env);
        }
        self.close_journal(false, env);
        self.phase = Phase::Linger;
        self.drop_head(env);
        self.end_handshake(me, env);
    }

    /// The request is done with.
    fn close_journal<S>(&mut self, complete: bool, env: &mut Env<'b, S>) {
        let (sent, content) = self.gate.totals();
        self.journal.close(complete, sent, content, env);
    }

    fn drop_head<S>(&mut self, env: &mut Env<'b, S>) {
        self.progress = Progress::default();
        if let Some(gathered) = self.head.take() {
            env.recycle(gathered.bytes);
        }
    }

    /// Does all that can be done now.
    pub(super) fn run<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Socket<'_>,
        env: &mut Env<'b, S>,
    ) {
        self.gate.name(me);
        self.journal.name(key, &env.log);
        if !self.opened {
            self.opened = true;
            if env.security.is_secure(key.local_port) && !self.open_tls(me, key.local_port, env) {
                return socket.abort();
            }
        }
        let mut wire = Wire::join(socket, &mut self.tls, env);
        self.run_on(me, key, &mut wire, env);
        wire.part(&mut self.tls, env);
    }

    fn run_on<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
    ) {
        let mut moved = self.check_silence(me, socket, env);
        loop {
            if matches!(socket.state(), State::Closed | State::Listen) {
                return self.abandon(me, env);
            }
            let ready = self.advance_tls(me, socket, env) && socket.flush() && self.gate.flush(socket, env);
            let step = if ready { self.step(me, key, socket, env, &mut moved) } else { Step::Wait };
            match step {
                Step::Again => moved = true,
                Step::Wait => break,
            }
        }
        self.set_timer(socket, env, moved);
        self.too_slow_at = self.gate.deadline(socket, env);
        if self.too_slow_at.is_some_and(|deadline| deadline <= env.now) {
            env.flow.count_too_slow(self.gate.conn());
            self.cut_off(Reason::TimerMinBytesPerSecond, me, socket.socket, env);
        } else if self.timer.deadline.is_some_and(|deadline| deadline <= env.now) {
            self.on_timer(me, socket, env);
        }
    }

    fn step<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
        moved: &mut bool,
    ) -> Step {
        match &mut self.phase {
            Phase::Head => self.receive_head(me, key, socket, env),
            Phase::Respond { content, .. } if !content.is_empty() => {
                self.gate.open(content.len(), socket, env);
                match self.gate.write(socket, content) {
                    0 => Step::Wait,
                    n => {
                        *content = &content[n..];
                        Step::Again
                    }
                }
            }
            Phase::Respond { keep_alive, drain, .. } => {
                let (keep_alive, drain) = (*keep_alive, drain.clone());
                self.finish_response(keep_alive, drain, socket, env)
            }
            Phase::Drain { content, read } => {
                let gate = &mut self.gate;
                let step = socket.recv(|input| {
                    let admitted = gate.admit(content.wanted(input.len()), env);
                    match content.read(&input[..admitted]) {
                        Ok(span) => {
                            gate.took(span.consumed);
                            (span.consumed, Ok(span.consumed))
                        }
                        Err(error) => (0, Err(error)),
                    }
                });
                match step {
                    Ok(Ok(0)) if !content.is_finished() => Step::Wait,
                    Ok(Ok(n)) if *read + n as u64 <= MAX_DRAIN => {
                        *read += n as u64;
                        if content.is_finished() {
                            self.phase = Phase::Head;
                        }
                        Step::Again
                    }
                    _ => self.close(socket),
                }
            }
            Phase::Forward(exchange) => {
                let (status, progress) = exchange.run(me, socket, &mut self.gate, env);
                *moved |= progress;
                self.settle(status, socket, env)
            }
            Phase::Linger => match socket.discard() {
                0 => Step::Wait,
                _ => Step::Again,
            },
        }
    }

    /// Does what the state of an exchange calls for.
    fn settle<S: StreamTransport>(
        &mut self,
        status: Status,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
    ) -> Step {
        match status {
            Status::Waiting => Step::Wait,
            Status::Done { keep_alive, drain } => self.finish_response(keep_alive, drain, socket, env),
            Status::Failed(refusal) => self.refuse(refusal, socket, env),
            Status::Broken(reason) => {
                // Truncation must be visible: a FIN would look like an end to a client that reads until close.
                env.counters.truncated += 1;
                env.counters.count(reason);
                if let Phase::Forward(exchange) = &self.phase {
                    self.journal.answered(exchange.status());
                }
                self.journal.refused(None, reason, env);
                self.close_journal(false, env);
                self.phase = Phase::Linger;
                socket.abort();
                Step::Wait
            }
        }
    }

    /// Takes a request from a worker that was silent for too long. True if so.
    fn check_silence<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
    ) -> bool {
        if self.timer.kind != TimerKind::Response || self.timer.deadline.is_none_or(|at| at > env.now) {
            return false;
        }
        let Phase::Forward(exchange) = &mut self.phase else { return false };
        let Some(status) = exchange.on_silence(me, env) else { return true };
        self.settle(status, socket, env);
        true
    }

    /// Takes the next head from the socket: in place while it is there in one piece, else through a buffer.
    fn receive_head<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
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
            match parse(bytes, limits, &mut env.path, &mut self.progress) {
                Parsed::Complete { mut head, len } => {
                    head.keep_alive &= !env.drain.has_begun();
                    let client = self.security.as_ref().and_then(|security| security.client.as_deref());
                    self.journal.open(&head, len, client, &mut env.log, &env.records);
                    let secured = self.security.as_ref().zip(env.security.store());
                    let secure =
                        secured.map(|(security, store)| Secure { site: security.site, client, store });
                    let desk = Desk {
                        serving: &env.serving,
                        flow: &mut env.flow,
                        journal: &mut self.journal,
                        render: &mut env.render,
                        conn: self.gate.conn(),
                        now: env.now,
                        head_len: len,
                        site: &mut self.site,
                        redirects: &env.security.redirects,
                        secure,
                    };
                    (len - before, Head::Decided(decide(&head, key, desk)))
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
            Ok(Head::Wait) => return Step::Wait,
            Ok(Head::Gathered) => return Step::Again,
            Ok(Head::Decided(decision)) => decision,
            // The client sends nothing more.
            Err(_) => return self.close(socket),
        };
        self.drop_head(env);
        self.gate.begin();
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
            Decision::Respond { head_len, content, keep_alive, drain } => {
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

    fn finish_response<S>(
        &mut self,
        keep_alive: bool,
        drain: Body,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
    ) -> Step {
        self.gate.end(env);
        if let Phase::Forward(exchange) = &self.phase {
            self.journal.answered(exchange.status());
        }
        self.close_journal(true, env);
        self.served = self.served.saturating_add(1);
        if !keep_alive || env.drain.has_begun() {
            return self.close(socket);
        }
        self.phase = if drain.is_finished() { Phase::Head } else { Phase::Drain { content: drain, read: 0 } };
        Step::Again
    }

    /// Answers an error and closes (HTTP.sys closes after every error it answers itself).
    fn refuse<S: StreamTransport>(
        &mut self,
        refusal: Refusal,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<'b, S>,
    ) -> Step {
        env.counters.count(refusal.reason);
        self.journal.refused(Some(refusal.status), refusal.reason, env);
        let (to_head, verbosity) = match &self.phase {
            Phase::Forward(exchange) if refusal.status == 503 => {
                (exchange.answers_head(), env.pools.verbosity(exchange.pool()))
            }
            Phase::Forward(exchange) => (exchange.answers_head(), Verbosity::Limited),
            // Who is refused for a certificate or a name is told which.
            _ if matches!(refusal.status, 403 | 421) => (false, Verbosity::Full),
            _ => (false, Verbosity::Limited),
        };
        match verbosity {
            Verbosity::Basic => {
                self.close_journal(false, env);
                self.phase = Phase::Linger;
                socket.abort();
                return Step::Wait;
            }
            Verbosity::Full => {
                let mut out = Sink::new(&mut env.render);
                let written = error::write_detailed(refusal, to_head, &mut out).map_or(0, |()| out.len());
                self.gate.send_rendered(socket, written, 0, env);
            }
            Verbosity::Limited if to_head => {
                self.gate.send(socket, error::response_to_head(refusal.status), 0, env);
            }
            Verbosity::Limited => self.gate.send(socket, error::response(refusal.status), 0, env),
        }
        self.phase = Phase::Respond { content: &[], keep_alive: false, drain: Body::NONE };
        Step::Again
    }

    /// Sends FIN after everything that was written. What the client still sends is read for a while, since a RST
    /// in answer to it could destroy the response before the client has read it (RFC 9112 §9.6).
    fn close(&mut self, socket: &mut Wire<'_, '_>) -> Step {
        socket.close();
        self.phase = Phase::Linger;
        Step::Again
    }

    fn is_handshaking(&self) -> bool {
        self.security.as_ref().is_some_and(|security| security.handshaking)
    }

    /// Begins TLS. False if there is no memory for it.
    fn open_tls<S>(&mut self, me: Requester, port: u16, env: &mut Env<'b, S>) -> bool {
        let Some(memory) = env.security.open(me) else {
            env.counters.count(Reason::ConnectionsRefused);
            self.journal.refused(None, Reason::ConnectionsRefused, env);
            self.phase = Phase::Linger;
            return false;
        };
        let (waits, counted, site, client) = (false, false, 0, None);
        let secured = Secured { _memory: memory, handshaking: true, waits, counted, site, client };
        self.security = Some(Box::new(secured));
        self.tls = Some(Box::new(Connection::new(port)));
        true
    }

    /// Takes the TLS handshake as far as it goes. True if the session may go on: without TLS, or when the handshake is over.
    fn advance_tls<S>(&mut self, me: Requester, socket: &mut Wire<'_, '_>, env: &mut Env<'b, S>) -> bool {
        let (Some(security), Some(tls)) = (&mut self.security, &mut socket.tls) else { return true };
        if !security.handshaking {
            if let Some(fault) = tls.fault().filter(|_| !security.counted) {
                security.counted = true;
                env.security.count(fault);
            }
            return true;
        }
        security.waits = socket.socket.recv_queue() > 0 && !env.security.take_turn();
        if security.waits {
            return false;
        }
        let ended = wire::pull(socket.socket, tls, env.security.store());
        if tls.is_open() {
            let counters = &mut env.security.counters;
            counters.handshakes += 1;
            counters.resumed += u64::from(tls.is_resumed());
            counters.tls12 += u64::from(tls.version() == Some(rustls::ProtocolVersion::TLSv1_2));
            security.site = tls.site();
            security.client = tls.client().cloned();
        } else if let Some(fault) = tls.fault() {
            security.counted = true;
            env.security.count(fault);
            self.close(socket);
        } else if ended {
            self.close(socket);
        } else {
            socket.flush();
            return false;
        }
        self.end_handshake(me, env);
        true
    }

    fn end_handshake<S>(&mut self, me: Requester, env: &mut Env<'b, S>) {
        if let Some(security) = &mut self.security
            && security.handshaking
        {
            security.handshaking = false;
            security.waits = false;
            env.security.end_handshake(me);
        }
    }
}
