//! Deliberately slow clients, and absent workers.

use crate::client::{Exchange, Expected};
use crate::network::Quality;
use crate::requests;
use crate::world::World;
use model::reason::Reason;

const SECOND: u64 = 1_000_000_000;

/// A world with one client that sends this and stays connected, whatever the response.
fn world_with(request: &[u8]) -> World {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    let expected = Expected { status: 200, content: None };
    let client =
        world.add_client(vec![Exchange { request: request.to_vec(), expected, may_break: false }], 2048, 1);
    world.clients[client].stay = true;
    world
}

/// Checks that the connection stays open for `after` seconds, and is then closed for this reason.
fn ends(mut world: World, after: u64, reason: Reason) {
    world.run_for((after - 1) * SECOND);
    assert_eq!((world.shard.tcp().established(), world.shard.counters().of(reason)), (1, 0), "too early");
    world.run_for(2 * SECOND);
    assert_eq!(world.shard.counters().of(reason), 1, "{}", reason.as_str());
    world.run_for(10 * SECOND);
    assert_eq!(world.shard.tcp().established(), 0);
    assert_eq!(world.shard.hub().pools().links_in_use(), 0);
}

#[test]
fn a_head_that_does_not_end() {
    ends(world_with(b"GET /f/128 HTTP/1.1\r\nHost: s"), 30, Reason::TimerHeaderWait);
}

#[test]
fn a_head_that_its_client_cuts_off_is_not_waited_for() {
    for request in [&b"G"[..], b"GET /fo", b"GET /f/128 HTTP/1.1\r\nHost: sim\r\n"] {
        let mut world = world_with(request);
        world.run_for(SECOND);
        assert_eq!(world.shard.tcp().established(), 1, "it may still send the rest");
        world.clients[0].half_close();
        world.wake(0);
        world.run_for(SECOND);
        assert_eq!(world.shard.tcp().established(), 0);
        let counters = world.shard.counters();
        assert_eq!((counters.of(Reason::ConnectionDropped), counters.of(Reason::TimerHeaderWait)), (1, 0));
    }
    // Complete requests are served all the same.
    let mut world = world_with(b"GET /f/128 HTTP/1.1\r\nHost: sim\r\n\r\n");
    world.clients[0].deaf = true;
    world.run_for(SECOND / 2);
    world.clients[0].half_close();
    world.clients[0].deaf = false;
    world.wake(0);
    world.run_for(SECOND);
    assert_eq!((world.shard.tcp().established(), world.clients[0].tally.answered), (0, 1));
}

#[test]
fn a_connection_without_a_request() {
    ends(world_with(b""), 30, Reason::TimerHeaderWait);
}

#[test]
fn content_that_does_not_come() {
    let request = b"POST /api/echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\nonly this";
    ends(world_with(request), 60, Reason::TimerEntityBody);
}

#[test]
fn unwanted_content_that_does_not_come() {
    let request = b"GET /f/128 HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\nonly this";
    ends(world_with(request), 30, Reason::TimerEntityBody);
}

#[test]
fn a_client_that_does_not_read() {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    let client = world.add_client(vec![requests::file(300_000)], 2048, 1);
    world.clients[client].deaf = true;
    ends(world, 60, Reason::TimerMinBytesPerSecond);
}

#[test]
fn a_kept_alive_connection_that_is_not_used() {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    let client = world.add_client(vec![requests::file(128)], 2048, 1);
    world.clients[client].stay = true;
    ends(world, 120, Reason::TimerConnectionIdle);
}

#[test]
fn a_request_that_no_worker_takes() {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    world.crashes = vec![(0, 1000 * SECOND)];
    world.run_for(SECOND);
    let mut refused = requests::hello();
    refused.expected = Expected { status: 503, content: None };
    world.add_client(vec![refused], 2048, 1);
    world.run_for(118 * SECOND);
    assert_eq!(world.shard.hub().pools().waiting(), 1);
    world.run(5 * SECOND).expect("the client is told");
    assert_eq!(world.shard.counters().of(Reason::TimerReqQueue), 1);
    assert_eq!(world.shard.hub().pools().waiting(), 0);
}

#[test]
fn a_worker_that_comes_back_serves_what_waited() {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    world.crashes = vec![(0, 20 * SECOND)];
    world.run_for(SECOND);
    for _ in 0..50 {
        world.add_client(vec![requests::hello()], 2048, 1);
    }
    world.run_for(10 * SECOND);
    assert_eq!(world.shard.hub().pools().waiting(), 50);
    // At most one more connection attempt, with its timeout, after the worker is back.
    world.run(15 * SECOND).expect("every request is answered");
}

#[test]
fn heads_that_do_not_end_take_bounded_memory_and_others_are_served() {
    let mut world = World::new(1, Quality::LAN, true, 8 << 20);
    let endless = [b"GET / HTTP/1.1\r\nHost: sim\r\nX: ".to_vec(), vec![b'x'; 3000]].concat();
    let expected = Expected { status: 503, content: None };
    for number in 0..600 {
        let exchange = Exchange { request: endless.clone(), expected: expected.clone(), may_break: false };
        world.add_client(vec![exchange], 4096, 1);
        if number % 100 == 99 {
            world.run_for(SECOND / 10);
        }
    }
    world.run_for(5 * SECOND);
    // Of the 16 MiB of free memory in the simulated machine, 2 MiB are for heads: 128 of the longest.
    let refused = world.shard.counters().of(Reason::NotAvailable);
    assert!((300..600).contains(&refused), "{refused} refused");
    let honest = world.add_client(vec![requests::file(4096)], 4096, 1);
    world.run_for(SECOND);
    assert_eq!(world.clients[honest].tally.answered, 1);
}
