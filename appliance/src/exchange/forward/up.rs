//! The request: its head, then content as it comes from the client.

use super::{Forward, PIECE, Workers};
use crate::exchange::client::Client;
use crate::exchange::source::Fed;
use crate::http::h1::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::{Overflow, Refusal, Sink};
use crate::upstream::{LinkId, Upstream};

/// Most that a chunk's size line, the line end after its data, and the last chunk take.
const CHUNK_OVERHEAD: usize = 18 + CHUNK_END.len() + LAST_CHUNK.len();

impl Forward {
    /// The worker has all of the request, as far as the transport knows.
    pub(super) fn is_sent(&self) -> bool {
        self.head_sent == self.request_head.len() && self.content_ended && self.upload.is_sent()
    }

    /// Sends the head, then content as it comes from the client.
    pub(super) fn send_request<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut Workers<'_, U>,
    ) -> Result<Fed, Refusal> {
        let mut fed = Fed::default();
        if self.link_ended.is_some() {
            return Ok(fed);
        }
        if let Some(rest) = self.request_head.get(self.head_sent..).filter(|rest| !rest.is_empty()) {
            let n = cx.pools.send(link, rest);
            self.head_sent += n;
            fed.moved |= n > 0;
        }
        if self.head_sent < self.request_head.len() {
            return Ok(fed);
        }
        let (n, all) = self.upload.flush(cx.pools, link);
        fed.moved |= n > 0;
        if !all || self.content_ended {
            return Ok(fed);
        }
        if core::mem::take(&mut self.expects_continue) {
            (fed.asks, fed.moved) = (true, true);
            return Ok(fed);
        }
        while !self.content_ended {
            let passed = self.pass_content(link, client, cx);
            self.content_ended = client.content_ended();
            match passed {
                Ok(0) if !self.content_ended => break,
                Ok(_) => fed.moved = true,
                Err(why) => return Err(why.refusal()),
            }
            if !self.upload.flush(cx.pools, link).1 {
                break;
            }
        }
        Ok(fed)
    }

    /// Passes one piece of content on. Returns how many of the client's bytes are done with.
    fn pass_content<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut Workers<'_, U>,
    ) -> Result<usize, crate::exchange::client::NoContent> {
        let upload = &mut self.upload;
        if self.is_chunked {
            // One piece of chunked content becomes one chunk, put together first so that it leaves as one packet.
            return client.content(PIECE - CHUNK_OVERHEAD, &mut |content, last| {
                let mut out = Sink::new(cx.chunk);
                // There is room: a piece with what goes around it is no longer than the buffer.
                if put_chunk(&mut out, content, last).is_ok() {
                    upload.pass(out.written(), cx.pools, link, cx.contents);
                }
                content.len()
            });
        }
        if upload.keeps() {
            return client.content(PIECE - CHUNK_OVERHEAD, &mut |content, _| {
                upload.pass(content, cx.pools, link, cx.contents);
                content.len()
            });
        }
        // What the link does not take stays in the receive window.
        client.content(usize::MAX, &mut |content, _| {
            upload.let_go();
            cx.pools.send(link, content)
        })
    }
}

/// Content as a chunk, and the last chunk where it ends.
fn put_chunk(out: &mut Sink<'_>, content: &[u8], last: bool) -> Result<(), Overflow> {
    if !content.is_empty() {
        out.put(ChunkHeader::new(content.len() as u64).as_bytes())?;
        out.put(content)?;
        out.put(CHUNK_END)?;
    }
    if last { out.put(LAST_CHUNK) } else { Ok(()) }
}
