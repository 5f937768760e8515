//! The timers of a client connection.

use super::{Connection, Phase};
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::flow::Direction;
use crate::tcp::Socket;
use crate::time::Instant;
use crate::upstream::Requester;
use core::time::Duration;
use model::reason::Reason;
use netdrv::stream::StreamTransport;

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
    pub(super) fn set_timer<S>(&mut self, socket: &mut Wire<'_, '_>, env: &Env<S>, moved: bool) {
        let unsent = !self.gate.is_empty() || matches!(self.phase, Phase::Respond { .. });
        let reads = matches!(&self.phase, Phase::Drain { .. })
            || matches!(&self.phase, Phase::Forward(exchange) if exchange.reads_content());
        let kind = match &self.phase {
            _ if self.is_handshaking() => TimerKind::TlsHandshake,
            // Whom our own limits hold up is not late.
            _ if self.gate.is_held(Direction::Down, socket, env) => TimerKind::None,
            _ if reads && self.gate.is_held(Direction::Up, socket, env) => TimerKind::None,
            _ if unsent => TimerKind::SendStall,
            Phase::Head if self.served > 0 && !self.head_begun(socket) => TimerKind::IdleConnection,
            Phase::Head => TimerKind::HeaderWait,
            Phase::Drain { .. } => TimerKind::DrainEntityBody,
            Phase::Forward(exchange) if exchange.is_tunnel() => TimerKind::TunnelIdle,
            Phase::Forward(exchange) if exchange.waits_for_client(socket) => TimerKind::EntityBody,
            Phase::Forward(_) if socket.send_queue() > 0 => TimerKind::SendStall,
            Phase::Forward(exchange) if exchange.is_stream() => TimerKind::StreamIdle,
            Phase::Forward(exchange) if exchange.waits_for_worker().is_some() => TimerKind::Response,
            Phase::Forward(_) => TimerKind::None,
            Phase::Linger => TimerKind::Linger,
            Phase::Respond { .. } => TimerKind::SendStall,
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
            waited += env.now.since(self.timer.started);
        } else if self.timer.kind == TimerKind::HeaderWait {
            waited = Duration::ZERO;
        }
        let rules = env.serving.rules(self.site);
        let timers = &rules.timers;
        let after = |duration: Duration| Some(env.now + duration);
        let deadline = match kind {
            TimerKind::None => None,
            TimerKind::HeaderWait => after(timers.header_wait),
            TimerKind::IdleConnection => after(timers.idle_connection),
            TimerKind::TunnelIdle => after(timers.tunnel_idle.min(PROBE_AFTER)),
            TimerKind::StreamIdle => after(timers.stream_idle.min(PROBE_AFTER)),
            TimerKind::Response => match &self.phase {
                Phase::Forward(exchange) => exchange.waits_for_worker().and_then(after),
                _ => None,
            },
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
        self.timer = Timer { kind, deadline, started: env.now, waited, probes: false };
    }

    /// Silence is over when this has passed since the timer was started; until then the client is asked whether it is there.
    fn goes_on_probing<S>(&mut self, socket: &mut Wire<'_, '_>, env: &Env<S>) -> bool {
        let timers = &env.serving.rules(self.site).timers;
        let limit = match self.timer.kind {
            TimerKind::TunnelIdle => timers.tunnel_idle,
            TimerKind::StreamIdle => timers.stream_idle,
            _ => return false,
        };
        let end = self.timer.started + limit;
        if end <= env.now {
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
    pub(crate) fn expire<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        if self.timer.kind == TimerKind::TlsHandshake {
            // There is to be room at once, and not when the client has read why.
            env.security.counters.timed_out += 1;
            return self.abort(me, socket, env);
        }
        let mut wire = Wire::join(socket, &mut self.tls, env);
        self.on_timer(me, &mut wire, env);
        wire.part(&mut self.tls, env);
    }

    /// Ends a connection that took too long, in the way its state calls for.
    pub(super) fn on_timer<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) {
        if self.goes_on_probing(socket, env) {
            return;
        }
        let reason = match self.timer.kind {
            // `check_silence` has seen to it.
            TimerKind::None | TimerKind::Response => return,
            TimerKind::HeaderWait => Reason::TimerHeaderWait,
            TimerKind::IdleConnection => {
                env.counters.count(Reason::TimerConnectionIdle);
                self.journal.refused(None, Reason::TimerConnectionIdle, env);
                self.close_journal(false, env);
                self.close(socket);
                return self.set_timer(socket, env, true);
            }
            TimerKind::TunnelIdle => return self.end_tunnel(me, socket, env),
            // Not an end that could be taken for the answer's.
            TimerKind::StreamIdle => Reason::TimerResponse,
            TimerKind::EntityBody | TimerKind::DrainEntityBody => Reason::TimerEntityBody,
            TimerKind::SendStall => Reason::TimerMinBytesPerSecond,
            // Nothing was asked and nothing is owed.
            TimerKind::Linger => return self.abort(me, socket.socket, env),
            TimerKind::TlsHandshake => {
                env.security.counters.timed_out += 1;
                if !socket.tls.as_mut().is_some_and(|tls| tls.cancel()) {
                    return self.abort(me, socket.socket, env);
                }
                self.end_handshake(me, env);
                self.close(socket);
                return self.set_timer(socket, env, true);
            }
        };
        self.cut_off(reason, me, socket.socket, env);
    }

    /// Ends a tunnel in which nothing has moved for too long.
    fn end_tunnel<S: StreamTransport>(&mut self, me: Requester, socket: &mut Wire<'_, '_>, env: &mut Env<S>) {
        let Phase::Forward(exchange) = &mut self.phase else { return };
        let Some(status) = exchange.end_tunnel(socket, &mut self.gate, env) else {
            return self.cut_off(Reason::TimerConnectionIdle, me, socket.socket, env);
        };
        env.counters.count(Reason::TimerConnectionIdle);
        self.journal.refused(None, Reason::TimerConnectionIdle, env);
        self.settle(status, socket, env);
        self.set_timer(socket, env, true);
    }
}
