//! What is forwarded of a request (RFC 9110 §7.6).

use super::{Method, RequestHead, hop, number};
use alloc::string::String;
use core::net::IpAddr;
use model::settings::ClientField;
use model::url::Scheme;

/// What the appliance knows about the client and passes on, and what it lets through.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Address of the sender: the client or the last proxy.
    pub client: IpAddr,
    /// The field that names the client, if the sender is a trusted proxy.
    pub trusted: Option<ClientField>,
    /// Local address and port, used as the host if the client named none (HTTP/1.0).
    pub local: (IpAddr, u16),
    /// Scheme of the request as received.
    pub scheme: Scheme,
    /// Scheme of the client's own request, if a trusted proxy states it; `None`: the same.
    pub client_scheme: Option<Scheme>,
    /// Header field lines about the client certificate.
    pub certificate: &'a [u8],
    /// `Expect: 100-continue` was answered already: the worker must not see it.
    pub expect_answered: bool,
    /// Protocols that the client may switch to.
    pub upgrade: &'a [String],
    /// Names of [withheld](is_withheld) fields that are forwarded nevertheless.
    pub fields: &'a [String],
}

impl Forwarded<'_> {
    /// A request from a client over plain HTTP or TLS, without anything that needs permission.
    pub const fn new(client: IpAddr, local: (IpAddr, u16), scheme: Scheme) -> Self {
        Self {
            client,
            trusted: None,
            local,
            scheme,
            client_scheme: None,
            certificate: &[],
            expect_answered: true,
            upgrade: &[],
            fields: &[],
        }
    }
}

/// Whether a field makes some servers use another target, host or method than the request line says. Dropped
/// unless the prefix allows it ([`Passthrough::fields`](model::settings::Passthrough::fields)).
pub fn is_withheld(name: &str) -> bool {
    hop::disposition(name.as_bytes()) == hop::Disposition::Withheld
}

/// Remaining hops of an OPTIONS or TRACE (RFC 9110 §7.6.2); with 0, it must be answered here.
#[inline]
pub fn max_forwards(head: &RequestHead<'_>) -> Option<u64> {
    let counts = matches!(head.method, Method::Options | Method::Trace);
    counts.then(|| head.fields.get_only("max-forwards")).flatten().and_then(number::decimal)
}
