//! A connection that has changed its protocol (101): bytes both ways, no longer looked at, still counted.

use super::env::Env;
use super::gate::Gate;
use super::wire::Wire;
use crate::pool::LinkId;
use netdrv::stream::StreamTransport;

/// What one turn did.
pub(super) struct Turn {
    pub(super) moved: bool,
    /// One side has ended and what it sent is passed on. Half-closes cannot be passed to workers, so this is the end.
    pub(super) over: bool,
}

/// Moves what can be moved.
pub(super) fn pump<S: StreamTransport>(
    link: LinkId,
    link_ended: bool,
    socket: &mut Wire<'_, '_>,
    gate: &mut Gate,
    env: &mut Env<'_, S>,
) -> Turn {
    let (mut up, mut down) = (0, 0);
    let client_ended = loop {
        // What the link does not take stays in the receive window; the attempt makes the transport tell us of room.
        match socket.recv(|input| {
            let admitted = gate.admit(input.len(), env);
            let n = if admitted == 0 { 0 } else { env.pools.send(link, &input[..admitted]) };
            gate.took(n);
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
            Some(piece) if !piece.is_empty() => gate.write(socket, piece),
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
