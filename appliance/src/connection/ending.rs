//! How a response, and how a connection ends: orderly, with an error, or at once.

use super::{Connection, Phase, Step};
use crate::connection::security::Security;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::exchange::body::Body;
use crate::http::error::Answer;
use crate::http::{Refusal, Sink};
use crate::tcp::Socket;
use crate::upstream::Requester;
use model::reason::Reason;
use model::settings::Verbosity;
use netdrv::stream::StreamTransport;

impl Connection {
    /// Time is up for whatever it has in hand.
    pub(crate) fn shut_down<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        match self.phase {
            Phase::Linger => self.abort(me, socket, env),
            _ => self.cut_off(Reason::AppShutdown, me, socket, env),
        }
    }

    /// Ends the connection at once for a reason of ours.
    pub(crate) fn cut_off<S: StreamTransport>(
        &mut self,
        reason: Reason,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        env.counters.count(reason);
        self.journal.refused(None, reason, env);
        self.abort(me, socket, env);
    }

    /// Ends the connection at once, with RST.
    pub(crate) fn abort<S: StreamTransport>(
        &mut self,
        me: Requester,
        socket: &mut Socket<'_>,
        env: &mut Env<S>,
    ) {
        self.abandon(me, env);
        socket.abort();
    }

    /// Gives back what the session holds elsewhere; its socket is gone or going.
    pub(crate) fn abandon<S: StreamTransport>(&mut self, me: Requester, env: &mut Env<S>) {
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

    pub(super) fn finish_response<S>(
        &mut self,
        keep_alive: bool,
        drain: Body,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
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
    pub(super) fn refuse<S: StreamTransport>(
        &mut self,
        refusal: Refusal,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) -> Step {
        env.counters.count(refusal.reason);
        self.journal.refused(Some(refusal.status), refusal.reason, env);
        let verbosity = match &self.phase {
            Phase::Forward(exchange) if refusal.status == 503 => env.pools.verbosity(exchange.pool()),
            Phase::Forward(_) => Verbosity::Limited,
            // Who is refused for a certificate or a name is told which.
            _ if matches!(refusal.status, 403 | 421) => Verbosity::Full,
            _ => Verbosity::Limited,
        };
        if verbosity == Verbosity::Basic {
            self.close_journal(false, env);
            self.phase = Phase::Linger;
            socket.abort();
            return Step::Wait;
        }
        let detail = if verbosity == Verbosity::Full { refusal.reason.as_str() } else { "" };
        self.answer(Answer::refusal(refusal.status, self.to_head).with_detail(detail), socket, env)
    }

    /// Sends an answer that ends the connection.
    pub(super) fn answer<S: StreamTransport>(
        &mut self,
        answer: Answer<'_>,
        socket: &mut Wire<'_, '_>,
        env: &mut Env<S>,
    ) -> Step {
        let answer = Answer { site_fields: self.hsts(socket, &env.security), ..answer };
        let mut out = Sink::new(&mut env.render);
        // There is room: the buffer holds the longest head there is.
        let len = answer.write(&env.date, &mut out).map_or(0, |()| out.len());
        self.gate.send_rendered(socket, len, 0, env);
        self.phase = Phase::Respond { content: &[], keep_alive: false, drain: Body::NONE };
        Step::Again
    }

    /// Strict-Transport-Security for what we answer over TLS (RFC 6797 §7.1): of the site that the request is for, and as long
    /// as that is not known, of the one that the client named in its handshake.
    fn hsts<'s>(&self, socket: &Wire<'_, '_>, security: &'s Security) -> &'s [u8] {
        let Some(secured) = self.security.as_ref().filter(|_| socket.is_secure()) else { return &[] };
        let site = self.site.unwrap_or(secured.site);
        security.store().and_then(|store| store.hsts(site)).unwrap_or_default()
    }

    /// Sends FIN after everything that was written. What the client still sends is read for a while, since a RST
    /// in answer to it could destroy the response before the client has read it (RFC 9112 §9.6).
    pub(super) fn close(&mut self, socket: &mut Wire<'_, '_>) -> Step {
        socket.close();
        self.phase = Phase::Linger;
        Step::Again
    }

    /// The request is done with.
    pub(super) fn close_journal<S>(&mut self, complete: bool, env: &mut Env<S>) {
        let (sent, content) = self.gate.totals();
        self.journal.close(complete, sent, content, env);
    }
}
