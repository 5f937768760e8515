//! A connection that has changed its protocol (101): bytes both ways, no longer looked at, still counted.
//!
//! Of WebSocket (RFC 6455) only the lengths of frames are followed, for the sake of a proper end: a tunnel that has been silent
//! for too long is told so by a close frame, which may only stand between two frames. We send no pings of our own: whether the
//! client is there TCP's keep-alive finds out, and whether the worker is its pool.

use super::Workers;
use super::frames::{self, Frames};
use crate::exchange::client::Client;
use crate::exchange::source::Fed;
use crate::upstream::{LinkId, Upstream};

/// What is known of a tunnel.
pub(super) struct Tunnel {
    /// How far each side is in its frames, up and down; `None` for other protocols.
    frames: Option<(Frames, Frames)>,
}

impl Tunnel {
    /// `protocol`: what the worker has changed to.
    pub(super) fn new(protocol: Option<&[u8]>) -> Self {
        let websocket = protocol.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
        Self { frames: websocket.then(Default::default) }
    }

    /// Tells the worker that this is the end, and returns what tells the client, each if it is between two frames.
    pub(super) fn say_goodbye<U: Upstream>(&self, link: LinkId, cx: &mut Workers<'_, U>) -> &'static [u8] {
        let Some((up, down)) = &self.frames else { return &[] };
        if up.is_between() {
            let key = (cx.now.as_nanos() | 1) as u32;
            cx.pools.send(link, &frames::going_away_masked(key));
        }
        if down.is_between() { &frames::GOING_AWAY } else { &[] }
    }

    /// These bytes go to the client.
    pub(super) fn follow_down(&mut self, bytes: &[u8]) {
        if let Some((_, down)) = &mut self.frames {
            down.follow(bytes);
        }
    }

    /// Passes on what the client sent. What the link does not take stays in the receive window; the attempt makes the
    /// transport tell us of room.
    pub(super) fn pass_up<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut Workers<'_, U>,
    ) -> Fed {
        let mut fed = Fed::default();
        client.content_is_open();
        loop {
            let passed = client.content(usize::MAX, &mut |input, _| {
                let n = cx.pools.send(link, input);
                if let Some((up, _)) = &mut self.frames {
                    up.follow(input.get(..n).unwrap_or_default());
                }
                n
            });
            match passed {
                Ok(0) => return fed,
                Ok(n) => {
                    fed.moved = true;
                    cx.counters.tunnel_bytes_in += n as u64;
                }
                // Half-closes cannot be passed on to workers, so this is the end.
                Err(_) => return Fed { over: true, ..fed },
            }
        }
    }
}
