//! Chaos: several workers that crash, stall, send wrong data and abort, under a mix of requests.
//!
//! Invariants: every request gets one correct response, or visibly none; no POST reaches two workers; and nothing is leaked.
//! `WEIR_SIM_CHAOS_SEEDS=N` sets the number of runs.

use crate::client::{Exchange, Expected};
use crate::pools::pool;
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::secure::Authority;
use crate::world::{Fault, World, pattern};
use model::settings::Pool;
use std::sync::LazyLock;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const CLIENTS: usize = 5;
const REQUESTS: usize = 6;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// A worker that implements `GET /api/bytes/N` and `POST` or `PUT /api/echo/…`, unreliably.
fn worker(mut rng: fastrand::Rng, badness: u8, secured: bool) -> Script {
    Script::new(Box::new(move |input| {
        let end = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|n| n.parse().ok()).unwrap_or(0);
        let content = match path.strip_prefix("/api/bytes/") {
            Some(n) => pattern(n.parse().unwrap_or(0)),
            None => input.get(end..end + length)?.to_vec(),
        };
        Some((end + length, answer(&content, badness, secured, &mut rng)))
    }))
}

fn answer(content: &[u8], badness: u8, secured: bool, rng: &mut fastrand::Rng) -> Vec<Action> {
    let chunked = rng.bool();
    let mut bytes = if chunked {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
    } else {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes()
    };
    if chunked {
        for piece in content.chunks(rng.usize(1000..9000)) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(content);
    }
    let half = rng.usize(..=bytes.len());
    let late = Action::Wait(rng.u64(..30 * MS));
    if rng.u8(..100) >= badness {
        return match rng.u8(..3) {
            0 => vec![Action::Send(bytes[..half].to_vec()), late, Action::Send(bytes[half..].to_vec())],
            1 => vec![late, Action::Send(bytes)],
            _ => vec![Action::Send(bytes)],
        };
    }
    let first = Action::Send(bytes[..half].to_vec());
    match rng.u8(..8) {
        0 => vec![first, Action::Reset],
        1 => vec![first, Action::End],
        2 => vec![first, late, Action::Reset],
        // Silence, before or during the response.
        3 => vec![first, Action::Wait(600 * SECOND)],
        4 => vec![Action::Send(b"nonsense\r\n\r\n".to_vec())],
        5 => vec![Action::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec())],
        // Surplus bytes, at once or later, when another request may be waiting. Not later with TLS, which may deliver the next
        // request before this program reads it.
        kind if kind == 6 || secured => {
            vec![Action::Send([&bytes[..], b"HTTP/1.1 200 OK\r\n\r\nunasked"].concat())]
        }
        _ => vec![Action::Send(bytes), late, Action::Send(b"HTTP/1.1 200 OK\r\n\r\nunasked".to_vec())],
    }
}

fn request(number: usize, rng: &mut fastrand::Rng) -> Exchange {
    let size = if rng.bool() { rng.usize(..3000) } else { rng.usize(..50_000) };
    let (request, content) = match rng.u8(..4) {
        0 | 1 => (format!("GET /api/bytes/{size} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes(), pattern(size)),
        kind => {
            let method = if kind == 2 { "POST" } else { "PUT" };
            let content: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
            let head = format!(
                "{method} /api/echo/{number} HTTP/1.1\r\nHost: sim\r\nContent-Length: {size}\r\n\r\n"
            );
            ([head.as_bytes(), &content].concat(), content)
        }
    };
    Exchange { request, expected: Expected { status: 200, content: Some(content) }, may_break: true }
}

fn run(seed: u64) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let workers = rng.usize(1..4);
    let badness = [0, 5, 30][rng.usize(..3)];
    // Handshakes dominate the cost of a run.
    let links = seed.is_multiple_of(64).then(|| AUTHORITY.links("app.workers"));
    let (ours, theirs) = links.unzip();
    let secured = theirs.is_some();
    let pool = Pool { tls: ours, ..pool(workers as u32) };
    let mut world = World::scripted_with(seed, pool, theirs, move |number, life| {
        worker(
            fastrand::Rng::with_seed(seed << 16 | (number as u64) << 8 | u64::from(life)),
            badness,
            secured,
        )
    });
    for client in 0..CLIENTS {
        let script = (0..REQUESTS).map(|n| request(client * REQUESTS + n, &mut rng)).collect();
        let client = world.add_client(script, if rng.bool() { 65_535 } else { 4096 }, 1);
        world.clients[client].gives_up = true;
    }
    let mut at = 0;
    for _ in 0..rng.usize(..6) {
        at += rng.u64(..40 * MS);
        let worker = rng.usize(..workers);
        let fault = match rng.u8(..10) {
            0 => Fault::TransportReset,
            1..4 => Fault::Stall(worker, rng.u64(..12 * SECOND)),
            _ => Fault::Crash(worker, rng.u64(..SECOND)),
        };
        world.faults.push_back((at, fault));
    }
    world.run(900 * SECOND)?;
    let answered: usize = world.clients.iter().map(|c| c.tally.answered).sum();
    let broken: usize = world.clients.iter().map(|c| c.tally.broken).sum();
    if answered + broken != CLIENTS * REQUESTS {
        return Err(format!("{answered} answered and {broken} broken off"));
    }
    if let Some((mark, lives)) = world.delivered.iter().find(|(_, lives)| lives.len() > 1) {
        return Err(format!("POST {} was delivered to {lives:?}", String::from_utf8_lossy(mark)));
    }
    nothing_leaks(&mut world)
}

#[test]
fn chaos() {
    over_seeds("chaos", run);
}

/// Runs the test of this name with many seeds, on all processors.
pub fn over_seeds(name: &str, run: fn(u64) -> Result<(), String>) {
    let seeds = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    if let Some(seed) = seeds("WEIR_SIM_SEED") {
        return run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let count = seeds("WEIR_SIM_CHAOS_SEEDS").unwrap_or(1000);
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    run(seed).unwrap_or_else(|why| {
                        panic!("seed {seed}: {why} (run it alone with WEIR_SIM_SEED={seed} and the test's name, {name})")
                    });
                }
            });
        }
    });
}
