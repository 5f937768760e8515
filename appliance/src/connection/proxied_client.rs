//! Connections from a load balancer, which begin with a PROXY protocol header that names the client.

use super::Connection;
use crate::connection::shared::Shared;
use crate::connection::wire::Wire;
use crate::hub::Hub;
use crate::proxy::{self, Parsed};
use crate::tcp::{ConnId, FlowKey};
use alloc::boxed::Box;
use core::net::IpAddr;
use model::reason::Reason;

/// The client at the other end of a connection.
#[derive(Debug, Default)]
pub(super) enum ProxiedClient {
    /// The TCP peer.
    #[default]
    Direct,
    /// The header has not arrived yet.
    Awaited,
    /// The client that the header named. Boxed: every connection has space for this, but few are proxied.
    From(Box<(IpAddr, u16)>),
}

impl ProxiedClient {
    /// The connection's key with the named client as the remote end.
    pub(super) fn key(&self, key: &FlowKey) -> FlowKey {
        match self {
            Self::From(client) => FlowKey { remote: client.0, remote_port: client.1, ..*key },
            Self::Direct | Self::Awaited => *key,
        }
    }
}

impl Connection {
    /// Expects a header on connections to this port, if the settings say so.
    pub(super) fn await_proxy<H>(&mut self, port: u16, shared: &Shared<H>) {
        if shared.serving.trust.proxy_protocol.binary_search(&port).is_ok() {
            self.proxied_client = ProxiedClient::Awaited;
        }
    }

    /// Reads the header. True if requests may be read: no header is expected, or it was read. An untrusted
    /// peer or an invalid header ends the connection, since the client would be unknown.
    pub(super) fn advance_proxy<H: Hub>(
        &mut self,
        me: ConnId,
        key: &FlowKey,
        socket: &mut Wire<'_, '_>,
        shared: &mut Shared<H>,
    ) -> bool {
        if !matches!(self.proxied_client, ProxiedClient::Awaited) {
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
                self.proxied_client = ProxiedClient::Direct;
                if let Some((address, port)) = source {
                    self.proxied_client = ProxiedClient::From(Box::new((address, port)));
                    self.journal.set_proxied_client((address, port));
                }
                true
            }
            Ok(Parsed::Malformed) => {
                self.cut_off(Reason::ProxyHeader, me, socket.socket, shared);
                false
            }
            // A health check of the load balancer.
            Err(_) => {
                self.proxied_client = ProxiedClient::Direct;
                self.close(socket);
                false
            }
        }
    }
}
