//! One client connection: requests in, responses out, one at a time and in order (RFC 9112 §9.3.2).

pub(crate) mod drain;
mod ending;
mod gate;
mod handshake;
mod head;
mod http1_client;
mod proxied_client;
pub(crate) mod security;
pub(crate) mod shared;
mod timer;
mod wire;

use crate::exchange::client::{Client, ContentEnd};
use crate::exchange::forward::Forward;
use crate::exchange::journal::Journal;
use crate::exchange::{Exchange, Origin, Status, WriteContext};
use crate::flow::Direction;
use crate::http::h1::request::Progress;
use crate::http::h1::{Body, Encoder};
use crate::http::{Encode, Fields, Refusal, Reset};
use crate::hub::Hub;
use crate::serving::{Rules, SiteSnapshot};
use crate::tcp::{ConnId, FlowKey, Socket, State};
use crate::time::Instant;
use crate::tls::ServerTls;
use crate::upstream::{ExchangeId, LinkId};
use alloc::boxed::Box;
use gate::{Gate, Traffic};
use handshake::ConnectionTls;
use head::PartialHead;
use http1_client::Http1Client;
use model::reason::Reason;
use netdrv::stream::CloseReason;
use proxied_client::ProxiedClient;
use shared::Shared;
use timer::{Timer, TimerKind};
use wire::Wire;

/// Unwanted content is read up to this many bytes to keep the connection; beyond that, closing is cheaper.
const MAX_DRAIN: u64 = 256 << 10;

/// State of one client connection beside its socket.
#[derive(Default)]
pub(crate) struct Connection {
    phase: Phase,
    head: Option<PartialHead>,
    progress: Progress,
    /// Framing of the request content still to be read.
    content: Body,
    gate: Gate,
    journal: Journal,
    /// Site of the last request, in the settings of that time: its rules apply to the connection.
    snapshot: Option<SiteSnapshot>,
    /// The current request is HEAD: no response to it has content.
    is_head: bool,
    /// Requests answered on this connection.
    served: u32,
    /// Number of the current request.
    stream: u32,
    timer: Timer,
    /// When MinSendRate ends the connection.
    too_slow_at: Option<Instant>,
    /// The connection is in the shard's queue.
    pub(crate) queued: bool,
    /// The connection has had its first turn.
    opened: bool,
    proxied_client: ProxiedClient,
    /// Boxed, so that connections without TLS pay nothing.
    security: Option<Box<ConnectionTls>>,
    tls: Option<Box<ServerTls>>,
}

#[derive(Default)]
enum Phase {
    /// Waiting for a request head.
    #[default]
    Head,
    /// A request is in progress.
    Exchange(Exchange<Encoder, Origin>),
    /// Discarding unwanted content, `read` bytes so far.
    Discard { read: u64 },
    /// FIN was sent; further input is discarded.
    Linger,
}

/// Result of one step.
enum Step {
    /// Something changed: step again.
    Again,
    /// Nothing to do before input arrives or output leaves.
    Wait,
}

impl Connection {
    /// Whether no request or response is in progress, not even in the socket's buffers.
    pub(crate) fn is_idle(&self, socket: &Socket<'_>) -> bool {
        matches!(self.phase, Phase::Head)
            && self.served > 0
            && self.head.is_none()
            && socket.recv_queue() == 0
            && self.tls.as_ref().is_none_or(|tls| !tls.holds_input() && tls.output().is_empty())
            && socket.send_queue() == 0
    }

    /// When the connection's timer fires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let release = match &self.phase {
            Phase::Exchange(exchange) => exchange.release_at(),
            _ => None,
        };
        Instant::earliest([self.timer.deadline, self.too_slow_at, release])
    }

    /// Adds a grant from `flow`.
    pub(crate) fn grant(&mut self, direction: Direction, bytes: usize) {
        self.gate.grant(direction, bytes);
    }

    /// Identifies the current request.
    fn exchange_id(&self, me: ConnId) -> ExchangeId {
        ExchangeId { connection: me, stream: self.stream }
    }

    /// The given request, if it is the current one and is forwarded to a worker.
    fn at_worker(&mut self, stream: u32) -> Option<&mut Forward> {
        if stream != self.stream {
            return None;
        }
        self.origin_mut().and_then(Origin::worker_mut)
    }

    /// Hands a link to the request that waited for it. False if the request has gone.
    pub(crate) fn on_assigned(&mut self, stream: u32, link: LinkId) -> bool {
        self.at_worker(stream).map(|forward| forward.on_assigned(link)).is_some()
    }

    pub(crate) fn on_link_ended(&mut self, stream: u32, reason: CloseReason) {
        if let Some(forward) = self.at_worker(stream) {
            forward.on_link_ended(reason);
        }
    }

    /// The rules for this connection: those of its last request's site, or the server's.
    fn rules<'r, H>(&'r self, shared: &'r Shared<H>) -> &'r Rules {
        self.snapshot.as_ref().map_or_else(|| shared.serving.rules(None), SiteSnapshot::rules)
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

    /// Refuses a request that the pool will not serve.
    pub(crate) fn on_refused<H: Hub>(
        &mut self,
        stream: u32,
        reason: Reason,
        socket: &mut Socket<'_>,
        shared: &mut Shared<H>,
    ) {
        if self.at_worker(stream).is_some() {
            let mut wire = Wire::attach(socket, &mut self.tls, &mut shared.security);
            // The worker was silent, and there is no other.
            let status = if reason == Reason::TimerResponse { 504 } else { 503 };
            self.refuse(Refusal::new(status, reason), &mut wire, shared);
            wire.detach(&mut self.tls, &mut shared.security);
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
        self.gate.set_conn(me);
        self.journal.set_endpoints(key, &shared.logs.log);
        if !self.opened {
            self.opened = true;
            self.await_proxy(key.local_port, shared);
            if shared.security.is_secure(key.local_port) && !self.open_tls(me, key.local_port, shared) {
                return socket.abort();
            }
        }
        let mut wire = Wire::attach(socket, &mut self.tls, &mut shared.security);
        self.run_on(me, key, &mut wire, shared);
        wire.detach(&mut self.tls, &mut shared.security);
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
            let key = self.proxied_client.key(key);
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
            Phase::Discard { read } => {
                let read = *read;
                match skip(&mut self.content, &mut self.gate, socket, &mut shared.traffic) {
                    Ok(0) if !self.content.is_finished() => Step::Wait,
                    Ok(n) if read + n as u64 <= MAX_DRAIN => {
                        let is_over = self.content.is_finished();
                        self.phase =
                            if is_over { Phase::Head } else { Phase::Discard { read: read + n as u64 } };
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

    /// Advances the current exchange.
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
        let mut client = Http1Client {
            wire: socket,
            gate: &mut self.gate,
            traffic: parts.traffic,
            content: &mut self.content,
        };
        let site = site.and_then(|site| parts.security.store()?.hsts(site)).unwrap_or_default();
        let site = Fields::prepared(site);
        let mut wcx =
            WriteContext { render: parts.render, buffers: parts.buffers, date: parts.date, site, now };
        let (status, progress) = exchange.run(&mut client, &mut wcx, &mut parts.workers);
        *moved |= progress;
        self.apply_status(status, socket, shared)
    }

    /// Acts on the status of an exchange.
    fn apply_status<H: Hub>(
        &mut self,
        status: Status,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Step {
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
                self.journal.refused(None, reason, &mut shared.logs);
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

    /// Takes the request away from a worker that was silent for too long. True if it did.
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
        let status = exchange.on_source_lost(lost, parts.buffers);
        self.apply_status(status, socket, shared);
        true
    }
}

/// Discards unwanted content that lies in one piece. Returns the number of bytes.
fn skip(
    content: &mut Body,
    gate: &mut Gate,
    socket: &mut Wire<'_, '_>,
    traffic: &mut Traffic,
) -> Result<usize, ContentEnd> {
    let mut client = Http1Client { wire: socket, gate, traffic, content };
    client.content(usize::MAX, &mut |content, _| content.len())
}
