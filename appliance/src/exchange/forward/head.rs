//! Response heads from a worker: any interim ones, then the final one.

use super::loss::ResponseError;
use super::tunnel::Tunnel;
use super::{Forward, ForwardContext, Response};
use crate::budget::{Budget, Lease};
use crate::exchange::source::{HeadProgress, Hold};
use crate::http::h1::Body;
use crate::http::h1::response::{self, RequestInfo};
use crate::http::response::ResponseHead;
use crate::http::{Overflow, Reply};
use crate::upstream::{LinkId, Upstream};
use alloc::vec::Vec;

/// Limit on interim responses to one request.
const MAX_INTERIM: u8 = 16;
/// Held heads longer than this, in bytes, are charged to the memory for heads. Shorter ones are bounded by
/// the number of links.
const UNCOUNTED: usize = 16 << 10;

/// An incomplete response head.
#[derive(Default)]
pub(super) struct PartialResponseHead {
    bytes: Vec<u8>,
    lease: Option<Lease>,
}

impl PartialResponseHead {
    /// Resizes the memory lease to `bytes`. False if there is no memory.
    fn lease(&mut self, bytes: usize, budget: &Budget) -> bool {
        match &mut self.lease {
            Some(lease) => lease.resize(bytes),
            None if bytes == 0 => true,
            none => {
                *none = budget.lease(bytes);
                none.is_some()
            }
        }
    }

    fn add(&mut self, piece: &[u8], budget: &Budget) -> Result<(), ResponseError> {
        if !self.lease(self.bytes.len() + piece.len(), budget) {
            return Err(ResponseError::NoMemory);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Drops the received bytes and keeps a lease for the `bytes` of the head rendered from them.
    fn hold_rendered(&mut self, bytes: usize, budget: &Budget) -> Result<(), ResponseError> {
        self.bytes = Vec::new();
        let counted = if bytes > UNCOUNTED { bytes } else { 0 };
        if self.lease(counted, budget) { Ok(()) } else { Err(ResponseError::NoMemory) }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Forward {
    pub(super) fn receive_head<U: Upstream>(
        &mut self,
        link: LinkId,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut ForwardContext<'_, U>,
    ) -> HeadProgress {
        match self.try_head(link, write, cx) {
            Ok(head_written) => head_written,
            Err(why) => HeadProgress::Failed(self.reject(link, why, cx)),
        }
    }

    fn try_head<U: Upstream>(
        &mut self,
        link: LinkId,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut ForwardContext<'_, U>,
    ) -> Result<HeadProgress, ResponseError> {
        let input = cx.pools.readable(link);
        if input.is_empty() {
            return Ok(HeadProgress::Nothing);
        }
        // An answer to a request that was not sent yet.
        if self.head_sent == 0 {
            return Err(ResponseError::Malformed);
        }
        let bounds = cx.pools.response_limits(self.pool);
        let before = self.partial_head.bytes.len();
        let piece = input.get(..(bounds.bytes + 1).saturating_sub(before)).unwrap_or(input);
        let taken = piece.len();
        if before > 0 {
            self.partial_head.add(piece, cx.heads)?;
        }
        let bytes = if before == 0 { piece } else { &self.partial_head.bytes };
        // A head that was incomplete can only become complete with the end of a line.
        let parsed = if before == 0 || before + taken >= bounds.bytes || piece.contains(&b'\n') {
            let upgrade = if self.is_sent() { &self.upgrade[..] } else { &[] };
            response::parse_for(bytes, RequestInfo { is_head: self.is_head, upgrade }, bounds)
        } else {
            response::Parsed::Partial
        };
        match parsed {
            response::Parsed::Invalid(_) => Err(ResponseError::Malformed),
            response::Parsed::Partial => {
                if before == 0 {
                    self.partial_head.add(piece, cx.heads)?;
                }
                cx.pools.consume(link, taken);
                Ok(HeadProgress::Moved)
            }
            response::Parsed::Complete { head, len } => {
                let summary = HeadSummary::new(&head);
                if summary.interim {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(ResponseError::Malformed);
                    }
                    self.no_reuse |= !summary.reuse;
                }
                // `100 Continue` was already sent to the client.
                let is_ours = summary.interim && head.status == 100;
                let tunnel = summary.upgraded.then(|| Tunnel::new(head.fields.get("upgrade")));
                let written = if is_ours { Ok(0) } else { write(&Reply::from(&head)) };
                let written = written.map_err(|_| ResponseError::Malformed)?;
                cx.pools.consume(link, len - before);
                self.partial_head.hold_rendered(written, cx.heads)?;
                if is_ours {
                    return Ok(HeadProgress::Moved);
                }
                Ok(self.on_head_written(&summary, tunnel, cx))
            }
        }
    }

    /// Continues after a head that was written for the client.
    fn on_head_written<U: Upstream>(
        &mut self,
        summary: &HeadSummary,
        tunnel: Option<Tunnel>,
        cx: &mut ForwardContext<'_, U>,
    ) -> HeadProgress {
        if summary.interim {
            return HeadProgress::Interim;
        }
        if let Some(tunnel) = tunnel {
            cx.counters.upgraded += 1;
            self.response = Response::Tunnel(tunnel);
            return HeadProgress::Final(None);
        }
        let reuse = summary.reuse && !self.no_reuse;
        self.response = Response::Content { from: summary.content.clone(), reuse };
        HeadProgress::Final((!summary.live).then_some(Hold { length: summary.length }))
    }
}

/// What matters of a head after it was written.
struct HeadSummary {
    interim: bool,
    upgraded: bool,
    /// Server-sent events: never held back.
    live: bool,
    /// The head allows the link to be used again.
    reuse: bool,
    length: Option<u64>,
    content: Body,
}

impl HeadSummary {
    fn new(head: &ResponseHead<'_>) -> Self {
        const EVENT_STREAM: &[u8] = b"text/event-stream";
        let media_type = head.fields.get("content-type").and_then(|value| value.get(..EVENT_STREAM.len()));
        Self {
            interim: head.is_interim(),
            upgraded: head.is_upgrade(),
            live: media_type.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM)),
            reuse: head.allows_reuse(),
            length: head.content_length,
            content: Body::from(head.framing),
        }
    }
}
