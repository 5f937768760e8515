//! The request: its head, then content as it comes from the client.

use super::{CHUNK_OVERHEAD, Exchange, put_chunk};
use crate::connection::gate::Gate;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::exchange::body::ContentError;
use crate::exchange::upload;
use crate::http::{Refusal, Sink, error};
use crate::upstream::LinkId;
use model::reason::Reason;
use netdrv::stream::StreamTransport;

impl Exchange {
    /// Sends the head, then content as it comes from the client.
    pub(super) fn send_request<S: StreamTransport>(
        &mut self,
        link: LinkId,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) -> Result<bool, Refusal> {
        if self.link_ended.is_some() {
            return Ok(false);
        }
        let mut moved = false;
        if self.head_sent < self.request_head.len() {
            let n = env.pools.send(link, &self.request_head[self.head_sent..]);
            self.head_sent += n;
            moved |= n > 0;
        }
        if self.head_sent < self.request_head.len() {
            return Ok(moved);
        }
        let (n, all) = self.upload.flush(&mut env.pools, link);
        moved |= n > 0;
        if !all || self.content_ended {
            return Ok(moved);
        }
        if self.expects_continue && !self.content_ended {
            self.expects_continue = false;
            gate.send(socket, error::CONTINUE, 0, env);
            moved = true;
        }
        while !self.content_ended {
            let passed = socket.recv(|input| {
                let admitted = gate.admit(self.content.wanted(input.len()), env);
                let step = self.pass_content(link, &input[..admitted], env);
                let done = step.as_ref().map_or(0, |n| *n);
                gate.took(done);
                (done, step)
            });
            match passed {
                Ok(Ok(0)) if !self.content_ended => break,
                Ok(Ok(_)) => moved = true,
                Ok(Err(error)) => return Err(error.refusal()),
                // The client ended its half before its content was complete.
                Err(_) => return Err(Refusal::new(400, Reason::ConnectionDropped)),
            }
            if !self.upload.flush(&mut env.pools, link).1 {
                break;
            }
        }
        Ok(moved)
    }

    /// Passes one piece of content on. Returns input bytes done with.
    fn pass_content<S: StreamTransport>(
        &mut self,
        link: LinkId,
        input: &[u8],
        env: &mut Env<S>,
    ) -> Result<usize, ContentError> {
        if input.is_empty() {
            return Ok(0);
        }
        if !self.content_chunked && !self.upload.keeps() {
            // What the link does not take stays in the receive window.
            let sent = env.pools.send(link, &input[..self.content.wanted(input.len())]);
            self.upload.let_go();
            self.content.read(&input[..sent])?;
            self.content_ended = self.content.is_finished();
            return Ok(sent);
        }
        let input = &input[..input.len().min(upload::PIECE - CHUNK_OVERHEAD)];
        let span = self.content.read(input)?;
        self.content_ended = self.content.is_finished();
        let content = &input[span.content];
        if !self.content_chunked {
            self.upload.pass(content, &mut env.pools, link, &env.contents);
            return Ok(span.consumed);
        }
        // One piece of chunked content becomes one chunk, put together first so that it leaves as one packet.
        let mut out = Sink::new(&mut env.render);
        // There is room: a piece with what goes around it is shorter than the buffer.
        let len = put_chunk(&mut out, content, self.content_ended).map_or(0, |()| out.len());
        self.upload.pass(&env.render[..len], &mut env.pools, link, &env.contents);
        Ok(span.consumed)
    }
}
