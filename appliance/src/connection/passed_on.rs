//! Connections that a load balancer passes on: their first bytes are a header of the PROXY protocol, which says whose they are.

use super::Connection;
use crate::connection::shared::Shared;
use crate::connection::wire::Wire;
use crate::hub::Hub;
use crate::proxy::{self, Parsed};
use crate::tcp::{ConnId, FlowKey};
use alloc::boxed::Box;
use core::net::IpAddr;
use model::reason::Reason;

/// What is known of who is at the other end of a connection.
#[derive(Debug, Default)]
pub(super) enum PassedOn {
    /// Whoever connected.
    #[default]
    No,
    /// The header is still to come.
    Awaited,
    /// The header named somebody. Boxed: every connection has room for this, few are passed on.
    From(Box<(IpAddr, u16)>),
}

impl PassedOn {
    /// The connection with the client that it is for.
    pub(super) fn key(&self, key: &FlowKey) -> FlowKey {
        match self {
            Self::From(client) => FlowKey { remote: client.0, remote_port: client.1, ..*key },
            Self::No | Self::Awaited => *key,
        }
    }
}

impl Connection {
    /// A connection to this port was opened.
    pub(super) fn await_proxy<H>(&mut self, port: u16, shared: &Shared<H>) {
        if shared.serving.trust.proxy_protocol.binary_search(&port).is_ok() {
            self.passed_on = PassedOn::Awaited;
        }
    }

    /// Takes the header. True if the session may go on: there is none to wait for, or it was read. Whoever is not trusted, and
    /// whatever is no header, ends the connection: what would follow is somebody's whom nobody knows.
    pub(super) fn advance_proxy<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> bool {
        if !matches!(self.passed_on, PassedOn::Awaited) {
            return true;
        }
        let header = if shared.serving.trust.covers(key.remote) {
            socket.socket.recv(|input| match proxy::parse(input) {
                complete @ Parsed::Complete { len, .. } => (len, complete),
                other => (0, other),
            })
        } else {
            Ok(Parsed::Malformed)
        };
        match header {
            Ok(Parsed::Partial) => false,
            Ok(Parsed::Complete { source, .. }) => {
                self.passed_on = PassedOn::No;
                if let Some((address, port)) = source {
                    self.passed_on = PassedOn::From(Box::new((address, port)));
                    self.journal.comes_from((address, port));
                }
                true
            }
            Ok(Parsed::Malformed) => {
                self.cut_off(Reason::ProxyHeader, me, socket.socket, shared);
                false
            }
            // The balancer asks whether somebody is there.
            Err(_) => {
                self.passed_on = PassedOn::No;
                self.close(socket);
                false
            }
        }
    }
}
