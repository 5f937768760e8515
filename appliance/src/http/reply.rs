//! A response head as a value: what is said, before a protocol's encoder decides how.

use super::hop::{self, Nominated};
use super::response::{Framing, ResponseHead};
use super::{Field, Fields};

/// A field of our own making. Its value comes in parts, so that none has to be put together first.
#[derive(Clone, Copy, Debug)]
pub struct OwnField<'a> {
    /// Its name.
    pub name: &'static str,
    /// The parts of its value, in order.
    pub value: &'a [&'a [u8]],
}

/// What content comes with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None, whatever the request was. What a response to GET would have had may be said (RFC 9110 §8.6).
    Nothing {
        /// In bytes.
        announced: Option<u64>,
    },
    /// So many bytes.
    Length(u64),
    /// As many as will come.
    Unknown,
}

/// A response head.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Status code, 100 to 999.
    pub status: u16,
    /// How a worker worded the status; `None`: as RFC 9110 does.
    pub phrase: Option<&'a str>,
    /// The content that follows, unless the request was HEAD.
    pub content: Content,
    /// Fields of our own.
    pub own: &'a [OwnField<'a>],
    /// What describes the content, prepared.
    pub lines: Fields<'a>,
    /// Status line, length and [`Reply::lines`] as HTTP/1 has them, prepared as well.
    pub prepared: Option<&'a [u8]>,
    /// What a site says with each of its responses, such as Strict-Transport-Security.
    pub site: Fields<'a>,
    /// A worker's fields.
    pub(crate) received: Option<(Fields<'a>, bool)>,
    /// A worker's fields tell the date.
    pub has_date: bool,
    /// 101: the protocol that the connection changes to.
    pub upgrade: Option<&'a [u8]>,
}

impl<'a> Reply<'a> {
    /// The continuation that a client may wait for before it sends content (RFC 9110 §15.2.1).
    pub const CONTINUE: Reply<'static> = Reply::new(100, Content::Nothing { announced: None });

    /// A status and what follows it.
    pub const fn new(status: u16, content: Content) -> Self {
        Self {
            status,
            phrase: None,
            content,
            own: &[],
            lines: Fields::NONE,
            prepared: None,
            site: Fields::NONE,
            received: None,
            has_date: false,
            upgrade: None,
        }
    }

    /// Another head follows it (1xx), or, after 101, another protocol.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// A worker's fields that concern more than its connection (RFC 9110 §7.6.1).
    pub fn end_to_end(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let (fields, nominates) = self.received.unzip();
        let nominated = match fields {
            Some(fields) if nominates == Some(true) => Nominated::read(fields),
            _ => Nominated::NONE,
        };
        fields
            .into_iter()
            .flatten()
            .filter(move |field| !hop::is_hop_by_hop(field.name) && !nominated.contains(field.name))
    }

    /// The same with what its site says, unless the worker said it.
    #[must_use]
    pub fn of_site(self, lines: Fields<'a>) -> Self {
        let said = |name: &[u8]| self.received.is_some_and(|(fields, _)| fields.has(name));
        let is_final = self.status >= 200;
        let is_new = !lines.into_iter().any(|line| said(line.name));
        let site = if is_final && is_new { lines } else { Fields::NONE };
        Self { site, ..self }
    }
}

impl<'a> From<&ResponseHead<'a>> for Reply<'a> {
    fn from(head: &ResponseHead<'a>) -> Self {
        let content = match head.framing {
            // RFC 9110 §8.6: no length with 204. With 304 it would have to be that of a 200, which we cannot know.
            Framing::None if head.is_interim() || matches!(head.status, 101 | 204 | 304) => {
                Content::Nothing { announced: None }
            }
            Framing::None => Content::Nothing { announced: head.content_length },
            Framing::Length(length) => Content::Length(length),
            Framing::Chunked | Framing::UntilClose => Content::Unknown,
        };
        Self {
            phrase: Some(head.phrase),
            received: Some((head.fields, head.nominates)),
            has_date: head.has_date,
            upgrade: head.upgrade,
            ..Self::new(head.status, content)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_says_comes_once_and_with_final_heads_only() {
        let site = Fields::prepared(b"Strict-Transport-Security: max-age=1\r\n");
        let nothing = Content::Nothing { announced: None };
        assert_eq!(Reply::new(200, nothing).of_site(site).site, site);
        assert_eq!(Reply::new(103, nothing).of_site(site).site, Fields::NONE);
    }
}
