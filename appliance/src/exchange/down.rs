//! The response: taken from the worker, judged, and given to the client as it has room.

use super::{CHUNK_OVERHEAD, Exchange, Response, put_chunk};
use crate::connection::gate::Gate;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::exchange::body::Body;
use crate::http::Sink;
use crate::http::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use crate::http::response::Framing;
use crate::upstream::{Ending, LinkId};
use netdrv::stream::{CloseReason, StreamTransport};

/// Why a response is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not HTTP as we know it.
    Malformed,
    /// There is no memory for its head.
    NoMemory,
}

/// What one step did.
pub(super) enum Progress {
    Stuck,
    Moved,
    Finished { keep_alive: bool, reuse: bool },
}

impl Exchange {
    /// Sends what was held back; from here on there is no replay.
    pub(super) fn release_first<S>(&mut self, socket: &mut Wire<'_, '_>, gate: &mut Gate, env: &mut Env<S>) {
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
        env: &mut Env<S>,
    ) -> Result<Progress, Unfit> {
        if !gate.is_empty() {
            return Ok(Progress::Stuck);
        }
        match self.response {
            Response::Head => self.receive_head(link, socket, gate, env),
            Response::Content { .. } => self.receive_content(link, socket, gate, env),
            Response::Tunnel(_) => Ok(Progress::Stuck),
        }
    }

    fn receive_content<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) -> Result<Progress, Unfit> {
        let Response::Content { from, delivery, reuse } = &mut self.response else {
            return Ok(Progress::Stuck);
        };
        let (delivery, reuse) = (*delivery, *reuse && !self.trailers_late);
        let chunked = delivery.framing == Framing::Chunked;
        if from.is_finished() {
            if self.first.is_some() {
                self.release_first(socket, gate, env);
                return Ok(Progress::Moved);
            }
            return Ok(Progress::Finished { keep_alive: delivery.keep_alive, reuse });
        }
        let overhead = if chunked { CHUNK_OVERHEAD } else { 0 };
        let available = env.pools.readable(link).len();
        // A reset is no end of content that only an end delimits, and what looks like an end may have been a cut.
        let ended = match from {
            Body::UntilClose => {
                self.link_ended == Some(CloseReason::Shutdown) && env.pools.ending(link) == Ending::Whole
            }
            _ => from.has_content() && (self.link_ended.is_some() || self.trailers_late),
        };
        let ends = available == 0 && ended;
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
        let span = from.read(input).map_err(|_| Unfit::Malformed)?;
        let content = &input[span.content];
        if together {
            let mut out = Sink::new(&mut env.render);
            put_chunk(&mut out, content, from.is_finished()).map_err(|_| Unfit::Malformed)?;
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
}
