//! The request head as a worker receives it (RFC 9110 §7.6).

use super::{Overflow, RequestHead, Sink};
use crate::site::Scheme;
use core::net::IpAddr;

/// What the appliance knows about the client and the worker does not.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded {
    /// The client's address.
    pub client: IpAddr,
    /// How the client reached us.
    pub scheme: Scheme,
    /// We answered `Expect: 100-continue` ourselves: the worker must not see it.
    pub expect_answered: bool,
}

/// Writes the head for the worker: HTTP/1.1, original path and query (dot segments removed), Host, end-to-end fields
/// only, `Forwarded` and `X-Forwarded-*` as we know them, and the framing restated.
pub fn write_request(head: &RequestHead<'_>, forwarded: &Forwarded, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let _ = (head, forwarded, out);
    todo!()
}
