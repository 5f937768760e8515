//! Timers of a client connection.

use super::shared::Shared;
use super::wire::Wire;
use super::{Connection, Phase};
use crate::exchange::forward::Forward;
use crate::exchange::{Origin, Status};
use crate::flow::Direction;
use crate::hub::Hub;
use crate::tcp::{ConnId, Socket};
use crate::time::Instant;
use core::time::Duration;
use model::reason::Reason;

/// The timer that is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TimerKind {
    #[default]
    None,
    HeaderWait,
    IdleConnection,
    EntityBody,
    DrainEntityBody,
    SendStall,
    TlsHandshake,
    /// The worker has the request.
    Response,
    /// Nothing moves through a connection that has switched protocols.
    TunnelIdle,
    /// A response of unknown length has begun and the worker is silent.
    StreamIdle,
    Linger,
}

impl TimerKind {
    const fn waits_for_content(self) -> bool {
        matches!(self, Self::EntityBody)
    }

    /// The timer for a request at a worker. `is_stream`: its response has begun and has no known length.
    fn of_forward(forward: &Forward, is_stream: bool, socket: &Wire<'_, '_>) -> Self {
        match forward {
            _ if forward.is_tunnel() => Self::TunnelIdle,
            _ if forward.reads_content() && socket.input_is_drained() => Self::EntityBody,
            _ if socket.send_queue() > 0 => Self::SendStall,
            _ if is_stream => Self::StreamIdle,
            _ if forward.waits_for_worker().is_some() => Self::Response,
            _ => Self::None,
        }
    }
}

/// Silence after which a client with nothing to send is probed.
const PROBE_AFTER: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Timer {
    pub(super) kind: TimerKind,
    pub(super) deadline: Option<Instant>,
    started: Instant,
    /// How long this request's content, or input after our FIN, was waited for before `started`.
    waited: Duration,
    /// The client is being probed with TCP keep-alives.
    probes: bool,
}

impl Connection {
    /// Starts the timer that the state calls for. One that already runs continues unless it measures
    /// progress.
    pub(super) fn set_timer<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &Shared<H>, moved: bool) {
        let traffic = &shared.traffic;
        let kind = match &self.phase {
            _ if self.is_handshaking() => TimerKind::TlsHandshake,
            // A client delayed by our own limits is not late.
            _ if self.gate.is_held(Direction::Down, socket, traffic) => TimerKind::None,
            _ if self.reads_content() && self.gate.is_held(Direction::Up, socket, traffic) => TimerKind::None,
            _ if !self.gate.is_empty() => TimerKind::SendStall,
            Phase::Head if self.served > 0 && !self.head_begun(socket) => TimerKind::IdleConnection,
            Phase::Head => TimerKind::HeaderWait,
            Phase::Discard { .. } => TimerKind::DrainEntityBody,
            Phase::Exchange(exchange) => exchange.source().worker().map_or(TimerKind::SendStall, |forward| {
                let is_stream = forward.is_stream() && exchange.has_begun();
                TimerKind::of_forward(forward, is_stream, socket)
            }),
            Phase::Linger => TimerKind::Linger,
        };
        let measures_progress = matches!(
            kind,
            TimerKind::EntityBody
                | TimerKind::SendStall
                | TimerKind::IdleConnection
                | TimerKind::Response
                | TimerKind::TunnelIdle
                | TimerKind::Linger
                | TimerKind::StreamIdle
        );
        if kind == self.timer.kind && !(moved && measures_progress) {
            return;
        }
        let mut waited = self.timer.waited;
        if kind == TimerKind::Linger && self.timer.kind != kind {
            waited = Duration::ZERO;
        } else if kind == TimerKind::Linger || self.timer.kind.waits_for_content() {
            waited += shared.now.since(self.timer.started);
        } else if self.timer.kind == TimerKind::HeaderWait {
            waited = Duration::ZERO;
        }
        let rules = self.rules(shared);
        let timers = &rules.timers;
        let after = |duration: Duration| Some(shared.now + duration);
        let deadline = match kind {
            TimerKind::None => None,
            TimerKind::HeaderWait => after(timers.header_wait),
            TimerKind::IdleConnection => after(timers.idle_connection),
            TimerKind::TunnelIdle => after(timers.tunnel_idle.min(PROBE_AFTER)),
            TimerKind::StreamIdle => after(timers.stream_idle.min(PROBE_AFTER)),
            TimerKind::Response => {
                let forward = self.origin().and_then(Origin::worker);
                forward.and_then(Forward::waits_for_worker).and_then(after)
            }
            TimerKind::EntityBody => {
                let left = rules.content_time(self.gate.totals().1).saturating_sub(waited);
                after(timers.entity_body.min(left))
            }
            TimerKind::DrainEntityBody => after(timers.drain_entity_body),
            TimerKind::SendStall => after(timers.send_stall),
            TimerKind::Linger => after(timers.linger.min(timers.linger_in_all.saturating_sub(waited))),
            TimerKind::TlsHandshake => after(timers.tls_handshake),
        };
        if self.timer.probes {
            socket.probe(false);
        }
        self.timer = Timer { kind, deadline, started: shared.now, waited, probes: false };
    }

    /// Whether the client's content is read next.
    fn reads_content(&self) -> bool {
        match &self.phase {
            Phase::Discard { .. } => true,
            Phase::Exchange(exchange) => exchange.source().worker().is_some_and(Forward::reads_content),
            Phase::Head | Phase::Linger => false,
        }
    }

    /// Whether a tunnel or stream stays open although the timer fired, with the client being probed
    /// meanwhile. It ends when its whole limit has passed since the timer was started.
    fn keeps_probing<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &Shared<H>) -> bool {
        let timers = &self.rules(shared).timers;
        let limit = match self.timer.kind {
            TimerKind::TunnelIdle => timers.tunnel_idle,
            TimerKind::StreamIdle => timers.stream_idle,
            _ => return false,
        };
        let end = self.timer.started + limit;
        if end <= shared.now {
            return false;
        }
        (self.timer.probes, self.timer.deadline) = (true, Some(end));
        socket.probe(true);
        true
    }

    /// Whether the client has kept us waiting for at least `limit`. False for connections that wait for
    /// their next request.
    pub(crate) fn is_late(&self, limit: Duration, now: Instant) -> bool {
        let awaited = matches!(
            self.timer.kind,
            TimerKind::HeaderWait
                | TimerKind::EntityBody
                | TimerKind::DrainEntityBody
                | TimerKind::SendStall
                | TimerKind::TlsHandshake
                | TimerKind::Linger
        );
        // A client that keeps sending after our FIN is late all the same.
        let before = if self.timer.kind == TimerKind::Linger { self.timer.waited } else { Duration::ZERO };
        awaited && self.timer.started + limit <= now + before
    }

    /// Fires the running timer early.
    pub(crate) fn expire<H: Hub>(&mut self, me: ConnId, socket: &mut Socket<'_>, shared: &mut Shared<H>) {
        if self.timer.kind == TimerKind::TlsHandshake {
            // Room is needed at once, not when the client has read an alert.
            shared.security.counters.timed_out += 1;
            return self.abort(me, socket, shared);
        }
        let mut wire = Wire::attach(socket, &mut self.tls, &mut shared.security);
        self.on_timer(me, &mut wire, shared);
        wire.detach(&mut self.tls, &mut shared.security);
    }

    /// Ends a connection that took too long, as its state requires.
    pub(super) fn on_timer<H: Hub>(&mut self, me: ConnId, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) {
        if self.keeps_probing(socket, shared) {
            return;
        }
        let reason = match self.timer.kind {
            // Handled by `check_silence`.
            TimerKind::None | TimerKind::Response => return,
            TimerKind::HeaderWait => Reason::TimerHeaderWait,
            TimerKind::IdleConnection => {
                shared.counters.count(Reason::TimerConnectionIdle);
                self.journal.refused(None, Reason::TimerConnectionIdle, &mut shared.logs);
                self.close_journal(false, shared);
                self.close(socket);
                return self.set_timer(socket, shared, true);
            }
            TimerKind::TunnelIdle => return self.end_tunnel(me, socket, shared),
            // Not an orderly end, which could be taken for the end of the response.
            TimerKind::StreamIdle => Reason::TimerResponse,
            TimerKind::EntityBody | TimerKind::DrainEntityBody => Reason::TimerEntityBody,
            TimerKind::SendStall => Reason::TimerMinBytesPerSecond,
            // No request is open and no response pending.
            TimerKind::Linger => return self.abort(me, socket.socket, shared),
            TimerKind::TlsHandshake => {
                shared.security.counters.timed_out += 1;
                if !socket.tls.as_mut().is_some_and(|tls| tls.cancel()) {
                    return self.abort(me, socket.socket, shared);
                }
                self.end_handshake(me, shared);
                self.close(socket);
                return self.set_timer(socket, shared, true);
            }
        };
        self.cut_off(reason, me, socket.socket, shared);
    }

    /// Ends a tunnel in which nothing has moved for too long.
    fn end_tunnel<H: Hub>(&mut self, me: ConnId, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) {
        let id = self.exchange_id(me);
        let Some(forward) = self.origin_mut().and_then(Origin::worker_mut) else { return };
        let Some(goodbye) = forward.end_tunnel(&mut shared.workers(id)) else {
            return self.cut_off(Reason::TimerConnectionIdle, me, socket.socket, shared);
        };
        if !goodbye.is_empty() {
            self.gate.send(socket, goodbye, 0, &mut shared.traffic);
        }
        shared.counters.count(Reason::TimerConnectionIdle);
        self.journal.refused(None, Reason::TimerConnectionIdle, &mut shared.logs);
        self.apply_status(Status::Done, socket, shared);
        self.set_timer(socket, shared, true);
    }
}
