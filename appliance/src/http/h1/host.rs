//! Writes hosts and addresses.

use crate::http::forward::Forwarded;
use crate::http::{Overflow, RequestHead, Sink};
use core::fmt::Write as _;
use core::net::IpAddr;

/// Writes the host that the client named, or the local address.
pub(super) fn host(
    head: &RequestHead<'_>,
    forwarded: &Forwarded<'_>,
    out: &mut Sink<'_>,
) -> Result<(), Overflow> {
    let port = if !head.host.is_empty() {
        out.put(head.host)?;
        head.port.map(core::num::NonZeroU16::get)
    } else {
        let (address, port) = forwarded.local;
        match address {
            IpAddr::V4(_) => put_address(address, out)?,
            IpAddr::V6(_) => {
                out.put(b"[")?;
                put_address(address, out)?;
                out.put(b"]")?;
            }
        }
        Some(port).filter(|&port| port != forwarded.scheme.default_port())
    };
    if let Some(port) = port {
        out.put(b":")?;
        out.put_decimal(u64::from(port))?;
    }
    Ok(())
}

pub(super) fn put_address(address: IpAddr, out: &mut Sink<'_>) -> Result<(), Overflow> {
    let IpAddr::V4(v4) = address else {
        return write!(out, "{address}").map_err(|_| Overflow);
    };
    for (i, octet) in v4.octets().into_iter().enumerate() {
        if i != 0 {
            out.put(b".")?;
        }
        out.put_decimal(u64::from(octet))?;
    }
    Ok(())
}
