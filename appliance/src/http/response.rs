//! A worker's response head as a value, and how long one may be.

use super::{Fields, Version};
use model::settings;

/// Most fields of a head that may be allowed.
pub const MAX_FIELDS: usize = 512;

/// How long a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Status line and fields, up to and with the empty line, in bytes.
    pub bytes: usize,
    /// Field lines, at most [`MAX_FIELDS`].
    pub fields: usize,
}

impl Bounds {
    /// The longest head that may be allowed, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
}

impl Default for Bounds {
    /// What real applications need: policies of 20 KB, 110 fields.
    fn default() -> Self {
        Self { bytes: 64 << 10, fields: 256 }
    }
}

impl From<&settings::Pool> for Bounds {
    fn from(pool: &settings::Pool) -> Self {
        let default = Self::default();
        Self {
            bytes: pool.response_head_bytes.map_or(default.bytes, |n| n as usize).min(Self::MAX_BYTES),
            fields: pool.response_fields.map_or(default.fields, |n| n as usize).min(MAX_FIELDS),
        }
    }
}

/// How the content of a worker's response is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No content follows (HEAD, 1xx, 204, 304, or a length of 0).
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Up to the end of the stream.
    UntilClose,
}

/// A worker's response head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Status code, 100 to 999.
    pub status: u16,
    /// Reason phrase as received.
    pub phrase: &'a str,
    /// Version the worker speaks.
    pub version: Version,
    /// How the content is delimited.
    pub framing: Framing,
    /// The Content-Length field, which HEAD and 304 responses carry without content.
    pub content_length: Option<u64>,
    /// The worker keeps the link open after this response.
    pub keep_alive: bool,
    /// All field lines.
    pub fields: Fields<'a>,
    /// Nothing lets expect more from the worker than the response.
    pub(super) ends_there: bool,
    pub(crate) has_date: bool,
    /// Connection names fields.
    pub(crate) nominates: bool,
    /// 101: the protocol changed to.
    pub(crate) upgrade: Option<&'a [u8]>,
}

impl ResponseHead<'_> {
    /// An interim response (1xx): another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The link may be used for another request after this response: the worker keeps it open, and content that is no part
    /// of the response (of one to HEAD, a 1xx, 204 or 304) was not announced. Of a response to HEAD that does not say
    /// `Content-Length: 0` that is not believed: too many servers send content all the same.
    pub fn spares_link(&self) -> bool {
        self.keep_alive && self.ends_there
    }

    /// 101 (Switching Protocols): what follows is not HTTP.
    pub fn is_upgrade(&self) -> bool {
        self.status == 101
    }
}

/// No content follows such a status, whatever the framing fields say (RFC 9110 §6.4.1).
#[inline]
pub(super) fn has_no_content(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
