//! TLS on the links to workers: the appliance's own against rustls.

use crate::client::{Exchange, Expected};
use crate::pools::{head_end, pool, right};
use crate::requests::get;
use crate::scenarios::nothing_leaks;
use crate::script::{Action, Script};
use crate::secure::Authority;
use crate::world::{World, pattern};
use appliance::pool::SecureCounters;
use appliance::reason::Reason;
use appliance::settings::{LinkTls, Pool};
use rustls::ServerConfig;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const NAME: &str = "app.workers";

/// Workers answer everything with these actions.
fn world(ours: LinkTls, theirs: Option<Arc<ServerConfig>>, actions: Vec<Action>) -> World {
    let pool = Pool { tls: Some(ours), queue_timeout_s: Some(20), ..pool(1) };
    World::scripted_with(1, pool, theirs, move |_, _| {
        let actions = actions.clone();
        Script::new(Box::new(move |input| Some((head_end(input)?, actions.clone()))))
    })
}

fn refused() -> Exchange {
    let mut exchange = get("/api/x", Vec::new());
    exchange.expected = Expected { status: 503, content: None };
    exchange
}

fn secured(world: &World) -> SecureCounters {
    world.shard.pools().secure_counters()
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
    let opened = world.shard.pools().counters().links_opened;
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
    // A session, a record each way, and a future.
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
    let cases: [(&str, &LinkTls, Option<Arc<ServerConfig>>, Count); 4] = [
        ("another authority's", &ours, Some(strangers), |c| c.untrusted),
        ("another name's", &ours, Some(namesakes), |c| c.other_name),
        ("no TLS", &ours, None, |c| c.failed),
        ("one that does not know us", &unknown, Some(theirs), |c| c.broken),
    ];
    for (what, ours, theirs, count) in cases {
        let mut world = world(ours.clone(), theirs, right(b"never"));
        world.add_client(vec![refused()], 65_535, 1);
        let told = world.run(100 * SECOND);
        let counters = secured(&world);
        assert!(count(&counters) > 0, "{what}: {counters:?}");
        if what != "one that does not know us" {
            told.expect("a refusal");
            assert_eq!(world.shard.counters().of(Reason::TimerReqQueue), 1, "{what}");
            assert_eq!(counters.handshakes, 0, "{what}");
        }
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

    // After enough of it that a replay is out of the question.
    let mut cut = world(ours, Some(theirs), vec![answer, Action::Wait(SECOND), Action::Reset]);
    let mut exchange = get("/api/x", body);
    exchange.may_break = true;
    let client = cut.add_client(vec![exchange], 65_535, 1);
    cut.clients[client].gives_up = true;
    cut.run(60 * SECOND).expect("an end");
    assert_eq!((cut.clients[client].tally.answered, cut.clients[client].tally.broken), (0, 1));
    assert_eq!(cut.shard.counters().truncated, 1);
}
