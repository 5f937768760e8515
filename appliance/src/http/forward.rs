//! What of a request goes on to a worker (RFC 9110 §7.6).

use super::{Method, RequestHead, hop, number};
use alloc::string::String;
use core::net::IpAddr;
use model::settings::ClientField;
use model::url::Scheme;

/// What the appliance knows about the client and the worker does not, and what it lets through.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The address of whoever sent the request: the client's, or the last proxy's.
    pub client: IpAddr,
    /// It is a trusted proxy, which names its client in this field.
    pub trusted: Option<ClientField>,
    /// Our address and port, which stand in for a host that the client did not name (HTTP/1.0).
    pub local: (IpAddr, u16),
    /// How the request reached us.
    pub scheme: Scheme,
    /// How the client asked, if a trusted proxy says so; `None`: the same.
    pub client_scheme: Option<Scheme>,
    /// Fields about the client's certificate, whole lines.
    pub certificate: &'a [u8],
    /// We answered `Expect: 100-continue` ourselves: the worker must not see it.
    pub expect_answered: bool,
    /// Protocols that the client may ask to change to.
    pub upgrade: &'a [String],
    /// Names of [withheld](is_withheld) fields that are passed on all the same.
    pub fields: &'a [String],
}

impl Forwarded<'_> {
    /// A request from a client over plain HTTP or TLS, with nothing let through that needs a permission.
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

/// A field that tells some server to take another target, host or method than the request line says: it is dropped unless a
/// prefix wants it ([`Passing::fields`](model::settings::Passing::fields)).
pub fn is_withheld(name: &str) -> bool {
    hop::fate(name.as_bytes()) == hop::Fate::Withheld
}

/// Over how many more servers an OPTIONS or TRACE may go (RFC 9110 §7.6.2); with 0, it is ours to answer.
#[inline]
pub fn max_forwards(head: &RequestHead<'_>) -> Option<u64> {
    let counts = matches!(head.method, Method::Options | Method::Trace);
    counts.then(|| head.fields.get_only("max-forwards")).flatten().and_then(number::decimal)
}
