//! A worker's response head as a value, and limits on it.

use super::{Fields, Version};
use model::settings;

/// Upper bound on the allowed number of fields.
pub const MAX_FIELDS: usize = 512;

/// Limits on a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Length of status line and fields, including the final empty line, in bytes.
    pub bytes: usize,
    /// Number of field lines, at most [`MAX_FIELDS`].
    pub fields: usize,
}

impl ResponseLimits {
    /// Upper bound on the allowed length of a head, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
}

impl Default for ResponseLimits {
    /// What real applications need, such as policies of 20 KB and 110 fields.
    fn default() -> Self {
        Self { bytes: 64 << 10, fields: 256 }
    }
}

impl From<&settings::Pool> for ResponseLimits {
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
    /// The worker's protocol version.
    pub version: Version,
    /// How the content is delimited.
    pub framing: Framing,
    /// Content-Length as received; HEAD and 304 responses may have it without content.
    pub content_length: Option<u64>,
    /// Whether the worker keeps the link open after this response.
    pub keep_alive: bool,
    /// All field lines.
    pub fields: Fields<'a>,
    /// Nothing suggests that the worker sends more than the response.
    pub(super) expects_no_surplus: bool,
    pub(crate) has_date: bool,
    /// Connection names fields.
    pub(crate) nominates: bool,
    /// 101: the protocol switched to.
    pub(crate) upgrade: Option<&'a [u8]>,
}

impl ResponseHead<'_> {
    /// Whether this is an interim response (1xx): another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the link may be used for another request: the worker keeps it open, and announced no content
    /// where the response has none (HEAD, 1xx, 204, 304). A response to HEAD needs `Content-Length: 0`, since
    /// too many servers send content in spite of HEAD.
    pub fn allows_reuse(&self) -> bool {
        self.keep_alive && self.expects_no_surplus
    }

    /// Whether this is a 101 (Switching Protocols): what follows is not HTTP.
    pub fn is_upgrade(&self) -> bool {
        self.status == 101
    }
}

/// Whether a response with this status has no content, whatever its framing fields say (RFC 9110 §6.4.1).
#[inline]
pub(super) fn has_no_content(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
