//! TLS handshakes of client connections.

use super::{Connection, Phase};
use crate::budget::Lease;
use crate::connection::shared::Shared;
use crate::connection::wire::{self, Wire};
use crate::http::error::{PLAIN_HTTP, Text};
use crate::hub::Hub;
use crate::tcp::{ConnId, State};
use crate::tls::{ClientCertificate, Fault, ServerTls};
use alloc::boxed::Box;
use alloc::sync::Arc;
use model::id::SiteId;
use model::reason::Reason;

/// TLS state of a connection beside [`ServerTls`].
pub(super) struct ConnectionTls {
    _memory: Lease,
    handshaking: bool,
    /// The handshake could proceed, but waits for its turn.
    waits: bool,
    counted: bool,
    pub(super) site: SiteId,
    pub(super) client: Option<Arc<ClientCertificate>>,
}

impl Connection {
    /// Whether the TLS handshake could proceed but waits for its turn.
    pub(crate) fn waits_for_turn(&self) -> bool {
        self.security.as_ref().is_some_and(|security| security.waits)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.security.as_ref().is_some_and(|security| security.handshaking)
    }

    /// Starts TLS. False if there is no memory for it.
    pub(super) fn open_tls<H>(&mut self, me: ConnId, port: u16, shared: &mut Shared<H>) -> bool {
        let Some(memory) = shared.security.open(me) else {
            shared.counters.count(Reason::ConnectionsRefused);
            self.journal.refused(None, Reason::ConnectionsRefused, &mut shared.logs);
            self.phase = Phase::Linger;
            return false;
        };
        let (waits, counted, site, client) = (false, false, SiteId(0), None);
        let secured = ConnectionTls { _memory: memory, handshaking: true, waits, counted, site, client };
        self.security = Some(Box::new(secured));
        self.tls = Some(Box::new(ServerTls::new(port)));
        true
    }

    /// Advances the TLS handshake. True if requests may be read: TLS is not used, or the handshake is
    /// complete.
    pub(super) fn advance_tls<H: Hub>(
        &mut self,
        me: ConnId,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> bool {
        let (Some(security), Some(tls)) = (&mut self.security, &mut socket.tls) else { return true };
        if !security.handshaking {
            if let Some(fault) = tls.fault().filter(|_| !security.counted) {
                security.counted = true;
                shared.security.count(fault);
            }
            return true;
        }
        security.waits = socket.socket.recv_queue() > 0 && !shared.security.take_turn();
        if security.waits {
            return false;
        }
        // A message that the client cut off with FIN will never be complete.
        let ended = wire::pull(socket.socket, tls, shared.security.store())
            || matches!(socket.socket.state(), State::CloseWait | State::Closed);
        if tls.is_open() {
            let counters = &mut shared.security.counters;
            counters.handshakes += 1;
            counters.resumed += u64::from(tls.is_resumed());
            counters.tls12 += u64::from(tls.version() == Some(rustls::ProtocolVersion::TLSv1_2));
            security.site = tls.site();
            security.client = tls.client().cloned();
        } else if let Some(fault) = tls.fault() {
            security.counted = true;
            shared.security.count(fault);
            if fault == Fault::PlainHttp {
                socket.tls = None;
                let is_head = socket.recv(|input| (0, input.starts_with(b"HEAD "))).unwrap_or(false);
                self.answer(&Text::refusal(400).with_detail(PLAIN_HTTP), is_head, socket, shared);
            } else {
                self.close(socket);
            }
        } else if ended {
            self.close(socket);
        } else {
            socket.flush();
            return false;
        }
        self.end_handshake(me, shared);
        true
    }

    pub(super) fn end_handshake<H>(&mut self, me: ConnId, shared: &mut Shared<H>) {
        if let Some(security) = &mut self.security
            && security.handshaking
        {
            security.handshaking = false;
            security.waits = false;
            shared.security.end_handshake(me);
        }
    }
}
