//! Writes responses in HTTP/1 (RFC 9112).

use super::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::error::phrase;
use crate::http::{Content, DataFraming, Encode, Method, Overflow, Reply, RequestHead, Reset, Sink, Version};
use model::date::DateCache;

/// The end of a chunk, and the last chunk.
const END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// How a client finds the end of the content (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    /// There is no content, or its length was announced.
    #[default]
    Known,
    Chunked,
    UntilClose,
}

/// Encodes one response.
#[derive(Clone, Debug)]
pub struct Encoder {
    version: Version,
    is_head: bool,
    keep_alive: bool,
    framing: Framing,
}

impl Encoder {
    /// An encoder for the response to this request.
    pub fn of(head: &RequestHead<'_>) -> Self {
        Self::new(head.version, head.method == Method::Head, head.keep_alive())
    }

    /// `is_head`: the request is HEAD; `keep_alive`: the connection may continue after the response.
    pub const fn new(version: Version, is_head: bool, keep_alive: bool) -> Self {
        Self { version, is_head, keep_alive, framing: Framing::Known }
    }

    /// An encoder for a request that is refused: its connection ends with the response.
    pub const fn of_refusal(is_head: bool) -> Self {
        Self::new(Version::Http11, is_head, false)
    }

    /// Makes this the last response on its connection, if its head was not written yet.
    pub fn make_last(&mut self) {
        self.keep_alive = false;
    }

    /// Whether the connection may continue after the response. Final once the head was written.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    fn status_line(reply: &Reply<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
        out.put(b"HTTP/1.1 ")?;
        out.put_decimal(u64::from(reply.status))?;
        out.put(b" ")?;
        out.put(reply.phrase.unwrap_or_else(|| phrase(reply.status)).as_bytes())?;
        out.put(b"\r\n")
    }

    fn fields(reply: &Reply<'_>, out: &mut Sink<'_>) -> Result<(), Overflow> {
        for field in reply.end_to_end() {
            out.put_field(&field)?;
        }
        for field in reply.own {
            out.put(field.name.as_bytes())?;
            out.put(b": ")?;
            field.value.iter().try_for_each(|part| out.put(part))?;
            out.put(b"\r\n")?;
        }
        Ok(())
    }

    fn length(&self, content: Content, out: &mut Sink<'_>) -> Result<(), Overflow> {
        let announced = match content {
            Content::Nothing { announced } => announced,
            Content::Length(length) => Some(length),
            Content::Unknown if self.framing == Framing::Chunked => {
                return out.put(b"Transfer-Encoding: chunked\r\n");
            }
            Content::Unknown => None,
        };
        let Some(length) = announced else { return Ok(()) };
        out.put(b"Content-Length: ")?;
        out.put_decimal(length)?;
        out.put(b"\r\n")
    }
}

impl Encode for Encoder {
    fn head(&mut self, reply: &Reply<'_>, date: &DateCache, out: &mut Sink<'_>) -> Result<(), Overflow> {
        if reply.is_interim() {
            // HTTP/1.0 has no interim responses (RFC 9110 §15.2).
            if self.version == Version::Http10 {
                return Ok(());
            }
            Self::status_line(reply, out)?;
            Self::fields(reply, out)?;
            return out.put(b"\r\n");
        }
        if let Some(protocol) = reply.upgrade {
            (self.keep_alive, self.framing) = (false, Framing::UntilClose);
            Self::status_line(reply, out)?;
            Self::fields(reply, out)?;
            out.put(b"Connection: Upgrade\r\nUpgrade: ")?;
            out.put(protocol)?;
            return out.put(b"\r\n\r\n");
        }
        self.framing = match (reply.content, self.version) {
            (Content::Unknown, Version::Http11) => Framing::Chunked,
            (Content::Unknown, Version::Http10) => Framing::UntilClose,
            (Content::Nothing { .. } | Content::Length(_), _) => Framing::Known,
        };
        self.keep_alive &= self.framing != Framing::UntilClose;
        match reply.prepared {
            Some(prepared) => out.put(prepared)?,
            None => {
                Self::status_line(reply, out)?;
                Self::fields(reply, out)?;
                self.length(reply.content, out)?;
                out.put(reply.lines.as_bytes())?;
            }
        }
        out.put(reply.site.as_bytes())?;
        if !reply.has_date {
            out.put(date.line())?;
        }
        // RFC 9112 §9.3.
        out.put(match (self.version, self.keep_alive) {
            (Version::Http11, true) => b"\r\n",
            (Version::Http10, true) => b"Connection: keep-alive\r\n\r\n",
            (_, false) => b"Connection: close\r\n\r\n",
        })
    }

    fn overhead(&self) -> usize {
        match self.framing {
            Framing::Chunked => DataFraming::MAX_BEFORE + CHUNK_END.len() + LAST_CHUNK.len(),
            Framing::Known | Framing::UntilClose => 0,
        }
    }

    fn data(&mut self, len: usize, last: bool) -> DataFraming {
        match self.framing {
            Framing::Known | Framing::UntilClose => DataFraming::NOTHING,
            Framing::Chunked if len == 0 => DataFraming::new(&[], if last { LAST_CHUNK } else { &[] }),
            Framing::Chunked => DataFraming::new(
                ChunkHeader::new(len as u64).as_bytes(),
                if last { END_AND_LAST } else { CHUNK_END },
            ),
        }
    }

    fn end(&mut self) -> &'static [u8] {
        if self.framing == Framing::Chunked { LAST_CHUNK } else { &[] }
    }

    fn reset(&mut self) -> Reset {
        Reset::Cut
    }

    fn content_unread(&mut self) {
        self.keep_alive = false;
    }

    fn is_head_request(&self) -> bool {
        self.is_head
    }
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
