//! The timers of a client connection.

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

/// Which of the connection's timers runs.
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
    /// Nothing moves through a connection that has changed its protocol.
    TunnelIdle,
    /// An answer of unknown length has begun and the worker is silent.
    StreamIdle,
    Linger,
}

impl TimerKind {
    const fn waits_for_content(self) -> bool {
        matches!(self, Self::EntityBody)
    }

    /// What a request at a worker waits for. `is_stream`: its response has begun and has no known length.
    fn of_forward(forward: &Forward, is_stream: bool, socket: &Wire<'_, '_>) -> Self {
        match forward {
            _ if forward.is_tunnel() => Self::TunnelIdle,
            _ if forward.reads_content() && socket.is_read() => Self::EntityBody,
            _ if socket.send_queue() > 0 => Self::SendStall,
            _ if is_stream => Self::StreamIdle,
            _ if forward.waits_for_worker().is_some() => Self::Response,
            _ => Self::None,
        }
    }
}

/// Silence after which a client that has nothing to send is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Timer {
    pub(super) kind: TimerKind,
    pub(super) deadline: Option<Instant>,
    /// When it was started.
    started: Instant,
    /// How long this request's content, or what comes after our end, was waited for before that.
    waited: Duration,
    /// The client is being asked whether it is there.
    probes: bool,
}

impl Connection {
    /// Starts the timer that the state calls for; one that already runs goes on unless it measures progress.
    pub(super) fn set_timer<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &Shared<H>, moved: bool) {
        let traffic = &shared.traffic;
        let kind = match &self.phase {
            _ if self.is_handshaking() => TimerKind::TlsHandshake,
            // Whom our own limits hold up is not late.
            _ if self.gate.is_held(Direction::Down, socket, traffic) => TimerKind::None,
            _ if self.reads_content() && self.gate.is_held(Direction::Up, socket, traffic) => TimerKind::None,
            _ if !self.gate.is_empty() => TimerKind::SendStall,
            Phase::Head if self.served > 0 && !self.head_begun(socket) => TimerKind::IdleConnection,
            Phase::Head => TimerKind::HeaderWait,
            Phase::Drain { .. } => TimerKind::DrainEntityBody,
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
        let rules = shared.serving.rules(self.site);
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

    /// The client's content is what is read next.
    fn reads_content(&self) -> bool {
        match &self.phase {
            Phase::Drain { .. } => true,
            Phase::Exchange(exchange) => exchange.source().worker().is_some_and(Forward::reads_content),
            Phase::Head | Phase::Linger => false,
        }
    }

    /// Silence is over when this has passed since the timer was started; until then the client is asked whether it is there.
    fn goes_on_probing<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &Shared<H>) -> bool {
        let timers = &shared.serving.rules(self.site).timers;
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

    /// The client has kept us waiting for at least so long. Not told of one whose connection waits for its next request.
    pub(crate) fn is_late(&self, patience: Duration, now: Instant) -> bool {
        let awaited = matches!(
            self.timer.kind,
            TimerKind::HeaderWait
                | TimerKind::EntityBody
                | TimerKind::DrainEntityBody
                | TimerKind::SendStall
                | TimerKind::TlsHandshake
                | TimerKind::Linger
        );
        // Who goes on sending after our end is not any the less late.
        let before = if self.timer.kind == TimerKind::Linger { self.timer.waited } else { Duration::ZERO };
        awaited && self.timer.started + patience <= now + before
    }

    /// Lets the timer that runs run out before its time.
    pub(crate) fn expire<H: Hub>(&mut self, me: ConnId, socket: &mut Socket<'_>, shared: &mut Shared<H>) {
        if self.timer.kind == TimerKind::TlsHandshake {
            // There is to be room at once, and not when the client has read why.
            shared.security.counters.timed_out += 1;
            return self.abort(me, socket, shared);
        }
        let mut wire = Wire::join(socket, &mut self.tls, &mut shared.security);
        self.on_timer(me, &mut wire, shared);
        wire.part(&mut self.tls, &mut shared.security);
    }

    /// Ends a connection that took too long, in the way its state calls for.
    pub(super) fn on_timer<H: Hub>(&mut self, me: ConnId, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) {
        if self.goes_on_probing(socket, shared) {
            return;
        }
        let reason = match self.timer.kind {
            // `check_silence` has seen to it.
            TimerKind::None | TimerKind::Response => return,
            TimerKind::HeaderWait => Reason::TimerHeaderWait,
            TimerKind::IdleConnection => {
                shared.counters.count(Reason::TimerConnectionIdle);
                self.journal.refused(None, Reason::TimerConnectionIdle, &mut shared.books);
                self.close_journal(false, shared);
                self.close(socket);
                return self.set_timer(socket, shared, true);
            }
            TimerKind::TunnelIdle => return self.end_tunnel(me, socket, shared),
            // Not an end that could be taken for the answer's.
            TimerKind::StreamIdle => Reason::TimerResponse,
            TimerKind::EntityBody | TimerKind::DrainEntityBody => Reason::TimerEntityBody,
            TimerKind::SendStall => Reason::TimerMinBytesPerSecond,
            // Nothing was asked and nothing is owed.
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
        self.journal.refused(None, Reason::TimerConnectionIdle, &mut shared.books);
        self.settle(Status::Done, socket, shared);
        self.set_timer(socket, shared, true);
    }
}
