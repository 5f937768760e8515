//! A connection that has changed its protocol (101): bytes both ways, no longer looked at, still counted.
//!
//! Of WebSocket (RFC 6455) only the lengths of frames are followed, for the sake of a proper end: a tunnel that has been silent
//! for too long is told so by a close frame, which may only stand between two frames. We send no pings of our own: whether the
//! client is there TCP's keep-alive finds out, and whether the worker is its pool.

mod frames;

use crate::connection::gate::Gate;
use crate::connection::wire::Wire;
use crate::env::Env;
use crate::upstream::LinkId;
use frames::Frames;
use netdrv::stream::StreamTransport;

/// What one turn did.
pub(super) struct Turn {
    pub(super) moved: bool,
    /// One side has ended and what it sent is passed on. Half-closes cannot be passed to workers, so this is the end.
    pub(super) over: bool,
}

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

    /// Tells both sides that this is the end, each if it is between two frames. `seed`: any number.
    pub(super) fn say_goodbye<S: StreamTransport>(
        &self,
        link: LinkId,
        seed: u64,
        socket: &mut Wire<'_, '_>,
        gate: &mut Gate,
        env: &mut Env<S>,
    ) {
        let Some((up, down)) = &self.frames else { return };
        if down.is_between() {
            gate.send(socket, &frames::GOING_AWAY, 0, env);
        }
        if up.is_between() {
            env.pools.send(link, &frames::going_away_masked(seed as u32));
        }
    }
}

/// Moves what can be moved.
pub(super) fn pump<S: StreamTransport>(
    tunnel: &mut Tunnel,
    link: LinkId,
    link_ended: bool,
    socket: &mut Wire<'_, '_>,
    gate: &mut Gate,
    env: &mut Env<S>,
) -> Turn {
    let (mut up, mut down) = (0, 0);
    let client_ended = loop {
        // What the link does not take stays in the receive window; the attempt makes the transport tell us of room.
        match socket.recv(|input| {
            let admitted = gate.admit(input.len(), env);
            let n = if admitted == 0 { 0 } else { env.pools.send(link, &input[..admitted]) };
            gate.took(n);
            if let Some((up, _)) = &mut tunnel.frames {
                up.follow(&input[..n]);
            }
            (n, n)
        }) {
            Ok(0) => break false,
            Ok(n) => up += n as u64,
            Err(_) => break true,
        }
    };
    let worker_ended = loop {
        let input = env.pools.readable(link);
        if input.is_empty() {
            break link_ended;
        }
        let available = input.len();
        let room = gate.open(available, socket, env);
        let n = match env.pools.readable(link).get(..room) {
            Some(piece) if !piece.is_empty() => {
                let n = gate.write(socket, piece);
                if let Some((_, down)) = &mut tunnel.frames {
                    down.follow(&piece[..n]);
                }
                n
            }
            _ => 0,
        };
        if n == 0 {
            break false;
        }
        env.pools.consume(link, n);
        down += n as u64;
    };
    env.counters.tunnel_bytes_in += up;
    env.counters.tunnel_bytes_out += down;
    Turn { moved: up + down > 0, over: client_ended || worker_ended }
}
