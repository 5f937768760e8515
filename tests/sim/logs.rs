//! Logs: a line for every request and every rejection, bounded, and delivered again after the collector was absent.

use crate::client::{Exchange, Expected};
use crate::requests;
use crate::world::{World, settings};
use model::log::Field;
use model::reason::Reason;
use model::settings::{Limits, Log, LogFormat, Pool, RequestRate, Settings};

const SECOND: u64 = 1_000_000_000;
const FIELDS: &[Field] = &[
    Field::Method,
    Field::UriStem,
    Field::UriQuery,
    Field::Status,
    Field::BytesSent,
    Field::BytesReceived,
    Field::TimeTaken,
    Field::Win32Status,
    Field::SiteName,
    Field::QueueName,
];

pub fn logged() -> Settings {
    let log = Log {
        port: crate::collector::PORT,
        format: LogFormat::W3c,
        fields: FIELDS.to_vec(),
        errors: true,
        computer: String::new(),
    };
    Settings { log: Some(log), ..settings(&["*"]) }
}

pub fn raw(request: &[u8], status: u16) -> Exchange {
    Exchange { request: request.to_vec(), expected: Expected { status, content: None }, may_break: false }
}

/// Sends this on its own connection and waits for this many seconds.
fn say(world: &mut World, request: &[u8], seconds: u64) {
    let client = world.add_client(vec![raw(request, 0)], 2048, 1);
    world.clients[client].stay = true;
    world.clients[client].whole = true;
    world.run_for(seconds * SECOND);
}

/// Reason phrase, method, URI and status of each error line.
pub fn errors(world: &World) -> Vec<String> {
    let line = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words.len(), 13, "{line}");
        [words[11], words[7], words[8], words[9], words[12]].join(" ")
    };
    world.collector.of('e').iter().map(line).collect()
}

#[test]
fn a_line_for_every_request() {
    let mut world = World::with(&logged());
    let script = vec![
        requests::file(128),
        requests::get("/f/70000?a=%20b", crate::world::pattern(70_000)),
        requests::hello(),
        requests::get("/api/sleep/20", b"slept 20 ms\n".to_vec()),
        raw(b"GET /nothing HTTP/1.1\r\nHost: sim\r\n\r\n", 404),
    ];
    world.add_client(script, 65_535, 1);
    world.run(20 * SECOND).expect("all are answered");
    world.run_for(SECOND);
    let lines = world.collector.of('a');
    let words = |n: usize| lines[n].split(' ').collect::<Vec<_>>();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(words(0)[..4], ["GET", "/f/128", "-", "200"]);
    assert!(words(0)[4].parse::<u64>().expect("a number") > 128);
    assert_eq!(words(0)[5], b"GET /f/128 HTTP/1.1\r\nHost: sim\r\n\r\n".len().to_string());
    assert_eq!(words(0)[7..], ["0", "sim", "-"]);
    assert_eq!(words(1)[1..4], ["/f/70000", "a=%20b", "200"]);
    assert_eq!((words(2)[1], words(2)[9]), ("/api/hello", "app"));
    let taken: u64 = words(3)[6].parse().expect("a number");
    assert!((20..100).contains(&taken), "{taken} ms");
    assert_eq!(words(4)[3], "404");
    assert_eq!(errors(&world), [""; 0]);
}

#[test]
fn content_that_goes_up_is_counted() {
    let mut world = World::with(&logged());
    let mut rng = fastrand::Rng::with_seed(1);
    world.add_client(vec![requests::echo(&[b'x'; 50_000], false, &mut rng)], 65_535, 1);
    world.run(20 * SECOND).expect("it is answered");
    world.run_for(SECOND);
    let lines = world.collector.of('a');
    let words: Vec<&str> = lines[0].split(' ').collect();
    let bytes = |n: usize| words[n].parse::<u64>().expect("a number");
    assert!((50_000..50_500).contains(&bytes(4)) && (50_000..50_500).contains(&bytes(5)), "{words:?}");
}

#[test]
fn refusals_before_routing_have_both_lines() {
    let mut world = World::with(&logged());
    say(&mut world, b"GET /a?b HTTP/1.1\r\nHost : a\r\n\r\n", 1);
    say(&mut world, b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    say(&mut world, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 1);
    say(&mut world, b"\x16\x03\x01\r\n\r\n", 1);
    assert_eq!(
        errors(&world),
        ["Header GET /a?b 400 -", "Verb G@T / 400 -", "Version_N/S GET / 505 -", "Verb +++ - 400 -",]
    );
    let statuses: Vec<_> =
        world.collector.of('a').iter().map(|l| l.split(' ').nth(3).expect("a status").to_owned()).collect();
    assert_eq!(statuses, ["400", "400", "505", "400"]);
}

#[test]
fn nothing_of_a_request_begins_another_line() {
    let mut world = World::with(&logged());
    say(&mut world, b"#Fields: \x01 HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    say(&mut world, "GET /\u{85}\u{2028}x HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(), 1);
    assert_eq!(world.collector.lines.len(), 4, "{:#?}", world.collector.lines);
    for line in &world.collector.lines {
        assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{line:?}");
        assert!(!line[1..].starts_with('#'));
    }
}

#[test]
fn timers_have_a_line() {
    let mut world = World::with(&logged());
    say(&mut world, b"GET /f/128 HTTP/1.1\r\nHost: s", 40);
    say(&mut world, b"POST /api/echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\nonly this", 70);
    let idle = world.add_client(vec![requests::file(128)], 2048, 1);
    world.clients[idle].stay = true;
    world.run_for(130 * SECOND);
    let deaf = world.add_client(vec![requests::file(300_000)], 2048, 1);
    world.clients[deaf].deaf = true;
    world.run_for(70 * SECOND);
    assert_eq!(
        errors(&world),
        [
            "Timer_HeaderWait - - - -",
            "Timer_EntityBody POST /api/echo - app",
            "Timer_ConnectionIdle - - - -",
            "Timer_MinBytesPerSecond GET /f/300000 - -",
        ]
    );
    let ends: Vec<_> = world
        .collector
        .of('a')
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[1].to_owned(), words[3].to_owned(), words[7].to_owned())
        })
        .collect();
    let line = |stem: &str, status: &str, why: &str| (stem.into(), status.into(), why.into());
    // 121: a timer; both had received part of their response.
    assert_eq!(
        ends,
        [line("/api/echo", "200", "121"), line("/f/128", "200", "0"), line("/f/300000", "200", "121")]
    );
}

#[test]
fn refusals_of_pools_and_limits_have_a_line() {
    let queue = Pool { queue_length: Some(1), ..logged().pools.remove(0) };
    let mut configured = Settings { pools: vec![queue], ..logged() };
    let rate = RequestRate { requests: 1, per_secs: 3600, burst: 3 };
    configured.sites[0].limits = Limits { requests: Some(rate), ..Limits::default() };
    let mut world = World::with(&configured);
    world.crashes = vec![(0, 1000 * SECOND)];
    world.run_for(SECOND);
    for _ in 0..4 {
        say(&mut world, b"GET /api/hello HTTP/1.1\r\nHost: sim\r\n\r\n", 1);
    }
    assert_eq!(
        errors(&world),
        [
            "QueueFull GET /api/hello 503 app",
            "QueueFull GET /api/hello 503 app",
            "RequestRate GET /api/hello 429 app",
        ]
    );
    world.run_for(125 * SECOND);
    assert_eq!(errors(&world).last().map(String::as_str), Some("Timer_ReqQueue GET /api/hello 503 app"));
    assert_eq!(world.collector.of('a').len(), 4);
}

#[test]
fn what_comes_while_the_collector_is_away_waits_and_what_finds_no_room_is_counted() {
    let mut world = World::with(&logged());
    world.collector.away = true;
    let script = vec![requests::file(128); 50];
    world.add_client(script, 2048, 1);
    world.run(20 * SECOND).expect("all are answered");
    world.run_for(10 * SECOND);
    assert_eq!(world.collector.lines.len(), 0);
    world.collector.away = false;
    world.run_for(10 * SECOND);
    assert_eq!(world.collector.of('a').len(), 50);
    // 262,144 bytes of lines of about 60 bytes each.
    world.collector.away = true;
    world.restart_collector();
    world.collector.away = true;
    for _ in 0..10 {
        world.add_client(vec![requests::file(128); 1000], 2048, 8);
    }
    world.run(200 * SECOND).expect("all are answered");
    let (dropped, waiting) = (world.shard.log().spool.dropped(), world.shard.log().spool.len());
    assert!(dropped > 1000 && waiting <= 256 << 10, "{dropped} dropped, {waiting} bytes wait");
    world.collector.away = false;
    world.run_for(10 * SECOND);
    world.add_client(vec![requests::file(128)], 2048, 1);
    world.run_for(2 * SECOND);
    let told: u64 = world.collector.of('d').iter().map(|n| n.parse::<u64>().expect("a number")).sum();
    assert_eq!(told, world.shard.log().spool.dropped());
    assert_eq!(world.collector.of('a').len() as u64 + told, 50 + 10_000 + 1);
}

#[test]
fn a_collector_that_is_started_again_gets_whole_lines() {
    let mut world = World::with(&logged());
    for number in 0..20 {
        world.add_client(vec![requests::file(1024); 20], 2048, 1);
        world.run_for(SECOND / 20);
        if number % 5 == 4 {
            world.restart_collector();
        }
        if number == 10 {
            world.collector.stuck = true;
        }
    }
    world.collector.stuck = false;
    world.run_for(20 * SECOND);
    let lines = world.collector.of('a');
    assert!(lines.iter().all(|line| line.starts_with("GET /f/1024 - 200 ")), "{lines:#?}");
    // Lines in transit to a collector that crashed were sent again.
    assert!(lines.len() >= 400, "{}", lines.len());
    assert_eq!(world.shard.log().spool.len(), 0);
}

#[test]
fn connections_that_find_or_make_room_have_a_line() {
    let mut world = World::with_quality(&logged(), 1, crate::network::Quality::LAN, 300 << 10);
    for _ in 0..60 {
        let client = world.add_client(vec![requests::file(128)], 2048, 1);
        world.clients[client].stay = true;
        world.run(10 * SECOND).expect("there is room for one more");
    }
    world.run_for(SECOND);
    let evicted = world.shard.counters().evicted;
    assert!(evicted > 5, "{evicted} evicted");
    assert_eq!(errors(&world), vec!["Timer_ConnectionIdle - - - -"; evicted as usize]);
    // A flood is counted; the log has a few lines of it per second.
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        world.shard.nic().deliver(crate::scenarios::syn(&mut rng));
        world.poll_shard();
    }
    world.run_for(SECOND);
    let counters = world.shard.tcp().counters();
    let refused = counters.half_open_evicted + counters.connections_refused;
    assert!(refused > 1000, "{counters:?}");
    let lines = errors(&world).iter().filter(|line| *line == "Connections_Refused - - - -").count();
    assert!((1..=20).contains(&lines), "{lines} lines");
}

#[test]
fn a_client_that_leaves_is_told_apart() {
    let mut world = World::with(&logged());
    world.crashes = vec![(0, 5 * SECOND)];
    world.run_for(SECOND);
    let waits = world.add_client(vec![requests::hello()], 2048, 1);
    world.run_for(SECOND);
    world.clients[waits].leave();
    world.wake(waits);
    world.run_for(10 * SECOND);
    let reads = world.add_client(vec![requests::get("/api/sleep/3000", Vec::new())], 2048, 1);
    world.run_for(SECOND);
    world.clients[reads].leave();
    world.wake(reads);
    world.run_for(10 * SECOND);
    assert_eq!(
        errors(&world),
        ["Client_Reset GET /api/hello - app", "Connection_Dropped GET /api/sleep/3000 - app"]
    );
    assert_eq!(world.shard.counters().of(Reason::ClientReset), 1);
}
