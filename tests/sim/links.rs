//! TLS on links to workers: the appliance's implementation against rustls.

use crate::client::Expected;
use crate::pools::{head_end, pool, right};
use crate::requests::get;
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::secure::Authority;
use crate::world::{World, pattern};
use appliance::upstream::SecureCounters;
use model::settings::{LinkTls, Pool};
use rustls::ServerConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SECOND: u64 = 1_000_000_000;
const NAME: &str = "app.workers";

/// Workers respond to everything with these actions.
fn world(ours: LinkTls, theirs: Option<Arc<ServerConfig>>, actions: Vec<Action>) -> World {
    let pool = Pool { tls: Some(ours), queue_timeout_s: Some(20), ..pool(1) };
    World::scripted_with(1, pool, theirs, move |_, _| {
        let actions = actions.clone();
        Script::new(Box::new(move |input| Some((head_end(input)?, actions.clone()))))
    })
}

fn secured(world: &World) -> SecureCounters {
    world.shard.hub().pools().secure_counters()
}

#[test]
fn requests_travel_over_secured_links() {
    let (ours, theirs) = Authority::new().links(NAME);
    let content = pattern(200_000);
    let mut world = world(ours, Some(theirs), right(&content));
    for _ in 0..4 {
        world.add_client((0..5).map(|_| get("/api/x", content.clone())).collect(), 65_535, 1);
    }
    world.run(60 * SECOND).expect("every answer");
    let opened = world.shard.hub().pools().counters().links_opened;
    assert!((1..=4).contains(&opened), "{opened} links for four clients");
    assert_eq!(secured(&world), SecureCounters { handshakes: opened, ..SecureCounters::default() });
    nothing_leaks(&mut world).expect("nothing is left");
}

#[test]
fn a_slow_client_makes_a_secured_link_hold_little_more_than_a_bare_one() {
    let (ours, theirs) = Authority::new().links(NAME);
    let content = pattern(2_000_000);
    let held = |mut world: World| {
        world.add_client(vec![get("/api/x", content.clone())], 2048, 1);
        world.run_for(SECOND / 5);
        let held = world.work.heap_bytes;
        world.run(600 * SECOND).expect("every byte");
        nothing_leaks(&mut world).expect("nothing is left");
        held
    };
    let bare = held(World::scripted(1, pool(1), {
        let content = content.clone();
        move |_, _| {
            let actions = right(&content);
            Script::new(Box::new(move |input| Some((head_end(input)?, actions.clone()))))
        }
    }));
    let secured = held(world(ours, Some(theirs), right(&content)));
    // A session, a record in each direction, and a future.
    assert!(secured - bare < 80_000, "{} bytes", secured - bare);
}

#[test]
fn workers_that_are_not_who_they_should_be_get_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (ours, theirs) = authority.links(NAME);
    let (_, strangers) = other.links(NAME);
    let (_, namesakes) = authority.links("other.workers");
    let (unknown, _) = other.links(NAME);
    let unknown = LinkTls { anchors: ours.anchors.clone(), ..unknown };
    type Count = fn(&SecureCounters) -> u64;
    let cases: [(&LinkTls, Option<Arc<ServerConfig>>, u16, Count); 4] = [
        (&ours, Some(strangers), 503, |c| c.untrusted),
        (&ours, Some(namesakes), 503, |c| c.other_name),
        // A plain worker sees a ClientHello, which is not a request.
        (&ours, None, 503, |c| c.failed),
        // A worker that rejects our certificate says so after our handshake is complete and a request is in progress.
        (&unknown, Some(theirs), 502, |c| c.broken),
    ];
    for (number, (ours, theirs, status, count)) in cases.into_iter().enumerate() {
        let seen = Arc::new(AtomicUsize::new(0));
        let pool = Pool { tls: Some(ours.clone()), queue_timeout_s: Some(20), ..pool(1) };
        let mut world = World::scripted_with(1, pool, theirs, {
            let seen = seen.clone();
            move |_, _| {
                let seen = seen.clone();
                Script::new(Box::new(move |input| {
                    let end = head_end(input)?;
                    seen.fetch_add(1, Ordering::Relaxed);
                    Some((end, right(b"never")))
                }))
            }
        });
        let mut exchange = get("/api/x", Vec::new());
        exchange.expected = Expected { status, content: None };
        world.add_client(vec![exchange], 65_535, 1);
        world.run(100 * SECOND).unwrap_or_else(|why| panic!("case {number}: {why}"));
        let counters = secured(&world);
        assert!(count(&counters) > 0, "case {number}: {counters:?}");
        assert_eq!(counters.handshakes > 0, status == 502, "case {number}: {counters:?}");
        assert_eq!(seen.load(Ordering::Relaxed), 0, "case {number}");
    }
}

#[test]
fn an_answer_without_length_is_whole_only_if_the_worker_says_so() {
    let (ours, theirs) = Authority::new().links(NAME);
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let body = pattern(50_000);
    let answer = Action::Send([&head[..], &body].concat());
    let mut whole = world(ours.clone(), Some(theirs.clone()), vec![answer.clone(), Action::End]);
    whole.add_client(vec![get("/api/x", body.clone())], 65_535, 1);
    whole.run(60 * SECOND).expect("all of it");
    assert_eq!(secured(&whole).cut, 0);

    // After so much of it that it cannot be replayed.
    let mut cut = world(ours, Some(theirs), vec![answer, Action::Wait(SECOND), Action::Reset]);
    let mut exchange = get("/api/x", body);
    exchange.may_break = true;
    let client = cut.add_client(vec![exchange], 65_535, 1);
    cut.clients[client].gives_up = true;
    cut.run(60 * SECOND).expect("an end");
    assert_eq!((cut.clients[client].tally.answered, cut.clients[client].tally.broken), (0, 1));
    assert_eq!(cut.shard.counters().truncated, 1);
}
