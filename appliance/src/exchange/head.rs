//! The heads of the response: interim ones, then the final one.

use super::down::{Progress, Unfit};
use super::{Exchange, Response};
use crate::budget::{Budget, Lease};
use crate::connection::gate::Gate;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::exchange::body::Body;
use crate::exchange::decide::add_fields;
use crate::exchange::first_buffer::FirstBuffer;
use crate::exchange::tunnel::Tunnel;
use crate::http::response::{self, Asked, Client, ResponseHead};
use crate::http::{Sink, Version};
use crate::upstream::LinkId;
use alloc::vec::Vec;
use netdrv::stream::StreamTransport;

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

    /// Forgets the bytes and holds the memory for `bytes` of what was made of them.
    fn become_rendered(&mut self, bytes: usize, budget: &Budget) -> bool {
        self.bytes = Vec::new();
        self.lease(if bytes > UNCOUNTED { bytes } else { 0 }, budget)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Exchange {
    pub(super) fn receive_head<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) -> Result<Progress, Unfit> {
        let input = env.pools.readable(link);
        if input.is_empty() {
            return Ok(Progress::Stuck);
        }
        // An answer to something that was not asked yet.
        if self.head_sent == 0 {
            return Err(Unfit::Malformed);
        }
        let bounds = env.pools.answer_bounds(self.pool);
        let before = self.gathered.bytes.len();
        let piece = &input[..input.len().min((bounds.bytes + 1).saturating_sub(before))];
        let taken = piece.len();
        if before > 0 {
            if !self.gathered.lease(before + taken, &env.heads) {
                return Err(Unfit::NoMemory);
            }
            self.gathered.bytes.extend_from_slice(piece);
        }
        let bytes = if before == 0 { piece } else { &self.gathered.bytes };
        // Only a line's end can make a difference to what was incomplete before.
        let parsed = if before == 0 || before + taken >= bounds.bytes || piece.contains(&b'\n') {
            let asked = Asked { head: self.client.to_head, upgrade: self.awaited_upgrade() };
            response::parse_answer(bytes, asked, bounds)
        } else {
            response::Parsed::Partial
        };
        match parsed {
            response::Parsed::Invalid(_) => Err(Unfit::Malformed),
            response::Parsed::Partial => {
                if before == 0 {
                    if !self.gathered.lease(taken, &env.heads) {
                        return Err(Unfit::NoMemory);
                    }
                    self.gathered.bytes.extend_from_slice(piece);
                }
                env.pools.consume(link, taken);
                Ok(Progress::Moved)
            }
            response::Parsed::Complete { head, len } => {
                let heard = Heard::new(&head);
                let tunnel = heard.upgraded.then(|| Tunnel::new(head.fields.get("upgrade")));
                if heard.interim {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(Unfit::Malformed);
                    }
                    self.used_up |= !heard.reuse;
                }
                if heard.interim && (head.status == 100 || self.client.version == Version::Http10) {
                    self.gathered.clear();
                    env.pools.consume(link, len - before);
                    return Ok(Progress::Moved);
                }
                let keep_alive = self.client.keep_alive && !env.drain.has_begun();
                let client = Client { keep_alive, ..self.client };
                let mut out = Sink::new(&mut env.render);
                let delivery = response::write_response(&head, client, &env.date, &mut out)
                    .map_err(|_| Unfit::Malformed)?;
                let mut rendered = out.len();
                let hsts = self.secure_site.and_then(|site| env.security.store()?.hsts(site));
                if let Some(hsts) = hsts.filter(|_| !heard.interim)
                    && head.fields.get("strict-transport-security").is_none()
                {
                    rendered = add_fields(&mut env.render, rendered, hsts);
                }
                env.pools.consume(link, len - before);
                if !self.gathered.become_rendered(rendered, &env.heads) {
                    return Err(Unfit::NoMemory);
                }
                self.status = heard.status;
                if !heard.interim {
                    self.response = if let Some(tunnel) = tunnel {
                        env.counters.upgraded += 1;
                        Response::Tunnel(tunnel)
                    } else {
                        let reuse = heard.reuse && !self.used_up;
                        Response::Content { from: heard.content.clone(), delivery, reuse }
                    };
                }
                self.pass_head(&heard, rendered, socket, gate, env);
                Ok(Progress::Moved)
            }
        }
    }

    /// The protocols that the worker may change to now: another one begins after the request, all of it (RFC 9110 §7.8).
    fn awaited_upgrade(&self) -> &[u8] {
        let is_sent =
            self.head_sent == self.request_head.len() && self.content_ended && self.upload.is_sent();
        if is_sent { &self.upgrade } else { &[] }
    }

    /// Sends the head that was rendered, or holds it until it is certain that the worker lives.
    fn pass_head<S: StreamTransport>(
        &mut self,
        heard: &Heard,
        rendered: usize,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) {
        if heard.interim || heard.upgraded || heard.live {
            return gate.send_rendered(socket, rendered, 0, env);
        }
        let buffer = env.buffer();
        let head = env.render.get(..rendered).unwrap_or_default();
        self.first = Some(FirstBuffer::new(buffer, head, heard.length, env.now));
    }
}

/// What a head says, without the head.
struct Heard {
    status: u16,
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
            status: head.status,
            interim: head.is_interim(),
            upgraded: head.is_upgrade(),
            live: media_type.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM)),
            reuse: head.spares_link(),
            length: head.content_length,
            content: Body::from(head.framing),
        }
    }
}
