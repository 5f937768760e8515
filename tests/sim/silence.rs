//! Responses and upgraded connections that are idle for a long time.

use crate::client::{Exchange, Expected};
use crate::pools::{head_end, pool};
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::world::{World, settings};
use model::reason::Reason;
use model::settings::{Http, Settings};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// Responds to the first request with `head`, then echoes everything received, without further framing.
fn world(head: &'static str, http: Http) -> World {
    let mut settings = Settings { pools: vec![pool(1)], ..settings(&["*"]) };
    settings.sites[0].http = http;
    World::scripted_in(1, &settings, None, move |_, _| {
        let mut begun = false;
        Script::new(Box::new(move |input| {
            if begun {
                return Some((input.len(), vec![Action::Send(input.to_vec())]));
            }
            let end = head_end(input)?;
            begun = true;
            Some((end, vec![Action::Send(head.as_bytes().to_vec())]))
        }))
    })
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nevent\n";
const WEBSOCKET: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Sends the request and receives the first part of the response.
fn begin(world: &mut World, upgrade: bool) -> usize {
    let fields = if upgrade { "Connection: Upgrade\r\nUpgrade: websocket\r\n" } else { "" };
    let request = format!("GET /api/x HTTP/1.1\r\nHost: sim\r\n{fields}\r\n").into_bytes();
    let expected = Expected { status: if upgrade { 101 } else { 200 }, content: None };
    let client = world.add_client(vec![Exchange { request, expected, may_break: false }], 65_535, 1);
    world.clients[client].stay = true;
    world.run_for(2 * SECOND);
    assert_eq!((world.shard.hub().pools().links_in_use(), world.shard.tcp().established()), (1, 1));
    client
}

/// Checks that the connection stays open for this many seconds, and is then closed for this reason.
fn ends_after(mut world: World, seconds: u64, reason: Reason) -> World {
    world.run_for((seconds - 4) * SECOND);
    assert_eq!((world.shard.tcp().established(), world.shard.counters().of(reason)), (1, 0), "too early");
    world.run_for(4 * SECOND);
    assert_eq!(world.shard.counters().of(reason), 1, "{reason}");
    world.run_for(10 * SECOND);
    nothing_leaks(&mut world).expect("nothing is left");
    world
}

/// `response_timeout` is 5 s here; it applies until the head arrives, not between two events.
#[test]
fn a_stream_may_be_silent_for_ten_minutes() {
    for head in [EVENTS, UNTIL_CLOSE] {
        let mut world = world(head, Http::default());
        begin(&mut world, false);
        world.run_for(10 * MINUTE);
        assert_eq!((world.shard.hub().pools().links_in_use(), world.shard.tcp().established()), (1, 1));
        assert_eq!(world.shard.counters().of(Reason::TimerResponse), 0);
    }
}

/// A response with a known length is not a stream: a worker that stops in the middle has lost it.
#[test]
fn an_answer_of_known_length_may_not() {
    let mut world = world("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nevent\n", Http::default());
    begin(&mut world, false);
    world.run_for(6 * SECOND);
    assert_eq!(world.shard.counters().of(Reason::TimerResponse), 1);
}

#[test]
fn streams_and_tunnels_end_with_timers_of_their_own() {
    let http = Http { stream_idle_s: Some(20), tunnel_idle_s: Some(200), ..Http::default() };
    for (head, upgrade, seconds, reason) in
        [(EVENTS, false, 20, Reason::TimerResponse), (WEBSOCKET, true, 200, Reason::TimerConnectionIdle)]
    {
        let mut world = world(head, http);
        begin(&mut world, upgrade);
        ends_after(world, seconds, reason);
    }
    for (head, upgrade, reason) in
        [(EVENTS, false, Reason::TimerResponse), (WEBSOCKET, true, Reason::TimerConnectionIdle)]
    {
        let mut world = world(head, Http::default());
        begin(&mut world, upgrade);
        ends_after(world, 3600, reason);
    }
}

/// Both sides get a close frame, "going away", and never in the middle of a frame.
#[test]
fn a_silent_websocket_is_closed_by_its_own_means() {
    let ping = [0x89, 0x80, 1, 2, 3, 4];
    for (said, told) in [(&ping[..], true), (&ping[..3], false)] {
        let mut world = world(WEBSOCKET, Http { tunnel_idle_s: Some(100), ..Http::default() });
        let client = begin(&mut world, true);
        world.clients[client].say(said);
        world.wake(client);
        world.run_for(SECOND);
        let close = [0x88, 2, 0x03, 0xe9];
        assert!(!world.clients[client].has_received(&close));
        let world = ends_after(world, 100, Reason::TimerConnectionIdle);
        assert_eq!(world.clients[client].has_received(&close), told);
        // What the client sent, and to the worker a close frame: a header, a key, two bytes.
        assert_eq!(world.shard.counters().tunnel_bytes_in, said.len() as u64);
        assert!(world.clients[client].failure.is_none(), "{:?}", world.clients[client].failure);
    }
}

/// A machine that was switched off can only be detected by probing it.
#[test]
fn a_client_that_is_gone_is_found() {
    for (head, upgrade) in [(EVENTS, false), (WEBSOCKET, true)] {
        let mut world = world(head, Http::default());
        let client = begin(&mut world, upgrade);
        // A live client responds.
        world.run_for(5 * MINUTE);
        assert_eq!(world.shard.tcp().established(), 1);
        world.clients[client].dead = true;
        world.run_for(2 * MINUTE);
        assert_eq!((world.shard.hub().pools().links_in_use(), world.shard.tcp().established()), (0, 0));
        assert_eq!(world.shard.counters().of(Reason::ConnectionDropped), 1);
    }
}
