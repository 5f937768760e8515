//! A connection that has switched protocols (101): bytes pass both ways unexamined, but counted.
//!
//! For WebSocket (RFC 6455) frame boundaries are tracked, so that a tunnel that was silent for too long can
//! be ended with a close frame, which may only stand between two frames. Weir sends no pings of its own: TCP
//! keep-alive detects dead clients, and the pool dead workers.

use super::ForwardContext;
use super::frames::{self, FrameTracker};
use crate::exchange::client::Client;
use crate::exchange::source::FeedProgress;
use crate::upstream::{LinkId, Upstream};

/// State of a tunnel.
pub(super) struct Tunnel {
    /// Frame trackers for each direction, up and down; `None` for protocols other than WebSocket.
    frames: Option<(FrameTracker, FrameTracker)>,
}

impl Tunnel {
    /// `protocol`: the one the worker has switched to.
    pub(super) fn new(protocol: Option<&[u8]>) -> Self {
        let websocket = protocol.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
        Self { frames: websocket.then(Default::default) }
    }

    /// Sends the worker a close frame, and returns the one for the client; each only at a frame boundary.
    pub(super) fn send_close_frame<U: Upstream>(
        &self,
        link: LinkId,
        cx: &mut ForwardContext<'_, U>,
    ) -> &'static [u8] {
        let Some((up, down)) = &self.frames else { return &[] };
        if up.at_boundary() {
            let key = (cx.now.as_nanos() | 1) as u32;
            cx.pools.send(link, &frames::going_away_masked(key));
        }
        if down.at_boundary() { &frames::GOING_AWAY } else { &[] }
    }

    /// Tracks bytes that go to the client.
    pub(super) fn track_down(&mut self, bytes: &[u8]) {
        if let Some((_, down)) = &mut self.frames {
            down.advance(bytes);
        }
    }

    /// Passes client bytes to the worker. What the link does not take stays in the receive window; the failed
    /// attempt makes the transport report room later.
    pub(super) fn pass_up<U: Upstream>(
        &mut self,
        link: LinkId,
        client: &mut impl Client,
        cx: &mut ForwardContext<'_, U>,
    ) -> FeedProgress {
        let mut fed = FeedProgress::default();
        client.switch_protocol();
        loop {
            let passed = client.content(usize::MAX, &mut |input, _| {
                let n = cx.pools.send(link, input);
                if let Some((up, _)) = &mut self.frames {
                    up.advance(input.get(..n).unwrap_or_default());
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
                Err(_) => return FeedProgress { finished: true, ..fed },
            }
        }
    }
}
