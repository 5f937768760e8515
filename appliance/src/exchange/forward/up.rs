//! Sends the request to the worker: its head, then content as it arrives from the client.

use super::{Forward, ForwardContext, PIECE};
use crate::exchange::client::Client;
use crate::exchange::source::FeedProgress;
use crate::http::h1::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::{Overflow, Refusal, Sink};
use crate::upstream::{LinkId, Upstream};

/// Longest chunk framing: the size line, the line end after the data, and the last chunk.
const CHUNK_OVERHEAD: usize = 18 + CHUNK_END.len() + LAST_CHUNK.len();

impl Forward {
    /// Whether the transport has taken the whole request.
    pub(super) fn is_sent(&self) -> bool {
        self.head_sent == self.request_head.len() && self.content_ended && self.upload.is_sent()
    }

    /// Sends the head, then content as it arrives from the client.
    pub(super) fn send_request<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut ForwardContext<'_, U>,
    ) -> Result<FeedProgress, Refusal> {
        let mut fed = FeedProgress::default();
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
            (fed.wants_content, fed.moved) = (true, true);
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

    /// Passes on one piece of content. Returns the number of client bytes consumed.
    fn pass_content<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut ForwardContext<'_, U>,
    ) -> Result<usize, crate::exchange::client::ContentEnd> {
        let upload = &mut self.upload;
        if self.is_chunked {
            // Each piece becomes one chunk, assembled first so that it leaves as one packet.
            return client.content(PIECE - CHUNK_OVERHEAD, &mut |content, last| {
                let mut out = Sink::new(cx.chunk);
                // Cannot fail: a piece and its framing fit the buffer.
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
            upload.mark_unkept();
            cx.pools.send(link, content)
        })
    }
}

/// Writes content as a chunk, followed by the last chunk if it ends here.
fn put_chunk(out: &mut Sink<'_>, content: &[u8], last: bool) -> Result<(), Overflow> {
    if !content.is_empty() {
        out.put(ChunkHeader::new(content.len() as u64).as_bytes())?;
        out.put(content)?;
        out.put(CHUNK_END)?;
    }
    if last { out.put(LAST_CHUNK) } else { Ok(()) }
}
