//! How responses and connections end: in order, with an error, or at once.

use super::shared::Shared;
use super::wire::Wire;
use super::{Connection, Phase, Step};
use crate::exchange::source::Memory;
use crate::exchange::{Exchange, Origin};
use crate::http::error::Text;
use crate::http::h1::{Body, Encoder};
use crate::http::{Fields, Refusal, ResponseWriter};
use crate::hub::Hub;
use crate::serving::SiteSnapshot;
use crate::tcp::{ConnId, Socket};
use crate::upstream::Upstream;
use model::id::SiteId;
use model::reason::Reason;
use model::settings::Verbosity;

impl Connection {
    /// Ends the connection because the drain's deadline has passed.
    pub(crate) fn shut_down<H: Hub>(&mut self, me: ConnId, socket: &mut Socket<'_>, shared: &mut Shared<H>) {
        match self.phase {
            Phase::Linger => self.abort(me, socket, shared),
            _ => self.cut_off(Reason::AppShutdown, me, socket, shared),
        }
    }

    /// Ends the connection at once, for a reason to be logged.
    pub(crate) fn cut_off<H: Hub>(
        &mut self,
        reason: Reason,
        me: ConnId,
        socket: &mut Socket<'_>,
        shared: &mut Shared<H>,
    ) {
        shared.counters.count(reason);
        self.journal.refused(None, reason, &mut shared.logs);
        self.abort(me, socket, shared);
    }

    /// Ends the connection at once, with RST.
    pub(crate) fn abort<H: Hub>(&mut self, me: ConnId, socket: &mut Socket<'_>, shared: &mut Shared<H>) {
        self.abandon(me, shared);
        socket.abort();
    }

    /// Releases what the connection holds elsewhere. Its socket is closed or about to be.
    pub(crate) fn abandon<H: Hub>(&mut self, me: ConnId, shared: &mut Shared<H>) {
        let id = self.exchange_id(me);
        let reason = match &mut self.phase {
            Phase::Exchange(exchange) => {
                self.journal.answered(exchange.status());
                let mut parts = shared.parts(id);
                let is_sent = exchange.is_sent(&parts.workers) && self.gate.is_empty();
                let reason = match exchange.source().worker() {
                    Some(forward) => Some(forward.reason_if_dropped()),
                    None => (!is_sent).then_some(Reason::ConnectionDropped),
                };
                exchange.abandon(parts.buffers, &mut parts.workers);
                reason
            }
            _ => None,
        };
        if let Some(reason) = reason {
            shared.counters.count(reason);
            self.journal.refused(None, reason, &mut shared.logs);
        }
        self.close_journal(false, shared);
        self.phase = Phase::Linger;
        self.drop_head(shared);
        self.end_handshake(me, shared);
    }

    pub(super) fn finish_response<H>(&mut self, socket: &mut Wire<'_, '_>, shared: &mut Shared<H>) -> Step {
        self.gate.end_response(&mut shared.traffic);
        let mut keeps_alive = false;
        if let Phase::Exchange(exchange) = &mut self.phase {
            self.journal.answered(exchange.status());
            keeps_alive = exchange.encoder().keeps_alive();
        }
        self.close_journal(true, shared);
        self.served = self.served.saturating_add(1);
        if !keeps_alive || shared.drain.has_begun() {
            return self.close(socket);
        }
        self.phase = if self.content.is_finished() { Phase::Head } else { Phase::Discard { read: 0 } };
        Step::Again
    }

    /// Answers with an error and closes, as HTTP.sys does after every error response of its own.
    pub(super) fn refuse<H: Hub>(
        &mut self,
        refusal: Refusal,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Step {
        shared.counters.count(refusal.reason);
        self.journal.refused(Some(refusal.status), refusal.reason, &mut shared.logs);
        let verbosity = match self.origin().and_then(Origin::worker) {
            Some(forward) if refusal.status == 503 => shared.hub.upstream().verbosity(forward.pool()),
            Some(_) => Verbosity::Limited,
            // A client refused for its certificate or host name is told the exact reason.
            _ if matches!(refusal.status, 403 | 421) => Verbosity::Full,
            _ => Verbosity::Limited,
        };
        if verbosity == Verbosity::Basic {
            self.close_journal(false, shared);
            self.phase = Phase::Linger;
            socket.abort();
            return Step::Wait;
        }
        let detail = if verbosity == Verbosity::Full { refusal.reason.as_str() } else { "" };
        self.answer(&Text::refusal(refusal.status).with_detail(detail), self.is_head, socket, shared)
    }

    /// Sends a response that ends the connection. `is_head`: the request is HEAD.
    pub(super) fn answer<H: Hub>(
        &mut self,
        text: &Text<'_>,
        is_head: bool,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> Step {
        let site = self.hsts_site(socket).and_then(|site| shared.security.store()?.hsts(site));
        let mut encoder = Encoder::of_refusal(is_head);
        let mut writer = ResponseWriter::new(&mut encoder, &shared.date, &mut shared.render);
        writer.add_site_fields(Fields::prepared(site.unwrap_or_default()));
        // Cannot fail: the buffer holds the longest head.
        let len = text.write(&mut writer).map_or(0, |()| writer.len());
        self.gate.send(socket, &shared.render[..len], 0, &mut shared.traffic);
        self.content = Body::NONE;
        let nothing = Origin::Memory(Memory::default());
        self.phase = Phase::Exchange(Exchange::answered(encoder, nothing, text.status));
        Step::Again
    }

    /// The site whose Strict-Transport-Security goes with a response over TLS (RFC 6797 §7.1): the one that
    /// the request is for or, while that is unknown, the one that the handshake named.
    pub(super) fn hsts_site(&self, socket: &Wire<'_, '_>) -> Option<SiteId> {
        let secured = self.security.as_ref().filter(|_| socket.is_secure())?;
        Some(self.snapshot.as_ref().map_or(secured.site, SiteSnapshot::site))
    }

    /// Sends FIN after all pending output. Input is still read for a while, since a RST in reply to it could
    /// destroy the response before the client has read it (RFC 9112 §9.6).
    pub(super) fn close(&mut self, socket: &mut Wire<'_, '_>) -> Step {
        socket.close();
        self.phase = Phase::Linger;
        Step::Again
    }

    /// Ends the record of the current request.
    pub(super) fn close_journal<H>(&mut self, complete: bool, shared: &mut Shared<H>) {
        self.journal.close(complete, self.gate.totals(), &mut shared.logs);
    }
}
