//! One client connection: requests in, responses out, one at a time and in order (RFC 9112 §9.3.2).

pub(crate) mod drain;
mod ending;
mod gate;
mod handshake;
mod head;
mod outlet;
mod passed_on;
pub(crate) mod security;
pub(crate) mod shared;
mod timer;
mod wire;

use crate::exchange::client::{Client, NoContent};
use crate::exchange::forward::Forward;
use crate::exchange::journal::Journal;
use crate::exchange::{Desk, Exchange, Origin, Status};
use crate::flow::Direction;
use crate::http::h1::request::Progress;
use crate::http::h1::{Body, Encoder};
use crate::http::{Encode, Fields, Refusal, Reset};
use crate::hub::Hub;
use crate::tcp::{ConnId, FlowKey, Socket, State};
use crate::time::Instant;
use crate::tls::ServerTls;
use crate::upstream::{ExchangeId, LinkId};
use alloc::boxed::Box;
use gate::{Gate, Traffic};
use handshake::Secured;
use head::Gathered;
use model::id::SiteId;
use model::reason::Reason;
use netdrv::stream::CloseReason;
use outlet::Outlet;
use passed_on::PassedOn;
use shared::Shared;
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
    /// What is still to be read of the request's content.
    content: Body,
    gate: Gate,
    journal: Journal,
    /// Index of the site that the last request was for: its rules are the connection's.
    site: Option<SiteId>,
    /// The request under way is HEAD: no answer to it has content.
    to_head: bool,
    /// Requests answered on this connection.
    served: u32,
    /// Number of the request under way.
    stream: u32,
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
    /// A request is under way.
    Exchange(Exchange<Encoder, Origin>),
    /// Reading content that nobody wants, so many bytes so far.
    Drain { read: u64 },
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
            Phase::Exchange(exchange) => exchange.release_at(),
            _ => None,
        };
        [self.timer.deadline, self.too_slow_at, release].into_iter().flatten().min()
    }

    /// `flow` lets it move so many bytes more.
    pub(crate) fn grant(&mut self, direction: Direction, bytes: usize) {
        self.gate.grant(direction, bytes);
    }

    /// Names the request under way.
    fn exchange_id(&self, me: ConnId) -> ExchangeId {
        ExchangeId { connection: me, stream: self.stream }
    }

    /// This request's part at a worker, if it is under way there.
    fn at_worker(&mut self, stream: u32) -> Option<&mut Forward> {
        if stream != self.stream {
            return None;
        }
        self.origin_mut().and_then(Origin::worker_mut)
    }

    /// False if the request that waited for the link has gone.
    pub(crate) fn on_assigned(&mut self, stream: u32, link: LinkId) -> bool {
        self.at_worker(stream).map(|forward| forward.on_assigned(link)).is_some()
    }

    pub(crate) fn on_link_ended(&mut self, stream: u32, reason: CloseReason) {
        if let Some(forward) = self.at_worker(stream) {
            forward.on_link_ended(reason);
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match &self.phase {
            Phase::Exchange(exchange) => Some(exchange.source()),
            _ => None,
        }
    }

    fn origin_mut(&mut self) -> Option<&mut Origin> {
        match &mut self.phase {
            Phase::Exchange(exchange) => Some(exchange.source_mut()),
            _ => None,
        }
    }

    /// The pool will not serve the request that waits in its queue.
    pub(crate) fn on_refused<H: Hub>(
        &mut self,
        stream: u32,
        reason: Reason,
        socket: &mut Socket<'_>,
        shared: &mut Shared<H>,
    ) {
        if self.at_worker(stream).is_some() {
            let mut wire = Wire::join(socket, &mut self.tls, &mut shared.security);
            // Its worker was silent, and there is no other one.
            let status = if reason == Reason::TimerResponse { 504 } else { 503 };
            self.refuse(Refusal::new(status, reason), &mut wire, shared);
            wire.part(&mut self.tls, &mut shared.security);
        }
    }

    /// Does all that can be done now.
    pub(crate) fn run<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Socket<'_>,
        shared: &mut Shared<H>,
    ) {
        self.gate.name(me);
        self.journal.name(key, &shared.books.log);
        if !self.opened {
            self.opened = true;
            self.await_proxy(key.local_port, shared);
            if shared.security.is_secure(key.local_port) && !self.open_tls(me, key.local_port, shared) {
                return socket.abort();
            }
        }
        let mut wire = Wire::join(socket, &mut self.tls, &mut shared.security);
        self.run_on(me, key, &mut wire, shared);
        wire.part(&mut self.tls, &mut shared.security);
    }

    fn run_on<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) {
        let mut moved = self.check_silence(me, socket, shared);
        loop {
            if matches!(socket.state(), State::Closed | State::Listen) {
                return self.abandon(me, shared);
            }
            let ready = self.advance_proxy(me, key, socket, shared)
                && self.advance_tls(me, socket, shared)
                && socket.flush()
                && self.gate.flush(socket, &mut shared.traffic);
            let key = self.passed_on.key(key);
            let step = if ready { self.step(me, &key, socket, shared, &mut moved) } else { Step::Wait };
            match step {
                Step::Again => moved = true,
                Step::Wait => break,
            }
        }
        self.set_timer(socket, shared, moved);
        self.too_slow_at = self.gate.deadline(socket, &shared.traffic);
        if self.too_slow_at.is_some_and(|deadline| deadline <= shared.now) {
            shared.traffic.flow.count_too_slow(self.gate.conn());
            self.cut_off(Reason::TimerMinBytesPerSecond, me, socket.socket, shared);
        } else if self.timer.deadline.is_some_and(|deadline| deadline <= shared.now) {
            self.on_timer(me, socket, shared);
        }
    }

    fn step<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
        moved: &mut bool,
    ) -> Step {
        match &mut self.phase {
            Phase::Head => self.receive_head(me, key, socket, shared),
            Phase::Exchange(_) => self.advance_exchange(me, socket, shared, moved),
            Phase::Drain { read } => {
                let read = *read;
                match skip(&mut self.content, &mut self.gate, socket, &mut shared.traffic) {
                    Ok(0) if !self.content.is_finished() => Step::Wait,
                    Ok(n) if read + n as u64 <= MAX_DRAIN => {
                        let is_over = self.content.is_finished();
                        self.phase =
                            if is_over { Phase::Head } else { Phase::Drain { read: read + n as u64 } };
                        Step::Again
                    }
                    _ => self.close(socket),
                }
            }
            Phase::Linger => match socket.discard() {
                0 => Step::Wait,
                _ => Step::Again,
            },
        }
    }

    /// Takes the request under way as far as it goes.
    fn advance_exchange<H: Hub>(
        &mut self,
        me: ConnId,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
        moved: &mut bool,
    ) -> Step {
        let site = self.hsts_site(socket);
        let is_last = shared.drain.has_begun();
        let (now, id) = (shared.now, self.exchange_id(me));
        let mut parts = shared.parts(id);
        let Phase::Exchange(exchange) = &mut self.phase else { return Step::Wait };
        if is_last {
            exchange.encoder().make_last();
        }
        let mut client =
            Outlet { wire: socket, gate: &mut self.gate, traffic: parts.traffic, content: &mut self.content };
        let site = site.and_then(|site| parts.security.store()?.hsts(site)).unwrap_or_default();
        let site = Fields::prepared(site);
        let mut desk = Desk { render: parts.render, buffers: parts.buffers, date: parts.date, site, now };
        let (status, progress) = exchange.run(&mut client, &mut desk, &mut parts.workers);
        *moved |= progress;
        self.settle(status, socket, shared)
    }

    /// Does what the state of an exchange calls for.
    fn settle<H: Hub>(&mut self, status: Status, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) -> Step {
        match status {
            Status::Waiting => Step::Wait,
            Status::Done => self.finish_response(socket, shared),
            Status::Failed(refusal) => self.refuse(refusal, socket, shared),
            Status::Broken(reason) => {
                shared.counters.truncated += 1;
                shared.counters.count(reason);
                let mut reset = Reset::Cut;
                if let Phase::Exchange(exchange) = &mut self.phase {
                    self.journal.answered(exchange.status());
                    reset = exchange.encoder().reset();
                }
                self.journal.refused(None, reason, &mut shared.books);
                self.close_journal(false, shared);
                match reset {
                    Reset::Cut => {
                        self.phase = Phase::Linger;
                        socket.abort();
                        Step::Wait
                    }
                    Reset::Says(bytes) => {
                        self.gate.send(socket, bytes, 0, &mut shared.traffic);
                        self.close(socket)
                    }
                }
            }
        }
    }

    /// Takes a request from a worker that was silent for too long. True if so.
    fn check_silence<H: Hub>(
        &mut self,
        me: ConnId,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> bool {
        if self.timer.kind != TimerKind::Response || self.timer.deadline.is_none_or(|at| at > shared.now) {
            return false;
        }
        let id = self.exchange_id(me);
        let Phase::Exchange(exchange) = &mut self.phase else { return false };
        let begun = exchange.has_begun();
        let Some(forward) = exchange.source_mut().worker_mut() else { return false };
        let parts = &mut shared.parts(id);
        let Some(lost) = forward.on_silence(begun, &mut parts.workers) else { return true };
        let status = exchange.settle(lost, parts.buffers);
        self.settle(status, socket, shared);
        true
    }
}

/// Reads content that nobody wants, as much as lies in one piece. Returns how many bytes.
fn skip(
    content: &mut Body,
    gate: &mut Gate,
    socket: &mut Wire<'_, '_>,
    traffic: &mut Traffic,
) -> Result<usize, NoContent> {
    let mut client = Outlet { wire: socket, gate, traffic, content };
    client.content(usize::MAX, &mut |content, _| content.len())
}
