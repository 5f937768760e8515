//! Incorrect responses of workers: surplus bytes, trailers, silence, unusual statuses, long heads.

use crate::client::{Exchange, Expected};
use crate::pools::{ask, asking, head_end, pool, right, send, world_of};
use crate::requests::get;
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::world::World;
use model::reason::Reason;
use model::settings::Pool;
use std::cell::RefCell;
use std::rc::Rc;

const SECOND: u64 = 1_000_000_000;
const US: u64 = 1000;
/// A response chosen by an attacker, as surplus.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

fn answered(method: &str, status: u16, content: &str) -> Exchange {
    let content = (method != "HEAD" && status != 204 && status != 304).then(|| content.into());
    Exchange { expected: Expected { status, content }, ..asking(method, status) }
}

/// RFC 9112 §6.3: the response ends where its framing says. Later bytes are discarded with the link.
#[test]
fn surplus_is_thrown_away_and_the_answer_stands() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n";
    for (method, status, text) in [
        ("HEAD", 200, format!("{ok}Content-Length: 5\r\n\r\nright")),
        ("HEAD", 200, format!("{ok}Content-Length: 5\r\n\r\n")),
        ("HEAD", 200, format!("{ok}Content-Length: 0\r\n\r\nright")),
        ("HEAD", 200, format!("{ok}\r\nright")),
        ("HEAD", 200, format!("{ok}{chunks}")),
        ("HEAD", 200, format!("{ok}Content-Length: 5\r\n{chunks}")),
        ("HEAD", 200, format!("HTTP/1.0 200 OK\r\n{chunks}")),
        ("HEAD", 200, format!("{ok}Content-Length: 5\r\nContent-Length: 7\r\n\r\n{EVIL}")),
        ("GET", 204, format!("HTTP/1.1 204 No Content\r\n{chunks}")),
        ("GET", 204, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nright".into()),
        ("GET", 204, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".into()),
        ("GET", 204, format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}")),
        ("GET", 304, format!("HTTP/1.1 304 Not Modified\r\n{chunks}")),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nright".into()),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".into()),
        ("GET", 200, format!("{ok}Content-Length: 5\r\n\r\nright\r\n")),
        ("GET", 200, format!("{ok}Content-Length: 5\r\n\r\nright{EVIL}")),
        ("POST", 200, format!("{ok}Content-Length: 5\r\n\r\nright\0")),
        ("GET", 200, format!("{ok}{chunks}{EVIL}")),
        ("GET", 200, format!("{ok}{chunks}\r\n")),
    ] {
        let mut world = world_of(1, vec![send(&text)]);
        ask(&mut world, answered(method, status, "right"));
        world.run_for(SECOND);
        let counters = world.shard.counters();
        assert_eq!((counters.malformed, counters.replayed), (0, 0), "{method} {text:?}");
        assert_eq!(world.shard.hub().pools().links(), 0, "{method} {text:?}");
        nothing_leaks(&mut world).expect("nothing is left");
    }
    let mut world = world_of(1, vec![send(&format!("{ok}Content-Length: 0\r\n\r\n{EVIL}"))]);
    ask(&mut world, answered("GET", 200, ""));
    assert_eq!(world.shard.hub().pools().links(), 0);
}

/// Trailers are dropped (RFC 9110 §6.5.1), whatever their names; the content is complete with the last chunk.
#[test]
fn no_trailer_costs_the_answer() {
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n";
    for name in ["Cache-Control", "Set-Cookie", "Content-Type", "Content-Length", "Transfer-Encoding", "Host"]
    {
        let mut world = world_of(1, vec![send(&format!("{chunk}{name}: 1\r\nX: y\r\n\r\n"))]);
        ask(&mut world, answered("GET", 200, "right"));
        assert_eq!((world.shard.hub().pools().links(), world.shard.counters().malformed), (1, 0), "{name}");
    }
    let long = format!("{chunk}X: {}", "y".repeat(10_000));
    let silence = Action::Wait(600 * SECOND);
    for (text, then) in [
        (": y\r\n\r\n", None),
        ("no colon\r\n\r\n", None),
        ("X: y\n\r\n", None),
        ("\n", None),
        (&long[chunk.len()..], None),
        ("", Some(Action::End)),
        ("", Some(Action::Reset)),
        ("X: y", Some(Action::Reset)),
        ("X: y", Some(silence)),
    ] {
        let actions = [vec![send(&format!("{chunk}{text}"))], then.into_iter().collect()].concat();
        let mut world = world_of(1, actions);
        ask(&mut world, answered("GET", 200, "right"));
        world.run_for(SECOND);
        let counters = world.shard.counters();
        assert_eq!((counters.malformed, counters.replayed, counters.truncated), (0, 0, 0), "{text:.20?}");
        assert_eq!(world.shard.hub().pools().links(), 0, "{text:.20?}");
        nothing_leaks(&mut world).expect("nothing is left");
    }
}

/// One link, a request that makes the worker send more than a response, and another one waiting behind it: surplus that arrives
/// before the worker has read the next request reaches no client.
#[test]
fn surplus_never_answers_the_next_request() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (method, text) in [
        ("HEAD", format!("{ok}Content-Length: 40\r\n\r\n")),
        ("HEAD", format!("{ok}Transfer-Encoding: chunked\r\n\r\n")),
        ("HEAD", format!("{ok}\r\n")),
        ("HEAD", format!("{ok}Content-Length: 0\r\n\r\n")),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n".into()),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n".into()),
        ("GET", format!("{ok}Content-Length: 0\r\n\r\n")),
        ("GET", format!("{ok}Content-Length: 1\r\n\r\nx")),
        ("GET", format!("{ok}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (
            "GET",
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 40\r\n\r\n{ok}Content-Length: 0\r\n\r\n"),
        ),
    ] {
        for late in [0, 1, 10, 40, 60, 90, 110, 200, 1000, 300_000] {
            let one_at_a_time = Pool { requests_per_worker: Some(1), ..pool(1) };
            let says = text.clone();
            let mut world = World::scripted(1, one_at_a_time, move |_, _| {
                let text = says.clone();
                Script::new(Box::new(move |input| {
                    let actions = match input.split(|b| *b == b' ').nth(1)? {
                        b"/api/slow" => [vec![Action::Wait(SECOND)], right(b"right")].concat(),
                        b"/api/evil" => vec![send(&text), Action::Wait(late * US), send(EVIL)],
                        _ => right(b"right"),
                    };
                    Some((head_end(input)?, actions))
                }))
            });
            world.add_client(vec![get("/api/slow", b"right".to_vec())], 65_535, 1);
            world.run_for(SECOND / 2);
            let mut evil = asking(method, 0);
            evil.request = format!("{method} /api/evil HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes();
            let evil = world.add_client(vec![evil], 65_535, 1);
            world.run_for(SECOND / 100);
            let victim = world.add_client(vec![get("/api/victim", b"right".to_vec())], 65_535, 1);
            world.run_for(2 * SECOND);
            assert_eq!(world.clients[victim].failure, None, "{method} {text:?}, {late} us later");
            assert_eq!(world.clients[victim].tally.answered, 1, "{method} {text:?}, {late} us later");
            world.clients[evil].leave();
        }
    }
}

/// A worker that responds without reading the content might take it for the start of the next request, so it gets none.
#[test]
fn content_that_a_worker_leaves_unread_begins_no_request() {
    let one_at_a_time = Pool { requests_per_worker: Some(1), ..pool(1) };
    let mut world = World::scripted(1, one_at_a_time, |_, _| {
        Script::new(Box::new(|input| {
            let actions = match input.split(|b| *b == b' ').nth(1)? {
                b"/api/slow" => [vec![Action::Wait(SECOND)], right(b"right")].concat(),
                b"/api/evil" => vec![send(EVIL)],
                _ => right(b"right"),
            };
            Some((head_end(input)?, actions))
        }))
    });
    world.add_client(vec![get("/api/slow", b"right".to_vec())], 65_535, 1);
    world.run_for(SECOND / 2);
    let content = "GET /api/evil HTTP/1.1\r\nX: ";
    let head = format!("POST /api/x HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n", content.len());
    let smuggler = Exchange { request: (head + content).into_bytes(), ..answered("POST", 200, "right") };
    world.add_client(vec![smuggler], 65_535, 1);
    world.run_for(SECOND / 100);
    world.add_client(vec![get("/api/victim", b"right".to_vec())], 65_535, 1);
    world.run(10 * SECOND).expect("the victim's own answer");
}

/// What a worker sends before any request is not a response.
#[test]
fn a_greeting_answers_nothing() {
    for late in [0, 10, 60, 90, 110, 1000] {
        let mut world = World::scripted(1, pool(1), move |_, life| {
            let script = Script::new(Box::new(|input| Some((head_end(input)?, right(b"right")))));
            let greeting = vec![Action::Wait(late * US), send(EVIL)];
            let mut greetings = 3;
            script.greeting(Box::new(move || {
                greetings -= i32::from(life == 1);
                if greetings < 0 { vec![] } else { greeting.clone() }
            }))
        });
        for _ in 0..3 {
            let mut exchange = get("/api/x", b"right".to_vec());
            exchange.may_break = true;
            ask(&mut world, exchange);
        }
        nothing_leaks(&mut world).expect("nothing is left");
    }
}

/// A world whose workers never respond, and how many requests each got.
fn silence(workers: u32, silent: usize) -> (World, Rc<RefCell<Vec<usize>>>) {
    let asked = Rc::new(RefCell::new(vec![0; workers as usize]));
    let log = asked.clone();
    let world = World::scripted(1, pool(workers), move |number, _| {
        let log = log.clone();
        Script::new(Box::new(move |input| {
            let end = head_end(input)?;
            log.borrow_mut()[number] += 1;
            Some((end, if number < silent { vec![] } else { right(b"right") }))
        }))
    });
    (world, asked)
}

#[test]
fn a_silent_worker_is_504_and_asked_once() {
    for method in ["GET", "POST"] {
        let (mut world, asked) = silence(1, 1);
        ask(&mut world, asking(method, 504));
        world.run_for(10 * SECOND);
        assert_eq!(*asked.borrow(), [1], "{method}");
        let counters = world.shard.counters();
        assert_eq!((counters.silent, counters.replayed), (1, 0), "{method}");
        assert_eq!(counters.of(Reason::TimerResponse), 1, "{method}");
        assert_eq!(counters.of(Reason::ConnectionAbandonedByAppPool), 0, "{method}");
        nothing_leaks(&mut world).expect("nothing is left");
    }
    // A repeatable request is replayed to another worker once.
    let (mut world, asked) = silence(2, 1);
    (0..2).for_each(|_| ask(&mut world, answered("GET", 200, "right")));
    assert!(asked.borrow()[0] <= 1 && asked.borrow()[1] == 2, "{asked:?}");
    let (mut world, asked) = silence(3, 3);
    ask(&mut world, asking("GET", 504));
    assert_eq!((asked.borrow().iter().max(), asked.borrow().iter().sum::<usize>()), (Some(&1), 2));
    assert_eq!(world.shard.counters().of(Reason::TimerResponse), 1);
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn any_status_of_three_digits_passes_on() {
    for status in [200, 207, 299, 418, 450, 499, 520, 599, 600, 777, 999] {
        let text = format!("HTTP/1.1 {status} What\r\nContent-Length: 5\r\n\r\nright");
        let mut world = world_of(1, vec![send(&text)]);
        ask(&mut world, answered("GET", status, "right"));
        assert_eq!(world.shard.hub().pools().links(), 1, "{status}");
    }
    for interim in ["102 Processing", "103 Early Hints", "199 What"] {
        let text =
            format!("HTTP/1.1 {interim}\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright");
        let mut world = world_of(1, vec![send(&text)]);
        let client = world.add_client(vec![asking("GET", interim[..3].parse().expect("digits"))], 65_535, 1);
        world.clients[client].stay = true;
        world.run(SECOND).expect("the interim response");
        world.run_for(SECOND);
        assert!(world.clients[client].has_received(b"right"), "{interim}");
    }
    for status in ["099", "000", "101"] {
        let mut world =
            world_of(1, vec![send(&format!("HTTP/1.1 {status} What\r\nContent-Length: 0\r\n\r\n"))]);
        ask(&mut world, asking("GET", 502));
    }
}

/// A head of this many bytes and fields, and content.
fn long_head(bytes: usize, fields: usize) -> String {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nC: ";
    let others = "X: y\r\n".repeat(fields - 2);
    let rest = bytes - start.len() - others.len() - 4;
    format!("{start}{}\r\n{others}\r\nright", "c".repeat(rest))
}

#[test]
fn long_heads_pass_up_to_the_pools_limits() {
    let small = Pool { response_head_bytes: Some(4096), response_fields: Some(16), ..pool(1) };
    for (settings, bytes, fields, status) in [
        (pool(1), 21_000, 110, 200),
        (pool(1), 60_000, 20, 200),
        (pool(1), 65_536, 256, 200),
        (pool(1), 65_537, 256, 502),
        (pool(1), 20_000, 257, 502),
        (small.clone(), 4096, 16, 200),
        (small.clone(), 4097, 10, 502),
        (small, 4000, 17, 502),
        (Pool { response_head_bytes: Some(262_144), ..pool(1) }, 262_144, 20, 200),
    ] {
        for piece in [usize::MAX, 5000] {
            let head = long_head(bytes, fields);
            let mut world = World::scripted(1, settings.clone(), move |_, _| {
                let pieces = head.as_bytes().chunks(piece.min(head.len()));
                let actions: Vec<_> =
                    pieces.flat_map(|p| [Action::Send(p.to_vec()), Action::Wait(US)]).collect();
                Script::new(Box::new(move |input| Some((head_end(input)?, actions.clone()))))
            });
            let exchange = if status == 200 { answered("GET", 200, "right") } else { asking("GET", status) };
            ask(&mut world, exchange);
            nothing_leaks(&mut world).expect("nothing is left");
        }
    }
}

/// Endless heads use no more memory than is allotted to heads, and others are still served.
#[test]
fn long_heads_take_bounded_memory() {
    let settings = Pool { response_head_bytes: Some(262_144), ..pool(1) };
    let mut world = World::scripted(1, settings, |_, _| {
        let start = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(200_000));
        Script::new(Box::new(move |input| {
            let slow = input.starts_with(b"GET /api/long");
            let actions = vec![send(&start), Action::Wait(600 * SECOND)];
            Some((head_end(input)?, if slow { actions } else { right(b"right") }))
        }))
    });
    let mut exchange = get("/api/long", Vec::new());
    exchange.may_break = true;
    for _ in 0..30 {
        world.add_client(vec![exchange.clone()], 65_535, 1);
    }
    world.run_for(SECOND);
    let held = world.shard.held_bytes();
    assert!((400_000..=2 << 20).contains(&held), "{held} bytes");
    ask_beside(&mut world);
}

fn ask_beside(world: &mut World) {
    let client = world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run_for(SECOND);
    assert_eq!((world.clients[client].tally.answered, &world.clients[client].failure), (1, &None));
}
