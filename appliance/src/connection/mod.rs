//! One client connection: requests in, responses out, one at a time and in order (RFC 9112 §9.3.2).

pub(crate) mod drain;
mod ending;
pub(crate) mod gate;
mod handshake;
mod head;
mod passed_on;
pub(crate) mod security;
mod timer;
pub(crate) mod wire;

use crate::env::Env;
use crate::exchange::body::{Body, ContentError};
use crate::exchange::journal::Journal;
use crate::exchange::{Exchange, Status};
use crate::flow::Direction;
use crate::http::Refusal;
use crate::http::request::Progress;
use crate::tcp::{FlowKey, Socket, State};
use crate::time::Instant;
use crate::tls::ServerTls;
use crate::upstream::{LinkId, Requester};
use alloc::boxed::Box;
use gate::Gate;
use handshake::Secured;
use head::Gathered;
use model::id::SiteId;
use model::reason::Reason;
use netdrv::stream::{CloseReason, StreamTransport};
use passed_on::PassedOn;
use timer::{Timer, TimerKind};
use wire::Wire;

/// Content nobody wants is read so far to keep the connection; beyond that, closing it is cheaper.
const MAX_DRAIN: u64 = 256 << 10;

/// The state of one client connection beside its socket.
#[derive(Default)]
pub(crate) struct Connection {
    phase: Phase,
    head: Option<Gathered>,
    progress: Progress,
    gate: Gate,
    journal: Journal,
    /// Index of the site that the last request was for: its rules are the connection's.
    site: Option<SiteId>,
    /// The request under way is HEAD: no answer to it has content.
    to_head: bool,
    /// Requests answered on this connection.
    served: u32,
    timer: Timer,
    /// When MinSendRate ends it.
    too_slow_at: Option<Instant>,
    /// It stands in the shard's queue.
    pub(crate) queued: bool,
    /// It has been looked at.
    opened: bool,
    passed_on: PassedOn,
    /// Boxed: without TLS it is not to cost anything.
    security: Option<Box<Secured>>,
    tls: Option<Box<ServerTls>>,
}

#[derive(Default)]
enum Phase {
    /// Waiting for a head.
    #[default]
    Head,
    /// Sending content from memory.
    Respond { content: &'static [u8], keep_alive: bool, drain: Body },
    /// Reading content that nobody wants.
    Drain { content: Body, read: u64 },
    /// Waiting for or served by a worker.
    Forward(Box<Exchange>),
    /// Our FIN is on its way; whatever still arrives is thrown away.
    Linger,
}

/// What one step did.
enum Step {
    /// Something changed: look again.
    Again,
    /// Nothing to do before something arrives or leaves.
    Wait,
}

impl Connection {
    /// Neither a request nor a response is under way, not even in the socket's buffers.
    pub(crate) fn is_idle(&self, socket: &Socket<'_>) -> bool {
        matches!(self.phase, Phase::Head)
            && self.served > 0
            && self.head.is_none()
            && socket.recv_queue() == 0
            && self.tls.as_ref().is_none_or(|tls| !tls.holds_input() && tls.output().is_empty())
            && socket.send_queue() == 0
    }

    /// When this connection's timer fires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let release = match &self.phase {
            Phase::Forward(exchange) => exchange.release_at(),
            _ => None,
        };
        [self.timer.deadline, self.too_slow_at, release].into_iter().flatten().min()
    }

    /// `flow` lets it move so many bytes more.
    pub(crate) fn grant(&mut self, direction: Direction, bytes: usize) {
        self.gate.grant(direction, bytes);
    }

    pub(crate) fn on_assigned(&mut self, link: LinkId) -> bool {
        match &mut self.phase {
            Phase::Forward(exchange) => exchange.on_assigned(link),
            _ => return false,
        }
        true
    }

    pub(crate) fn on_link_ended(&mut self, reason: CloseReason) {
        if let Phase::Forward(exchange) = &mut self.phase {
            exchange.on_link_ended(reason);
        }
    }

    /// The pool will not serve the request that waits in its queue.
    pub(crate) fn on_refused<S: StreamTransport>(
        &mut self,
        reason: Reason,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        if matches!(self.phase, Phase::Forward(_)) {
            let mut wire = Wire::join(socket, &mut self.tls, env);
            // Its worker was silent, and there is no other one.
            let status = if reason == Reason::TimerResponse { 504 } else { 503 };
            self.refuse(Refusal::new(status, reason), &mut wire, env);
            wire.part(&mut self.tls, env);
        }
    }

    /// Does all that can be done now.
    pub(crate) fn run<S: StreamTransport>(
        &mut self,
        me: Requester,
        key: &FlowKey,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        self.gate.name(me);
        self.journal.name(key, &env.log);
        if !self.opened {
            self.opened = true;
            self.await_proxy(key.local_port, env);
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
        env: &mut Env<S>,
    ) {
        let mut moved = self.check_silence(me, socket, env);
        loop {
            if matches!(socket.state(), State::Closed | State::Listen) {
                return self.abandon(me, env);
            }
            let ready = self.advance_proxy(me, key, socket, env)
                && self.advance_tls(me, socket, env)
                && socket.flush()
                && self.gate.flush(socket, env);
            let key = self.passed_on.key(key);
            let step = if ready { self.step(me, &key, socket, env, &mut moved) } else { Step::Wait };
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
        env: &mut Env<S>,
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
            Phase::Drain { content, read } => match skip(content, &mut self.gate, socket, env) {
                Ok(Some(0)) if !content.is_finished() => Step::Wait,
                Ok(Some(n)) if *read + n as u64 <= MAX_DRAIN => {
                    *read += n as u64;
                    if content.is_finished() {
                        self.phase = Phase::Head;
                    }
                    Step::Again
                }
                _ => self.close(socket),
            },
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
        env: &mut Env<S>,
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
        env: &mut Env<S>,
    ) -> bool {
        if self.timer.kind != TimerKind::Response || self.timer.deadline.is_none_or(|at| at > env.now) {
            return false;
        }
        let Phase::Forward(exchange) = &mut self.phase else { return false };
        let Some(status) = exchange.on_silence(me, env) else { return true };
        self.settle(status, socket, env);
        true
    }
}

/// Reads content that nobody wants, as much as lies in one piece. Returns how many bytes, `None` if the client sends nothing
/// more.
fn skip<S>(
    content: &mut Body,
    gate: &mut Gate,
    socket: &mut Wire<'_, '_>,
    env: &mut Env<S>,
) -> Result<Option<usize>, ContentError> {
    let step = socket.recv(|input| {
        let admitted = gate.admit(content.wanted(input.len()), env);
        match content.read(&input[..admitted]) {
            Ok(span) => {
                gate.took(span.consumed);
                (span.consumed, Ok(Some(span.consumed)))
            }
            Err(error) => (0, Err(error)),
        }
    });
    step.unwrap_or(Ok(None))
}
