//! Failing requests beside good ones at the same healthy workers: they delay nobody.
//!
//! `WEIR_SIM_CHAOS_SEEDS=N` sets how many runs there are.

use crate::chaos::over_seeds;
use crate::pools::{head_end, pool, right, send};
use crate::rough::{Rough, Step};
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::world::World;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// What a request makes the worker do that serves it. The worker itself is healthy.
fn bad(kind: u8) -> Vec<Action> {
    match kind {
        0 => vec![],
        1 => vec![send("nonsense\r\n\r\n")],
        2 => vec![Action::Reset],
        3 => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Action::End],
        4 => vec![send(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)))],
        _ => vec![Action::End],
    }
}

fn run(seed: u64) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::scripted(seed, pool(2), |_, _| {
        Script::new(Box::new(|input| {
            let path = input.split(|b| *b == b' ').nth(1)?.to_vec();
            let actions =
                path.strip_prefix(b"/api/bad/").map_or_else(|| right(b"right"), |kind| bad(kind[0] - b'0'));
            Some((head_end(input)?, actions))
        }))
    });
    // Ten of each kind: those without a response leave most of the machine's 32 links to others.
    for kind in 0..6 {
        let method = ["GET", "POST"][rng.usize(..2)];
        for _ in 0..10 {
            let text = format!("{method} /api/bad/{kind} HTTP/1.1\r\nHost: sim\r\nContent-Length: 0\r\n\r\n");
            let start = Step::Wait(rng.u64(..2 * SECOND));
            world.add_rough(Rough::new([start, Step::Say(text.into_bytes()), Step::Hear(10 * SECOND)]));
        }
    }
    let good = b"GET /api/good HTTP/1.1\r\nHost: sim\r\n\r\n";
    let first = world.clients.len();
    for _ in 0..6 {
        let mut steps = vec![Step::Wait(rng.u64(..100 * MS))];
        for _ in 0..30 {
            let pause = Step::Wait(rng.u64(..100 * MS));
            steps.extend([Step::Say(good.to_vec()), Step::Hear(10 * SECOND), pause]);
        }
        world.add_rough(Rough::new(steps));
    }
    world.run(200 * SECOND)?;
    for client in &world.clients[first..] {
        let rough = client.rough.as_ref().ok_or("it is a rough one")?;
        let answers = rough.heard.windows(15).filter(|w| w == b"HTTP/1.1 200 OK").count();
        let longest = rough.waits.iter().max().copied().unwrap_or(u64::MAX);
        if longest > SECOND || answers != 30 {
            return Err(format!("{answers} answers, the longest wait was {} ms", longest / MS));
        }
    }
    nothing_leaks(&mut world)
}

#[test]
fn good_requests_wait_for_no_bad_ones() {
    over_seeds("good_requests_wait_for_no_bad_ones", run);
}
