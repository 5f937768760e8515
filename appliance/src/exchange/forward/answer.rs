//! Content of a response: taken from the worker and checked.

use super::loss::ResponseError;
use super::{Forward, ForwardContext, Response};
use crate::exchange::source::{PullProgress, Ready};
use crate::http::h1::Body;
use crate::upstream::{Ending, LinkId, Upstream};
use netdrv::stream::CloseReason;

impl Forward {
    /// What there is to pull from the link.
    pub(super) fn ready_on<U: Upstream>(&self, link: LinkId, cx: &ForwardContext<'_, U>) -> Ready {
        let available = cx.pools.readable(link).len();
        let from = match &self.response {
            Response::Head => return Ready::Nothing,
            Response::Tunnel(_) if available > 0 => return Ready::Bytes(available),
            // Half-closes cannot be passed on to workers, so this is the end.
            Response::Tunnel(_) if self.link_ended.is_some() => return Ready::Finished,
            Response::Tunnel(_) => return Ready::Nothing,
            Response::Content { from, .. } => from,
        };
        if from.is_finished() {
            return Ready::Finished;
        }
        if available > 0 {
            return Ready::Bytes(available);
        }
        // A reset does not complete content delimited by close, and what looks like an orderly end may have
        // been cut.
        let is_over = match from {
            Body::UntilClose => {
                self.link_ended == Some(CloseReason::Shutdown) && cx.pools.ending(link) == Ending::Whole
            }
            _ => from.content_is_complete() && (self.link_ended.is_some() || self.trailers_late),
        };
        if is_over { Ready::End } else { Ready::Nothing }
    }

    /// Passes a piece of content to `put`.
    pub(super) fn take_content<U: Upstream>(
        &mut self,
        link: LinkId,
        room: usize,
        put: &mut dyn FnMut(&[u8], bool),
        cx: &mut ForwardContext<'_, U>,
    ) -> PullProgress {
        let input = cx.pools.readable(link);
        let input = input.get(..room).unwrap_or(input);
        let from = match &mut self.response {
            Response::Head => return PullProgress::Nothing,
            Response::Tunnel(tunnel) => {
                tunnel.track_down(input);
                put(input, false);
                let len = input.len();
                cx.counters.tunnel_bytes_out += len as u64;
                cx.pools.consume(link, len);
                return PullProgress::Moved;
            }
            Response::Content { from, .. } => from,
        };
        if input.is_empty() {
            if cx.pools.readable(link).is_empty() {
                *from = Body::NONE;
                return PullProgress::Ended;
            }
            return PullProgress::Nothing;
        }
        let Ok(span) = from.read(input) else {
            return PullProgress::Failed(self.reject(link, ResponseError::Malformed, cx));
        };
        let content = input.get(span.content).unwrap_or_default();
        let is_last = from.is_finished();
        if !content.is_empty() || is_last {
            put(content, is_last);
        }
        cx.pools.consume(link, span.consumed);
        PullProgress::Moved
    }
}
