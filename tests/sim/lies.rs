//! Workers that send any bytes at any time, and clients that do anything: no client gets another's response.
//!
//! Every byte above 0x7f that a worker sends is the mark of the request it has last read on that stream (or 0xff), so every
//! content byte of a response, and a field in its head, identify the request. `WEIR_SIM_CHAOS_SEEDS=N` sets the number of runs.

use crate::chaos::over_seeds;
use crate::pools::{head_end, pool};
use crate::rough::{Rough, Step};
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::world::World;
use model::settings::Pool;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// Mark of bytes sent before any request.
const NOBODY: u8 = 0xff;
const CLIENTS: usize = 8;
const REQUESTS: usize = 4;

fn head(status: u16, mark: u8, framing: &str) -> Vec<u8> {
    let start = format!("HTTP/1.1 {status} Marked\r\nX-Mark: ");
    [start.as_bytes(), &[mark; 3], b"\r\n", framing.as_bytes(), b"\r\n"].concat()
}

/// A complete response with this much content.
fn whole(mark: u8, len: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
    if rng.bool() {
        let start = head(200, mark, &format!("Content-Length: {len}\r\n"));
        return [start, vec![mark; len]].concat();
    }
    let mut out = head(200, mark, "Transfer-Encoding: chunked\r\n");
    for piece in vec![mark; len].chunks(rng.usize(1..2000)) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    let trailers = ["", "", "Set-Cookie: a\r\n", "Content-Length: 7\r\n", "broken\r\n", ": \r\n"];
    out.extend_from_slice(format!("0\r\n{}\r\n", trailers[rng.usize(..trailers.len())]).as_bytes());
    out
}

/// Something that may or may not look like a response.
fn surplus(mark: u8, rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..6) {
        0 => vec![mark; rng.usize(1..40)],
        1 => head(408, mark, "Connection: close\r\nContent-Length: 0\r\n"),
        2 => head(103, mark, ""),
        3 => head(204, mark, ""),
        4 => b"\r\n".to_vec(),
        _ => whole(mark, rng.usize(..300), rng),
    }
}

/// What a misbehaving worker does about a request.
fn lie(mark: u8, method: &[u8], rng: &mut fastrand::Rng) -> Vec<Action> {
    let len = [0, 10, 3000, 40_000][rng.usize(..4)];
    let late = Action::Wait(if rng.bool() { rng.u64(..400_000) } else { rng.u64(..40 * MS) });
    let more = Action::Send(surplus(mark, rng));
    let answer = match (method, rng.u8(..4)) {
        (b"HEAD", kind) => {
            let framing =
                ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", "", "Content-Length: 0\r\n"];
            head(200, mark, framing[usize::from(kind)])
        }
        (_, 0) => head([204, 304][rng.usize(..2)], mark, ["", "Content-Length: 9\r\n"][rng.usize(..2)]),
        _ => whole(mark, len, rng),
    };
    let half = rng.usize(..=answer.len());
    let (front, back) = (Action::Send(answer[..half].to_vec()), Action::Send(answer[half..].to_vec()));
    let answer = Action::Send(answer);
    match rng.u8(..14) {
        0..3 => vec![answer],
        3 => vec![front, late, back],
        4 => vec![answer, more],
        5 | 6 => vec![answer, late, more],
        7 => vec![answer, late.clone(), more.clone(), late, more],
        8 => vec![front, [Action::Reset, Action::End][rng.usize(..2)].clone()],
        9 => vec![front, Action::Wait(600 * SECOND)],
        10 => vec![more, late, answer],
        11 => vec![Action::Send(head(103, mark, "Content-Length: 20\r\n")), more, late, answer],
        12 => vec![front, more, late, back],
        _ => vec![Action::Send(head(200, mark, "")), more, late, Action::End],
    }
}

fn liar(mut rng: fastrand::Rng) -> Script {
    let mut greeter = rng.fork();
    let script = Script::new(Box::new(move |input| {
        let end = head_end(input)?;
        let text = String::from_utf8_lossy(&input[..end]).into_owned();
        let number: u8 = text.split(' ').nth(1)?.strip_prefix("/api/t/")?.parse().ok()?;
        let length = text.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|n| n.parse().ok()).unwrap_or(0);
        // Sometimes before the content has arrived.
        let end = if rng.u8(..4) == 0 { end } else { end + length };
        let method = input.split(|b| *b == b' ').next()?;
        (input.len() >= end).then(|| (end, lie(0x80 + number, method, &mut rng)))
    }));
    script.greeting(Box::new(move || match greeter.u8(..8) {
        0 => vec![Action::Send(surplus(NOBODY, &mut greeter))],
        1 => vec![Action::Wait(greeter.u64(..400_000)), Action::Send(surplus(NOBODY, &mut greeter))],
        _ => vec![],
    }))
}

fn request(number: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
    let method = ["GET", "GET", "HEAD", "POST", "PUT"][rng.usize(..5)];
    let content =
        if method.len() == 4 && method != "HEAD" || method == "PUT" { rng.usize(..5000) } else { 0 };
    let framing = if content > 0 { format!("Content-Length: {content}\r\n") } else { String::new() };
    let head = format!("{method} /api/t/{number} HTTP/1.1\r\nHost: sim\r\n{framing}\r\n");
    [head.into_bytes(), vec![b'c'; content]].concat()
}

/// Actions of a client that sends these requests.
fn client(numbers: std::ops::Range<usize>, rng: &mut fastrand::Rng) -> Vec<Step> {
    let mut steps = vec![Step::Wait(rng.u64(..20 * MS))];
    let pipelines = rng.bool();
    for number in numbers {
        let mut bytes = request(number, rng);
        match rng.u8(..12) {
            0 => bytes.truncate(rng.usize(..bytes.len())),
            1 => bytes.insert(rng.usize(..bytes.len()), b"\0\r\n :\x7f"[rng.usize(..6)]),
            _ => {}
        }
        steps.push(Step::Say(bytes));
        steps.extend((!pipelines).then(|| Step::Hear(rng.u64(1..60) * MS)));
        match rng.u8(..16) {
            0 => steps.push(Step::HalfClose),
            1 => steps.push(Step::Abort),
            2 => steps.push(Step::Wait(rng.u64(..10 * MS))),
            _ => {}
        }
    }
    steps.extend([Step::Hear(200 * MS), Step::Wait(rng.u64(..200 * MS))]);
    steps
}

/// Checks that everything marked that a client received belongs to its own requests, in order.
fn check(heard: &[u8], numbers: &std::ops::Range<usize>) -> Result<(), String> {
    let mut last = numbers.start;
    for (at, mark) in heard.iter().enumerate().filter(|(_, byte)| **byte >= 0x80) {
        let number = usize::from(*mark - 0x80);
        if !numbers.contains(&number) || number < last {
            let around = String::from_utf8_lossy(&heard[at.saturating_sub(60)..(at + 20).min(heard.len())])
                .into_owned();
            return Err(format!("asked {numbers:?} and heard of {number} after {last}: {around:?}"));
        }
        last = number;
    }
    Ok(())
}

fn run(seed: u64) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let workers = rng.u32(1..4);
    let pool = Pool { requests_per_worker: Some(rng.u32(1..4)), ..pool(workers) };
    let mut world = World::scripted(seed, pool, move |number, life| {
        liar(fastrand::Rng::with_seed(seed << 16 | (number as u64) << 8 | u64::from(life)))
    });
    let numbers: Vec<_> = (0..CLIENTS).map(|n| n * REQUESTS..(n + 1) * REQUESTS).collect();
    for numbers in &numbers {
        world.add_rough(Rough::new(client(numbers.clone(), &mut rng)));
    }
    world.run(900 * SECOND)?;
    for (client, numbers) in world.clients.iter().zip(&numbers) {
        let heard = &client.rough.as_ref().ok_or("it is a rough one")?.heard;
        check(heard, numbers)?;
    }
    nothing_leaks(&mut world)
}

#[test]
fn nobody_gets_anothers_answer() {
    over_seeds("nobody_gets_anothers_answer", run);
}
