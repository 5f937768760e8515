//! Changing a connection to another protocol (RFC 9110 §7.8): which protocols a worker may be asked for.
//!
//! Behind a change of protocol no rule of ours holds any more: what a client sends goes to the worker unread. So a protocol is
//! passed on only if it was allowed by its name, and never if it is HTTP again, or TLS, in which requests would pass unseen.

use super::fields::elements;
use super::request::Present;
use super::syntax::is_tchar;
use super::{Method, RequestHead, Version};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Names of protocols that carry requests or hide them: whoever speaks one of them behind us is asked by none of our rules.
const NEVER: [&str; 8] = ["h2c", "h2", "h2-prior-knowledge", "h3", "http", "https", "tls", "ssl"];

/// A protocol with its version: `name ["/" version]`, both tokens.
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

    fn is_never(&self) -> bool {
        let is = |never: &&str| self.name.eq_ignore_ascii_case(never.as_bytes());
        NEVER.iter().any(is) || self.name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"h2c-"))
    }

    /// The same protocol, as far as both say which.
    fn is(&self, other: &Self) -> bool {
        let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
        same(self.name, other.name) && self.version.zip(other.version).is_none_or(|(a, b)| same(a, b))
    }
}

/// Why a protocol cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// Not a name with perhaps a version.
    Malformed,
    /// It is never passed on.
    Never,
}

/// Checks the name of a protocol that is to be allowed.
pub fn check(protocol: &str) -> Result<(), ProtocolError> {
    match Protocol::parse(protocol.as_bytes()) {
        None => Err(ProtocolError::Malformed),
        Some(protocol) if protocol.is_never() => Err(ProtocolError::Never),
        Some(_) => Ok(()),
    }
}

/// The protocols that a request asks for in a way that can be passed on, and that are `allowed`; none if there is nothing to
/// pass on. `Upgrade` without a Connection that names it, and of HTTP/1.0, asks for nothing. A WebSocket begins with a GET
/// without content (RFC 6455 §4.1); others may begin with any request.
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
            fits && !protocol.is_never() && allowed.iter().any(is_allowed)
        })
    })
}

/// What [`asked`] finds, as one list.
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

/// Whether everything that a 101 (Switching Protocols) names is in the list of what was asked for, and it names something.
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
