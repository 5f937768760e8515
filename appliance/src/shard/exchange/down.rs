//! The response: taken from the worker, judged, and given to the client as it has room.

use super::{CHUNK_OVERHEAD, Exchange, Response, put_chunk};
use crate::http::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::response::{self, Asked, Client, Framing};
use crate::http::{Sink, Version};
use crate::pool::LinkId;
use crate::shard::body::Body;
use crate::shard::env::{Env, MAX_RESPONSE_HEAD};
use crate::shard::first_buffer::FirstBuffer;
use crate::shard::gate::Gate;
use crate::shard::request::add_fields;
use crate::shard::wire::Wire;
use netdrv::stream::{CloseReason, StreamTransport};

/// Interim responses to one request.
const MAX_INTERIM: u8 = 16;

/// Not a response we pass on.
pub(super) struct Malformed;

/// What one step did.
pub(super) enum Progress {
    Stuck,
    Moved,
    Finished { keep_alive: bool, reuse: bool },
}

impl Exchange {
    /// Sends what was held back; from here on there is no replay.
    pub(super) fn release_first<S>(
        &mut self,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) {
        let Some(first) = self.first.take() else { return };
        let bytes = first.into_bytes();
        gate.send(socket, &bytes, 0, env);
        env.recycle(bytes);
    }

    pub(super) fn receive_response<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<Progress, Malformed> {
        if !gate.is_empty() {
            return Ok(Progress::Stuck);
        }
        match self.response {
            Response::Head => self.receive_head(link, socket, gate, env),
            Response::Content { .. } => self.receive_content(link, socket, gate, env),
            Response::Tunnel => Ok(Progress::Stuck),
        }
    }

    fn receive_content<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<Progress, Malformed> {
        let Response::Content { from, delivery, reuse } = &mut self.response else {
            return Ok(Progress::Stuck);
        };
        let (delivery, reuse) = (*delivery, *reuse);
        let chunked = delivery.framing == Framing::Chunked;
        if from.is_finished() {
            if self.first.is_some() {
                // More than the response said there would be: what it said is not to be believed.
                if !env.pools.readable(link).is_empty() {
                    return Err(Malformed);
                }
                self.release_first(socket, gate, env);
                return Ok(Progress::Moved);
            }
            return Ok(Progress::Finished { keep_alive: delivery.keep_alive, reuse });
        }
        let overhead = if chunked { CHUNK_OVERHEAD } else { 0 };
        let available = env.pools.readable(link).len();
        // A reset is not an end.
        let ended = self.link_ended == Some(CloseReason::Shutdown);
        let ends = available == 0 && ended && matches!(from, Body::UntilClose);
        if available == 0 && !ends {
            return Ok(Progress::Stuck);
        }
        let room = match &self.first {
            Some(first) => first.room(),
            None => gate.open(available + overhead, socket, env),
        };
        let Some(room) = room.checked_sub(overhead).filter(|room| *room > 0 || ends) else {
            if self.first.is_none() {
                return Ok(Progress::Stuck);
            }
            self.release_first(socket, gate, env);
            return Ok(Progress::Moved);
        };
        let input = env.pools.readable(link);
        // One record for a chunk and its framing, put together first.
        let together = chunked && self.first.is_none() && socket.is_secure();
        let room = if together { room.min(env.render.len() - CHUNK_OVERHEAD) } else { room };
        // Everything below fits: the input is cut to the room there is.
        let (first, now) = (&mut self.first, env.now);
        let mut put = |bytes: &[u8]| match first {
            Some(first) => first.put(bytes, now),
            None => {
                gate.write(socket, bytes);
            }
        };
        if ends {
            if chunked {
                put(LAST_CHUNK);
            }
            *from = Body::NONE;
            return Ok(Progress::Moved);
        }
        let input = &input[..input.len().min(room)];
        if input.is_empty() {
            return Ok(Progress::Stuck);
        }
        let span = from.read(input).map_err(|_| Malformed)?;
        let content = &input[span.content];
        if together {
            let mut out = Sink::new(&mut env.render);
            put_chunk(&mut out, content, from.is_finished()).map_err(|_| Malformed)?;
            put(out.written());
        } else if chunked {
            if !content.is_empty() {
                put(ChunkHeader::new(content.len() as u64).as_bytes());
                put(content);
                put(CHUNK_END);
            }
            if from.is_finished() {
                put(LAST_CHUNK);
            }
        } else {
            put(content);
        }
        env.pools.consume(link, span.consumed);
        Ok(Progress::Moved)
    }

    fn receive_head<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<'_, S>,
    ) -> Result<Progress, Malformed> {
        let input = env.pools.readable(link);
        if input.is_empty() {
            return Ok(Progress::Stuck);
        }
        // An answer to something that was not asked yet.
        if self.head_sent < self.request_head.len() {
            return Err(Malformed);
        }
        let before = self.response_head.len();
        let piece = &input[..input.len().min(MAX_RESPONSE_HEAD + 1 - before.min(MAX_RESPONSE_HEAD))];
        let bytes: &[u8] = if before == 0 {
            piece
        } else {
            self.response_head.extend_from_slice(piece);
            &self.response_head
        };
        let asked = Asked { head: self.client.to_head, upgrade: self.upgrade };
        match response::parse_answer(bytes, asked, MAX_RESPONSE_HEAD) {
            response::Parsed::Invalid(_) => Err(Malformed),
            response::Parsed::Partial => {
                if before == 0 {
                    self.response_head.extend_from_slice(piece);
                }
                let n = piece.len();
                env.pools.consume(link, n);
                Ok(Progress::Moved)
            }
            response::Parsed::Complete { head, len } => {
                let skip =
                    head.status == 100 || (head.is_interim() && self.client.version == Version::Http10);
                if head.is_interim() {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(Malformed);
                    }
                }
                if skip {
                    let taken = len - before;
                    self.response_head.clear();
                    env.pools.consume(link, taken);
                    return Ok(Progress::Moved);
                }
                let mut out = Sink::new(&mut env.render);
                let keep_alive = self.client.keep_alive && !env.drain.has_begun();
                let client = Client { keep_alive, ..self.client };
                let delivery = response::write_response(&head, client, &env.serving.date, &mut out)
                    .map_err(|_| Malformed)?;
                let mut rendered = out.len();
                let hsts = self.secure_site.and_then(|site| env.security.store()?.hsts(site));
                if let Some(hsts) = hsts.filter(|_| !head.is_interim())
                    && head.fields.get("strict-transport-security").is_none()
                {
                    rendered = add_fields(&mut env.render, rendered, hsts);
                }
                let (upgraded, live) = (head.is_upgrade(), is_event_stream(&head));
                let length = head.content_length;
                self.status = head.status;
                let (interim, from, reuse) = (head.is_interim(), Body::from(head.framing), head.keep_alive);
                self.response_head.clear();
                env.pools.consume(link, len - before);
                if interim || upgraded || live {
                    gate.send_rendered(socket, rendered, 0, env);
                } else {
                    let buffer = env.buffer();
                    let head = env.render.get(..rendered).unwrap_or_default();
                    self.first = Some(FirstBuffer::new(buffer, head, length, env.now));
                }
                if upgraded {
                    env.counters.upgraded += 1;
                    self.response = Response::Tunnel;
                } else if !interim {
                    self.response = Response::Content { from, delivery, reuse };
                }
                Ok(Progress::Moved)
            }
        }
    }
}

/// Server-sent events are for now, not for when there are enough of them.
fn is_event_stream(head: &response::ResponseHead<'_>) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let media_type = head.fields.get("content-type").and_then(|value| value.get(..EVENT_STREAM.len()));
    media_type.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}
