//! Syntax of single values. Errors are messages, `what, expected what`; the caller adds the position.

use super::Address;
use model::settings::StaticAddress;
use model::url::{PrefixError, PrefixErrorKind};
use std::net::Ipv4Addr;
use std::path::Path;

/// Maximum length of the name of a site or pool, which appears in every log line.
const NAME_MAX: usize = 63;
/// Minimum memory of a worker VM: the kernel needs it to start.
const MEMORY_MIN_MIB: u32 = 16;
/// Maximum length of `append`; Linux on x86-64 accepts 2047 bytes of command line in all.
const KERNEL_WORDS_MAX: usize = 1024;
/// Maximum memory of a worker VM.
const MEMORY_MAX_MIB: u32 = 1 << 20;

type Result<T> = std::result::Result<T, String>;

/// Validates the name of a site or pool.
pub(super) fn name(text: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(plain) {
        return Err(format!("name {text:?}, expected 1 to {NAME_MAX} letters, digits, `-`, `_` or `.`"));
    }
    Ok(())
}

/// Parses `ADDRESS/PREFIX-LENGTH` of an interface, and its gateway. The error says which of the two is wrong.
pub fn parse_address(cidr: &str, gateway: Option<&str>) -> std::result::Result<StaticAddress, AddressError> {
    use AddressError::{Address, Gateway};
    let wrong = || {
        Address(format!(
            "address {cidr:?}, expected an IPv4 address with its prefix length like 10.0.2.15/24"
        ))
    };
    let (address, len) = cidr.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix_len =
        number(len.as_bytes()).and_then(|n| u8::try_from(n).ok()).filter(|&n| n <= 32).ok_or_else(wrong)?;
    if !unicast(address) {
        return Err(Address(format!("address {address}, expected a valid host address")));
    }
    let net = |a: Ipv4Addr| a.to_bits().checked_shr(32 - u32::from(prefix_len)).unwrap_or(0);
    let gateway = match gateway {
        None => None,
        Some(text) => match text.parse::<Ipv4Addr>() {
            Ok(g) if unicast(g) && g != address && net(g) == net(address) => Some(g.octets()),
            Ok(g) => return Err(Gateway(format!("gateway {g}, expected another host in {cidr}"))),
            Err(_) => {
                return Err(Gateway(format!("gateway {text:?}, expected an IPv4 address like 10.0.2.2")));
            }
        },
    };
    Ok(StaticAddress { address: address.octets(), prefix_len, gateway })
}

/// Error of [`parse_address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Fault address or prefix length.
    Address(String),
    /// Fault gateway.
    Gateway(String),
}

impl std::fmt::Display for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Address(what) | Self::Gateway(what)) = self;
        f.write_str(what)
    }
}

impl std::error::Error for AddressError {}

fn unicast(a: Ipv4Addr) -> bool {
    !(a.is_unspecified() || a.is_broadcast() || a.is_multicast() || a.is_loopback())
}

/// Parses the memory of a VM, a whole number with `M` or `G`, to MiB.
pub(super) fn memory(text: &str) -> Result<u32> {
    let mib = match text.as_bytes() {
        [digits @ .., b'M'] => number(digits),
        [digits @ .., b'G'] => number(digits).and_then(|n| n.checked_mul(1024)),
        _ => None,
    };
    let wrong = || format!("memory {text:?}, expected {MEMORY_MIN_MIB}M to {}G", MEMORY_MAX_MIB / 1024);
    mib.filter(|n| (MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(n)).ok_or_else(wrong)
}

/// Validates text for a Linux kernel's command line.
pub(super) fn kernel_words(text: &str) -> Result<()> {
    if text.len() > KERNEL_WORDS_MAX || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(format!("append, expected at most {KERNEL_WORDS_MAX} bytes of printable ASCII"));
    }
    Ok(())
}

/// Parses `vsock:CID:PORT`, `tcp:HOST:PORT` or `unix:PATH`; relative paths start at `dir`.
pub(super) fn worker_address(text: &str, dir: &Path) -> Result<Address> {
    // A password may precede an `@`, so do not quote the address.
    let quoted = if text.contains('@') { "with a user".to_owned() } else { format!("{text:?}") };
    let wrong = || format!("address {quoted}, expected vsock:CID:PORT, tcp:HOST:PORT or unix:PATH");
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    match scheme {
        "unix" if !rest.is_empty() => Ok(Address::Unix(dir.join(rest))),
        "tcp" => {
            let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            let port = number(port.as_bytes()).and_then(|p| u16::try_from(p).ok()).filter(|&p| p != 0);
            match (bare.or((!host.contains(':')).then_some(host)).filter(|h| !h.is_empty()), port) {
                (Some(host), Some(port)) => Ok(Address::Tcp { host: host.to_owned(), port }),
                _ => Err(wrong()),
            }
        }
        "vsock" => {
            let (cid, port) = rest.split_once(':').ok_or_else(wrong)?;
            match (number(cid.as_bytes()), number(port.as_bytes())) {
                // CIDs 0 and 1 are no machines, and the highest is the wildcard.
                (Some(cid), Some(port)) if cid >= 2 && cid != u32::MAX && port != u32::MAX => {
                    Ok(Address::Vsock { cid, port })
                }
                _ => Err(format!("{} with a CID from 2", wrong())),
            }
        }
        _ => Err(wrong()),
    }
}

/// Parses a decimal number without sign or leading zeros.
fn number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|n: &u32| n.to_string() == text)
}

/// Message for an invalid URL prefix.
pub(super) fn prefix_error(error: &PrefixError) -> &'static str {
    match error.kind {
        PrefixErrorKind::Scheme => "not a URL prefix, expected http:// or https:// in lower case",
        PrefixErrorKind::HostMissing => "no host, expected a name, an IPv4 address, `+`, `*` or `*.domain`",
        PrefixErrorKind::Host => "not a host, expected a name, an IPv4 address, `+`, `*` or `*.domain`",
        PrefixErrorKind::HostLength => "host too long, expected at most 253 characters and 63 between dots",
        PrefixErrorKind::Address => "malformed IP address, expected one like 192.0.2.1",
        PrefixErrorKind::PortMissing => "no port, expected `:` and a number from 1 to 65535",
        PrefixErrorKind::Port => "port, expected a number from 1 to 65535 without leading zero",
        PrefixErrorKind::PathMissing => "no path, expected `/` after the port",
        PrefixErrorKind::PathEnd => "path, expected `/` at its end",
        PrefixErrorKind::Path => "invalid character in the path, expected the decoded path",
        PrefixErrorKind::PathSegment => "an empty, `.` or `..` segment in the path, expected plain names",
    }
}
