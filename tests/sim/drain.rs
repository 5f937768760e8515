//! Graceful shutdown: requests in progress are completed, nothing new begins, and the time for it is limited.

use crate::control::Host;
use crate::logs::{errors, logged, raw};
use crate::requests;
use crate::world::World;
use model::control::message::{Answer, Draining, Request};
use model::settings::{Settings, SiteBandwidth};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// Files at 100 kB/s, so that the largest takes three seconds.
fn slow() -> Settings {
    let mut settings = logged();
    settings.sites[0].bandwidth =
        SiteBandwidth { ceil: Some(100_000), burst: Some(2_000), ..SiteBandwidth::default() };
    settings
}

fn drain(host: &mut Host, world: &mut World, limit_ms: u64) -> Draining {
    match host.ask(world, Request::Drain { limit_ms }) {
        Ok(Answer::Draining(left)) => left,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_under_way_is_finished_and_nothing_new_begins() {
    let mut world = World::with(&slow());
    let mut host = Host::connect(&mut world);
    let idle = world.add_client(vec![requests::file(128)], 2048, 1);
    world.clients[idle].stay = true;
    world.run(10 * SECOND).expect("it is answered");
    let silent = world.add_client(vec![raw(b"", 0)], 2048, 1);
    let reads = world.add_client(vec![requests::file(300_000)], 65_535, 1);
    let waits = world.add_client(vec![raw(b"GET /api/sleep/1500 HTTP/1.1\r\nHost: sim\r\n\r\n", 0)], 2048, 1);
    world.clients[waits].whole = true;
    world.run_for(500 * MS);
    assert_eq!(world.shard.tcp().established(), 4);
    let left = drain(&mut host, &mut world, 10_000);
    assert_eq!(left.connections, 4, "{left:?}");
    // Its request may have been in transit.
    world.run_for(100 * MS);
    assert_eq!(world.shard.tcp().established(), 3, "the idle one is closed");
    assert!(world.clients[silent].failure.is_none());
    let late = world.add_client(vec![requests::file(128)], 2048, 1);
    world.run_for(100 * MS);
    assert!(world.clients[late].failure.as_ref().is_some_and(|why| why.contains("ended with 0 bytes")));
    world.run_for(SECOND);
    assert!(world.clients[silent].failure.is_some(), "a second is enough for a first request");
    world.run_for(5 * SECOND);
    assert_eq!((world.clients[reads].tally.answered, &world.clients[reads].failure), (1, &None));
    assert!(world.clients[waits].has_received(b"\r\nConnection: close\r\n"));
    assert!(world.clients[waits].has_received(b"slept 1500 ms\n"));
    assert_eq!(drain(&mut host, &mut world, 10_000), Draining { connections: 0, log_bytes: 0 });
    let lines = world.collector.of('a');
    for what in ["GET /f/128 - 200 ", "GET /f/300000 - 200 ", "GET /api/sleep/1500 - 200 "] {
        assert_eq!(lines.iter().filter(|line| line.starts_with(what)).count(), 1, "{lines:#?}");
    }
    assert_eq!(errors(&world), [""; 0]);
}

#[test]
fn what_is_not_done_in_time_is_cut_off_with_a_reason() {
    let mut world = World::with(&slow());
    let mut host = Host::connect(&mut world);
    let deaf = world.add_client(vec![requests::file(300_000)], 4096, 1);
    world.clients[deaf].deaf = true;
    let begun = world.add_client(vec![raw(b"GET / HT", 0)], 2048, 1);
    world.run_for(SECOND);
    assert_eq!(drain(&mut host, &mut world, 2_000).connections, 2);
    world.run_for(1_900 * MS);
    assert!(world.clients[begun].failure.is_none());
    assert_eq!(drain(&mut host, &mut world, 100).connections, 2);
    world.run_for(SECOND);
    assert_eq!(drain(&mut host, &mut world, 0), Draining { connections: 0, log_bytes: 0 });
    let mut reasons = errors(&world);
    reasons.sort();
    assert_eq!(reasons, ["AppShutdown - - - -", "AppShutdown GET /f/300000 - -"]);
    assert_eq!(world.shard.tcp().established(), 0);
}

#[test]
fn requests_in_the_queue_wait_for_their_worker_while_draining() {
    let mut world = World::with(&slow());
    let mut host = Host::connect(&mut world);
    world.crashes = vec![(0, 3 * SECOND)];
    world.run_for(100 * MS);
    world.add_client(vec![requests::hello()], 2048, 1);
    world.run_for(100 * MS);
    assert_eq!(drain(&mut host, &mut world, 20_000).connections, 1);
    world.run(10 * SECOND).expect("the worker that comes back answers");
    world.run_for(SECOND);
    assert_eq!(drain(&mut host, &mut world, 20_000), Draining { connections: 0, log_bytes: 0 });
}
