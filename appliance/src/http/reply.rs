//! A response head as a value, before an encoder turns it into bytes.

use super::hop::{self, Nominated};
use super::response::{Framing, ResponseHead};
use super::{Field, Fields};

/// A generated field. Its value comes in parts, which need not be concatenated first.
#[derive(Clone, Copy, Debug)]
pub struct OwnField<'a> {
    /// Field name.
    pub name: &'static str,
    /// Parts of the value, in order.
    pub value: &'a [&'a [u8]],
}

/// The content that goes with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None, regardless of the request. The length that a response to GET would have had may be announced
    /// (RFC 9110 §8.6).
    Nothing {
        /// In bytes.
        announced: Option<u64>,
    },
    /// This many bytes.
    Length(u64),
    /// An unknown length.
    Unknown,
}

/// A response head.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Status code, 100 to 999.
    pub status: u16,
    /// The worker's reason phrase; `None`: that of RFC 9110.
    pub phrase: Option<&'a str>,
    /// The content that follows, unless the request was HEAD.
    pub content: Content,
    /// Generated fields.
    pub own: &'a [OwnField<'a>],
    /// Prepared fields that describe the content.
    pub lines: Fields<'a>,
    /// Status line, length and [`Reply::lines`] prepared for HTTP/1.
    pub prepared: Option<&'a [u8]>,
    /// Fields that the site adds to all of its responses, such as Strict-Transport-Security.
    pub site: Fields<'a>,
    /// The worker's fields, and whether Connection names any.
    pub(crate) received: Option<(Fields<'a>, bool)>,
    /// The worker's fields include Date.
    pub has_date: bool,
    /// 101: the protocol that the connection switches to.
    pub upgrade: Option<&'a [u8]>,
}

impl<'a> Reply<'a> {
    /// Tells a waiting client to send its content (RFC 9110 §15.2.1).
    pub const CONTINUE: Reply<'static> = Reply::new(100, Content::Nothing { announced: None });

    /// A status and its content.
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

    /// Whether another head follows (1xx except 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The worker's end-to-end fields (RFC 9110 §7.6.1).
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

    /// Adds the site's fields, except those that the worker sent itself.
    #[must_use]
    pub fn add_site_fields(self, lines: Fields<'a>) -> Self {
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
            // No length with 204 (RFC 9110 §8.6). With 304, it would have to be that of a 200, which is not
            // known.
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
    fn site_fields_come_once_and_in_final_heads_only() {
        let site = Fields::prepared(b"Strict-Transport-Security: max-age=1\r\n");
        let nothing = Content::Nothing { announced: None };
        assert_eq!(Reply::new(200, nothing).add_site_fields(site).site, site);
        assert_eq!(Reply::new(103, nothing).add_site_fields(site).site, Fields::NONE);
    }
}
