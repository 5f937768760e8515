//! Protocol upgrades (RFC 9110 §7.8): which protocols a worker may be asked for.
//!
//! After an upgrade, none of our rules apply: the client's bytes go to the worker unread. So a protocol is
//! passed on only if it was allowed by name, and never if it is HTTP or TLS, in which requests would pass
//! unseen.

use super::fields::elements;
use super::request::Present;
use super::syntax::is_tchar;
use super::{Method, RequestHead, Version};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Protocols that carry or hide requests, to which none of our rules would apply.
const FORBIDDEN: [&str; 8] = ["h2c", "h2", "h2-prior-knowledge", "h3", "http", "https", "tls", "ssl"];

/// A protocol with optional version: `name ["/" version]`, both tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protocol<'a> {
    name: &'a [u8],
    version: Option<&'a [u8]>,
}

impl<'a> Protocol<'a> {
    fn parse(element: &'a [u8]) -> Option<Self> {
        let slash = element.iter().position(|&b| b == b'/');
        let (name, version) = match slash {
            None => (element, None),
            Some(at) => (element.get(..at)?, Some(element.get(at + 1..)?)),
        };
        let is_token = |part: &[u8]| !part.is_empty() && part.iter().all(|&b| is_tchar(b));
        (is_token(name) && version.is_none_or(is_token)).then_some(Self { name, version })
    }

    fn is_forbidden(&self) -> bool {
        let is = |never: &&str| self.name.eq_ignore_ascii_case(never.as_bytes());
        FORBIDDEN.iter().any(is)
            || self.name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"h2c-"))
    }

    /// Whether both name the same protocol, and the same version if both have one.
    fn is(&self, other: &Self) -> bool {
        let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
        same(self.name, other.name) && self.version.zip(other.version).is_none_or(|(a, b)| same(a, b))
    }
}

/// Why a protocol cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// Not a name with optional version.
    Malformed,
    /// Never passed on.
    Forbidden,
}

/// Checks the name of a protocol that is to be allowed.
pub fn check(protocol: &str) -> Result<(), ProtocolError> {
    match Protocol::parse(protocol.as_bytes()) {
        None => Err(ProtocolError::Malformed),
        Some(protocol) if protocol.is_forbidden() => Err(ProtocolError::Forbidden),
        Some(_) => Ok(()),
    }
}

/// The requested protocols that are `allowed`, empty if there is nothing to pass on. `Upgrade` is ignored if
/// Connection does not name it, and in HTTP/1.0. A WebSocket handshake is a GET without content (RFC 6455
/// §4.1); other protocols may use any request.
pub(crate) fn asked<'h>(
    head: &'h RequestHead<'_>,
    allowed: &'h [String],
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let asks = head.present.any(Present::UPGRADE)
        && head.present.any(Present::NOMINATED)
        && head.version == Version::Http11
        && head.fields.elements("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let is_plain_get = head.method == Method::Get && head.framing == super::Framing::None;
    let fields = asks.then_some(head.fields).into_iter();
    fields.flat_map(|fields| fields.elements("upgrade")).filter(move |element| {
        Protocol::parse(element).is_some_and(|protocol| {
            let is_allowed =
                |name: &String| Protocol::parse(name.as_bytes()).is_some_and(|allowed| allowed.is(&protocol));
            let fits = is_plain_get || !protocol.name.eq_ignore_ascii_case(b"websocket");
            fits && !protocol.is_forbidden() && allowed.iter().any(is_allowed)
        })
    })
}

/// The result of [`asked`] as one list.
pub(crate) fn list(head: &RequestHead<'_>, allowed: &[String]) -> Box<[u8]> {
    let mut list = Vec::new();
    for protocol in asked(head, allowed) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(protocol);
    }
    list.into()
}

/// Whether a 101 (Switching Protocols) names at least one protocol, and only requested ones.
pub(crate) fn is_answer(asked: &[u8], answered: &[u8]) -> bool {
    let was_asked = |element: &[u8]| {
        Protocol::parse(element)
            .is_some_and(|a| elements(asked).filter_map(Protocol::parse).any(|b| a.is(&b)))
    };
    elements(answered).next().is_some() && elements(answered).all(was_asked)
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
