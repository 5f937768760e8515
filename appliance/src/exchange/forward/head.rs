//! The heads of the response: interim ones, then the final one.

use super::loss::Unfit;
use super::tunnel::Tunnel;
use super::{Forward, Response, Workers};
use crate::budget::{Budget, Lease};
use crate::exchange::source::{Headed, Hold};
use crate::http::h1::Body;
use crate::http::h1::response::{self, Asked};
use crate::http::response::ResponseHead;
use crate::http::{Overflow, Reply};
use crate::upstream::{LinkId, Upstream};
use alloc::vec::Vec;

/// Interim responses to one request.
const MAX_INTERIM: u8 = 16;
/// Longer heads are counted against the memory for heads while they are held for the client; there are no more of the others
/// than links.
const UNCOUNTED: usize = 16 << 10;

/// A response head while it is incomplete.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    lease: Option<Lease>,
}

impl Gathered {
    /// Makes room for so many bytes in all, or for none. False if there is no memory.
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

    fn add(&mut self, piece: &[u8], budget: &Budget) -> Result<(), Unfit> {
        if !self.lease(self.bytes.len() + piece.len(), budget) {
            return Err(Unfit::NoMemory);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Forgets the bytes and holds the memory for `bytes` of what was made of them.
    fn become_rendered(&mut self, bytes: usize, budget: &Budget) -> Result<(), Unfit> {
        self.bytes = Vec::new();
        let counted = if bytes > UNCOUNTED { bytes } else { 0 };
        if self.lease(counted, budget) { Ok(()) } else { Err(Unfit::NoMemory) }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Forward {
    pub(super) fn receive_head<U: Upstream>(
        &mut self,
        link: LinkId,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut Workers<'_, U>,
    ) -> Headed {
        match self.try_head(link, write, cx) {
            Ok(headed) => headed,
            Err(why) => Headed::Failed(self.unfit(link, why, cx)),
        }
    }

    fn try_head<U: Upstream>(
        &mut self,
        link: LinkId,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut Workers<'_, U>,
    ) -> Result<Headed, Unfit> {
        let input = cx.pools.readable(link);
        if input.is_empty() {
            return Ok(Headed::Nothing);
        }
        // An answer to something that was not asked yet.
        if self.head_sent == 0 {
            return Err(Unfit::Malformed);
        }
        let bounds = cx.pools.answer_bounds(self.pool);
        let before = self.gathered.bytes.len();
        let piece = input.get(..(bounds.bytes + 1).saturating_sub(before)).unwrap_or(input);
        let taken = piece.len();
        if before > 0 {
            self.gathered.add(piece, cx.heads)?;
        }
        let bytes = if before == 0 { piece } else { &self.gathered.bytes };
        // Only a line's end can make a difference to what was incomplete before.
        let parsed = if before == 0 || before + taken >= bounds.bytes || piece.contains(&b'\n') {
            let upgrade = if self.is_sent() { &self.upgrade[..] } else { &[] };
            response::parse_answer(bytes, Asked { head: self.to_head, upgrade }, bounds)
        } else {
            response::Parsed::Partial
        };
        match parsed {
            response::Parsed::Invalid(_) => Err(Unfit::Malformed),
            response::Parsed::Partial => {
                if before == 0 {
                    self.gathered.add(piece, cx.heads)?;
                }
                cx.pools.consume(link, taken);
                Ok(Headed::Moved)
            }
            response::Parsed::Complete { head, len } => {
                let heard = Heard::new(&head);
                if heard.interim {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(Unfit::Malformed);
                    }
                    self.used_up |= !heard.reuse;
                }
                // We have asked the client for its content ourselves.
                let is_ours = heard.interim && head.status == 100;
                let tunnel = heard.upgraded.then(|| Tunnel::new(head.fields.get("upgrade")));
                let written = if is_ours { Ok(0) } else { write(&Reply::from(&head)) };
                let written = written.map_err(|_| Unfit::Malformed)?;
                cx.pools.consume(link, len - before);
                self.gathered.become_rendered(written, cx.heads)?;
                if is_ours {
                    return Ok(Headed::Moved);
                }
                Ok(self.heard(&heard, tunnel, cx))
            }
        }
    }

    /// Goes on from a head that was written for the client.
    fn heard<U: Upstream>(
        &mut self,
        heard: &Heard,
        tunnel: Option<Tunnel>,
        cx: &mut Workers<'_, U>,
    ) -> Headed {
        if heard.interim {
            return Headed::Interim;
        }
        if let Some(tunnel) = tunnel {
            cx.counters.upgraded += 1;
            self.response = Response::Tunnel(tunnel);
            return Headed::Final(None);
        }
        let reuse = heard.reuse && !self.used_up;
        self.response = Response::Content { from: heard.content.clone(), reuse };
        Headed::Final((!heard.live).then_some(Hold { length: heard.length }))
    }
}

/// What a head says, without the head.
struct Heard {
    interim: bool,
    upgraded: bool,
    /// Server-sent events are for now, not for when there are enough of them.
    live: bool,
    /// The link may be used again.
    reuse: bool,
    length: Option<u64>,
    content: Body,
}

impl Heard {
    fn new(head: &ResponseHead<'_>) -> Self {
        const EVENT_STREAM: &[u8] = b"text/event-stream";
        let media_type = head.fields.get("content-type").and_then(|value| value.get(..EVENT_STREAM.len()));
        Self {
            interim: head.is_interim(),
            upgraded: head.is_upgrade(),
            live: media_type.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM)),
            reuse: head.spares_link(),
            length: head.content_length,
            content: Body::from(head.framing),
        }
    }
}
