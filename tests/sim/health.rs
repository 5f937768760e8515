//! How far a request can affect workers that others need, and ends of streams that only look orderly.

use crate::client::{Exchange, Expected};
use crate::control::Host;
use crate::pools::{head_end, pool, right};
use crate::requests::get;
use crate::script::{Action, Script};
use crate::world::{WORKER, World};
use model::control::message::{Answer, Request};
use model::id::PoolId;
use model::pool::VERDICT_LIMIT;
use model::reason::Reason;
use model::settings::Worker;
use std::cell::RefCell;
use std::rc::Rc;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const CONTENT: usize = 30_000;

fn refused(path: &str) -> Exchange {
    let mut exchange = get(path, Vec::new());
    exchange.expected = Expected { status: 502, content: Some(b"502 Bad Gateway\n".to_vec()) };
    exchange
}

fn send(text: &str) -> Action {
    Action::Send(text.as_bytes().to_vec())
}

#[test]
fn failed_answers_and_an_open_tunnel_take_a_pool_away_from_nobody() {
    let mut world = World::scripted(1, pool(1), |_, _| {
        Script::new(Box::new(|input| {
            let end = head_end(input)?;
            Some((
                end,
                match &input[..end] {
                    head if head.starts_with(b"GET /api/ws") => {
                        vec![send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                        )]
                    }
                    head if head.starts_with(b"GET /api/bad") => vec![send("nonsense\r\n\r\n")],
                    _ => right(b"right"),
                },
            ))
        }))
    });
    let head = "GET /api/ws HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let expected = Expected { status: 101, content: None };
    let tunnel = Exchange { request: head.as_bytes().to_vec(), expected, may_break: false };
    let tunnel = world.add_client(vec![tunnel], 65_535, 1);
    world.clients[tunnel].stay = true;
    world.run(SECOND).expect("101");
    for n in 0..20 {
        world.add_client(vec![refused(&format!("/api/bad/{n}"))], 65_535, 1);
        world.run(SECOND).expect("502");
        world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
        world.run(100 * MS).expect("an answer, whatever others asked for");
    }
    for n in 0..20 {
        world.add_client(vec![refused(&format!("/api/bad/{n}"))], 65_535, 1);
    }
    world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run(SECOND).expect("answers after many bad ones in a row, too");
}

/// A world with one worker behind a relay, each of whose responses ends with its stream; and the identifiers of the streams.
fn relayed() -> (World, Host, Rc<RefCell<Vec<u64>>>) {
    let names = Rc::new(RefCell::new(Vec::new()));
    let seen = names.clone();
    let mut world = World::scripted(1, pool(0), move |_, _| {
        let names = seen.clone();
        Script::new(Box::new(move |input| {
            let end = head_end(input)?;
            let name = input.first_chunk().expect("a name comes first");
            names.borrow_mut().push(u64::from_le_bytes(*name));
            assert!(input[8..].starts_with(b"GET "));
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned();
            Some((end, vec![send(&(head + &"x".repeat(CONTENT))), Action::End]))
        }))
    });
    let mut host = Host::connect(&mut world);
    world.revive(0);
    let address = Worker { cid: WORKER.cid, port: WORKER.port };
    let up = Request::WorkerUp { pool: PoolId(0), address, named: true };
    assert_eq!(host.ask(&mut world, up), Ok(Answer::Done));
    (world, host, names)
}

fn ask(world: &mut World) -> usize {
    let mut exchange = get("/api/x", vec![b'x'; CONTENT]);
    exchange.may_break = true;
    world.add_client(vec![exchange], 65_535, 1)
}

#[test]
fn an_answer_that_ends_with_its_stream_is_whole_when_the_relay_says_so() {
    let (mut world, mut host, names) = relayed();
    let client = ask(&mut world);
    world.run_for(100 * MS);
    assert_eq!(world.clients[client].tally.answered, 0, "its end is held back");
    let name = names.borrow()[0];
    assert_eq!(host.ask(&mut world, Request::StreamEnded { name, whole: true }), Ok(Answer::Done));
    world.run(100 * MS).expect("the end");
    assert_eq!((world.clients[client].tally.answered, world.shard.counters().truncated), (1, 0));
}

#[test]
fn an_answer_that_was_cut_never_passes_for_a_whole_one() {
    for told in [true, false] {
        let (mut world, mut host, names) = relayed();
        let client = ask(&mut world);
        world.run_for(100 * MS);
        if told {
            let name = names.borrow()[0];
            assert_eq!(host.ask(&mut world, Request::StreamEnded { name, whole: false }), Ok(Answer::Done));
        } else {
            world.run_for(VERDICT_LIMIT.as_nanos() as u64);
        }
        world.run_for(100 * MS);
        let tally = world.clients[client].tally;
        assert_eq!((tally.answered, tally.broken, world.shard.counters().truncated), (0, 1, 1), "{told}");
        assert_eq!(world.shard.hub().pools().links_in_use(), 0);
    }
}

#[test]
fn a_request_that_has_ended_two_workers_is_given_to_no_third() {
    let mut world = World::scripted(1, pool(0), |_, _| {
        Script::new(Box::new(|input| {
            let end = head_end(input)?;
            let kill = input.starts_with(b"GET /api/kill");
            Some((end, if kill { vec![Action::Reset] } else { right(b"right") }))
        }))
    });
    let mut host = Host::connect(&mut world);
    let address = |n| Worker { cid: WORKER.cid, port: WORKER.port + n };
    for n in 0..2 {
        world.revive(n);
        let up = Request::WorkerUp { pool: PoolId(0), address: address(n as u32), named: false };
        assert_eq!(host.ask(&mut world, up), Ok(Answer::Done));
    }
    world.add_client(vec![refused("/api/kill?a=1")], 65_535, 1);
    world.run(SECOND).expect("502");
    for n in 0..2 {
        let gone = Request::WorkerGone { pool: PoolId(0), address: address(n), died: true };
        assert_eq!(host.ask(&mut world, gone), Ok(Answer::Done));
    }
    world.revive(0);
    let up = Request::WorkerUp { pool: PoolId(0), address: address(0), named: false };
    assert_eq!(host.ask(&mut world, up), Ok(Answer::Done));
    let lost = world.shard.hub().pools().counters().links_lost;
    for n in 0..3 {
        world.add_client(vec![refused(&format!("/api/kill?a={n}"))], 65_535, 1);
        world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
        world.run(SECOND).expect("502, and others are served");
    }
    let counters = world.shard.hub().pools().counters();
    assert_eq!((counters.links_lost, counters.fatal_targets), (lost, 1), "no worker was given it");
    assert_eq!(world.shard.counters().of(Reason::RequestEndsWorkers), 3);
    world.run_for(60 * SECOND);
    world.add_client(vec![refused("/api/kill")], 65_535, 1);
    world.run(SECOND).expect("502");
    assert!(world.shard.hub().pools().counters().links_lost > lost, "it is tried again later");
}
