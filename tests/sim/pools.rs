//! Pools whose workers misbehave in one particular way.

use crate::client::{Exchange, Expected};
use crate::requests::get;
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::world::{Fault, WORKER, World, pattern};
use model::id::PoolId;
use model::pool::{PoolState, Service};
use model::reason::Reason;
use model::settings::{Pool, Verbosity, Worker};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

pub fn pool(workers: u32) -> Pool {
    let worker = |n| Worker { cid: WORKER.cid, port: WORKER.port + n };
    let workers = (0..workers).map(worker).collect();
    Pool { name: "app".into(), workers, response_timeout_s: Some(5), ..Pool::default() }
}

/// The end of the request at the front of `input`: its head, without content.
pub fn head_end(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// Every worker responds to every request with these actions; after a restart it responds correctly.
pub fn world_of(workers: u32, first_life: Vec<Action>) -> World {
    World::scripted(1, pool(workers), move |number, life| {
        let first_life = first_life.clone();
        Script::new(Box::new(move |input| {
            let end = head_end(input)?;
            let actions = if number == 0 && life == 1 { first_life.clone() } else { right(b"right") };
            Some((end, actions))
        }))
    })
}

pub fn right(content: &[u8]) -> Vec<Action> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    vec![Action::Send([head.as_bytes(), content].concat())]
}

pub fn send(text: &str) -> Action {
    Action::Send(text.as_bytes().to_vec())
}

pub fn asking(method: &str, status: u16) -> Exchange {
    let request = format!("{method} /api/x HTTP/1.1\r\nHost: sim\r\nContent-Length: 0\r\n\r\n").into_bytes();
    Exchange { request, expected: Expected { status, content: None }, may_break: false }
}

fn refused(status: u16) -> Exchange {
    let mut exchange = get("/api/x", Vec::new());
    exchange.expected = Expected { status, content: None };
    exchange
}

/// The response to a client that sends one request.
pub fn ask(world: &mut World, exchange: Exchange) {
    world.add_client(vec![exchange], 65_535, 1);
    world.run(200 * SECOND).expect("the expected answer");
}

#[test]
fn malformed_answers_are_502_and_close_the_link() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000));
    let wrong = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
        &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40),
        &endless,
    ];
    for text in wrong {
        let mut world = world_of(1, vec![send(text)]);
        let hints = text.starts_with("HTTP/1.1 103");
        let mut exchange = asking("GET", if hints { 103 } else { 502 });
        exchange.expected.content = None;
        ask(&mut world, exchange);
        world.run_for(SECOND);
        let counters = world.shard.counters();
        let told = (counters.malformed, counters.of(Reason::ConnectionAbandonedByAppPool));
        assert_eq!(told, (1, 1), "{text:.60}");
        assert_eq!(world.shard.hub().pools().links(), 0, "{text:.60}");
    }
}

#[test]
fn small_answers_that_break_off_are_asked_for_again() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (text, end) in [(half, Action::Reset), (half, Action::End), (chunk, Action::Reset), ("", Action::End)]
    {
        let mut world = world_of(2, vec![send(text), end]);
        for _ in 0..4 {
            ask(&mut world, get("/api/x", b"right".to_vec()));
        }
        assert_eq!((world.shard.counters().truncated, world.shard.counters().replayed > 0), (0, true));
        nothing_leaks(&mut world).expect("nothing is left");
    }
}

#[test]
fn a_large_answer_that_breaks_off_is_cut_visibly() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_owned();
    let mut world = world_of(1, vec![send(&(head + &"x".repeat(30_000))), Action::Reset]);
    let mut exchange = get("/api/x", pattern(60_000));
    exchange.may_break = true;
    let client = world.add_client(vec![exchange], 65_535, 1);
    world.run_for(SECOND / 2);
    assert_eq!(world.clients[client].tally.answered, 0);
    assert!(world.shard.counters().truncated > 0 && world.shard.counters().replayed == 0);
}

#[test]
fn a_post_that_a_worker_got_is_never_given_to_another() {
    for actions in [vec![Action::Reset], vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Action::End], vec![]] {
        let mut world = world_of(2, actions);
        let mut lost = asking("POST", 200);
        lost.expected.content = Some(b"right".to_vec());
        lost.may_break = true;
        for _ in 0..4 {
            lost.request.splice(9..11, *b"/y");
            world.add_client(vec![lost.clone()], 65_535, 1);
        }
        world.run(200 * SECOND).expect("200 or 502");
        assert_eq!(world.shard.counters().replayed, 0);
    }
}

#[test]
fn content_that_is_still_held_is_sent_again() {
    let content = pattern(40_000);
    let expected = content.clone();
    let mut world = World::scripted(1, pool(2), move |number, _| {
        let content = expected.clone();
        Script::new(Box::new(move |input| {
            let end = head_end(input)? + content.len();
            if number == 0 {
                return Some((input.len(), if input.len() > 9000 { vec![Action::Reset] } else { vec![] }));
            }
            let got = input.get(..end)?;
            assert!(got.ends_with(&content));
            Some((end, right(b"stored")))
        }))
    });
    for _ in 0..2 {
        let head = format!("PUT /api/x HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n", content.len());
        let expected = Expected { status: 200, content: Some(b"stored".to_vec()) };
        let request = [head.into_bytes(), content.clone()].concat();
        ask(&mut world, Exchange { request, expected, may_break: false });
    }
    assert!(world.shard.counters().replayed > 0);
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn a_silent_worker_loses_its_request() {
    let mut world = world_of(2, vec![]);
    (0..4).for_each(|_| ask(&mut world, get("/api/x", b"right".to_vec())));
    assert!(world.shard.counters().silent > 0);
    let mut world = world_of(1, vec![]);
    ask(&mut world, asking("POST", 504));
    assert_eq!(world.shard.counters().of(Reason::TimerResponse), 1);
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn a_worker_that_fails_again_and_again_is_left_alone() {
    let mut world = world_of(2, vec![Action::Reset]);
    let scripts = (0..20).map(|_| vec![get("/api/x", b"right".to_vec()); 10]);
    for script in scripts {
        world.add_client(script, 65_535, 1);
    }
    world.run(100 * SECOND).expect("the other worker answers");
    let replayed = world.shard.counters().replayed;
    assert!((3..40).contains(&replayed), "{replayed} of 200 requests found the bad worker");
}

#[test]
fn unasked_for_answers_close_the_link() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
    let mut world =
        world_of(1, vec![send(answer), Action::Wait(10 * MS), send(&answer.replace("right", "wrong"))]);
    let client = world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.clients[client].stay = true;
    world.run(SECOND).expect("an answer");
    world.run_for(SECOND);
    assert_eq!((world.shard.hub().pools().counters().unasked, world.shard.hub().pools().links()), (1, 0));
    world.ask(client, get("/api/x", b"right".to_vec()));
    world.run(SECOND).expect("the right answer");
}

#[test]
fn event_streams_are_passed_on_at_once_and_pauses_end_the_wait() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut seen = [head.to_owned(), head.replace("text/event-stream", "text/plain")].map(|head| {
        let first = send(&(head + "6\r\ndata:1\r\n"));
        let mut world = world_of(1, vec![first, Action::Wait(SECOND), send("0\r\n\r\n")]);
        let client = world.add_client(vec![get("/api/x", b"data:1".to_vec())], 65_535, 1);
        while !world.clients[client].has_received(b"data:1") {
            assert!(world.step() && world.now_ns < SECOND, "it is sent before the next piece comes");
        }
        let at = world.now_ns;
        world.run(2 * SECOND).expect("its end");
        at
    });
    seen[1] -= seen[0];
    assert!((4 * MS..6 * MS).contains(&seen[1]), "{} ns later", seen[1]);
}

#[test]
fn a_reset_of_the_transport_is_nobodys_fault() {
    let mut world = World::scripted(1, pool(2), |_, _| {
        Script::new(Box::new(|input| {
            let slow = [vec![Action::Wait(20 * MS)], right(b"right")].concat();
            Some((head_end(input)?, slow))
        }))
    });
    world.faults = [(30 * MS, Fault::TransportReset), (150 * MS, Fault::TransportReset)].into();
    let scripts = (0..10).map(|_| vec![get("/api/x", b"right".to_vec()); 10]);
    for script in scripts {
        world.add_client(script, 65_535, 1);
    }
    world.run(100 * SECOND).expect("every request is answered");
    assert!(world.shard.counters().replayed > 0);
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn a_pool_out_of_service_says_so_at_once() {
    for (verbosity, service, says) in [
        (Verbosity::Limited, Service::Offline, Some("503 Service Unavailable\n")),
        (Verbosity::Full, Service::Offline, Some("503 Service Unavailable: AppOffline\n")),
        (Verbosity::Full, Service::Shutdown, Some("503 Service Unavailable: AppShutdown\n")),
        (Verbosity::Basic, Service::Offline, None),
    ] {
        let slow = vec![Action::Wait(SECOND), right(b"right").remove(0)];
        let mut world = World::scripted(1, Pool { verbosity, ..pool(1) }, move |_, _| {
            let slow = slow.clone();
            Script::new(Box::new(move |input| Some((head_end(input)?, slow.clone()))))
        });
        assert_eq!(world.shard.hub().pools().status(PoolId(0)).state, PoolState::Initialized);
        let before = world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
        world.run_for(SECOND / 2);
        assert_eq!(world.shard.hub().pools().status(PoolId(0)).state, PoolState::Running);
        world.shard.hub_mut().pools_mut().set_service(PoolId(0), service, None);
        let state = world.shard.hub().pools().status(PoolId(0)).state;
        assert!(matches!(state, PoolState::Disabling | PoolState::ShutdownPending), "{state:?}");
        let mut exchange = refused(503);
        exchange.expected.content = says.map(|text| text.as_bytes().to_vec());
        if says.is_none() {
            // Retries until the pool is back.
            exchange = get("/api/x", b"right".to_vec());
            exchange.may_break = true;
        }
        let client = world.add_client(vec![exchange], 65_535, 1);
        world.run_for(SECOND / 4);
        let tally = world.clients[client].tally;
        assert_eq!(tally.answered, usize::from(says.is_some()));
        world.run_for(SECOND);
        assert_eq!(world.clients[before].tally.answered, 1, "what a worker has is finished");
        let state = world.shard.hub().pools().status(PoolId(0)).state;
        assert!(matches!(state, PoolState::Disabled | PoolState::DeletePending), "{state:?}");
        world.shard.hub_mut().pools_mut().set_service(PoolId(0), Service::Open, None);
        ask(&mut world, get("/api/x", b"right".to_vec()));
    }
}

#[test]
fn requests_that_wait_are_told_when_the_pool_goes_offline() {
    let mut world = World::scripted(1, pool(0), |_, _| unreachable!("there is no worker"));
    let clients: Vec<_> = (0..10).map(|_| world.add_client(vec![refused(503)], 65_535, 1)).collect();
    world.run_for(SECOND);
    assert_eq!(world.shard.hub().pools().waiting(), clients.len());
    world.shard.hub_mut().pools_mut().set_service(PoolId(0), Service::Offline, None);
    world.poll_shard();
    world.run(SECOND).expect("all are told");
    assert_eq!(world.shard.counters().of(Reason::AppOffline), 10);
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn an_upgraded_connection_is_a_tunnel() {
    let mut world = World::scripted(1, pool(1), |_, _| {
        let mut upgraded = false;
        Script::new(Box::new(move |input| {
            if upgraded {
                return Some((input.len(), vec![Action::Send(input.to_vec())]));
            }
            let end = head_end(input)?;
            let head = String::from_utf8_lossy(&input[..end]).to_lowercase();
            assert!(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{head}");
            upgraded = true;
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            Some((end, vec![send(answer)]))
        }))
    });
    let head =
        "GET /api/ws HTTP/1.1\r\nHost: sim\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let frames = pattern(100_000);
    let expected = Expected { status: 101, content: None };
    let request = head.as_bytes().to_vec();
    let client = world.add_client(vec![Exchange { request, expected, may_break: false }], 65_535, 1);
    world.clients[client].stay = true;
    world.run(SECOND).expect("101");
    world.clients[client].say(&frames);
    world.wake(client);
    world.run_for(5 * SECOND);
    assert!(world.clients[client].has_received(&frames), "every byte comes back");
    let counters = world.shard.counters();
    let bytes = (counters.upgraded, counters.tunnel_bytes_in, counters.tunnel_bytes_out);
    assert_eq!(bytes, (1, 100_000, 100_000));
    assert_eq!((world.shard.hub().pools().links_in_use(), world.shard.tcp().established()), (1, 1));
}
