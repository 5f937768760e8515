//! Demonstrates the interfaces of an exchange with a toy protocol and a toy source, neither of which needs a
//! change in `exchange/`.

mod toy_protocol;
mod toy_source;

use crate::budget::BufferPool;
use crate::exchange::client::Client;
use crate::exchange::source::Source;
use crate::exchange::{Exchange, Status, WriteContext};
use crate::http::{Encode, Fields};
use crate::time::Instant;
use model::date::DateCache;

/// Runs an exchange once, at time 0.
fn run<E: Encode, R: Source<Cx>, Cx>(
    exchange: &mut Exchange<E, R>,
    client: &mut impl Client,
    cx: &mut Cx,
) -> Status {
    let (mut render, mut buffers, date) = (vec![0; 1024], BufferPool::new(), DateCache::new(0));
    let mut wcx = WriteContext {
        render: &mut render,
        buffers: &mut buffers,
        date: &date,
        site: Fields::NONE,
        now: Instant::ZERO,
    };
    exchange.run(client, &mut wcx, cx).0
}
