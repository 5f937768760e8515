//! Named attacks that HTTP.sys and its peers had to survive.

use crate::client::{Exchange, Expected};
use crate::network::Quality;
use crate::requests;
use crate::world::{World, pattern, settings};
use model::id::PoolId;
use model::reason::Reason;
use model::settings::{Handler, Http, Pool, Prefix, Settings, Worker};

const SECOND: u64 = 1_000_000_000;

fn raw(request: impl Into<Vec<u8>>, status: u16, content: Option<Vec<u8>>) -> Exchange {
    Exchange { request: request.into(), expected: Expected { status, content }, may_break: false }
}

/// Sends all of these on one connection, each followed by a request that must succeed.
fn survives(world: &mut World, exchanges: Vec<Exchange>) {
    let script = exchanges.into_iter().flat_map(|exchange| [exchange, requests::file(128)]).collect();
    world.add_client(script, 65_535, 1);
    world.run(600 * SECOND).expect("every answer is right");
}

/// MS15-034: a range up to the maximum integer overflowed in the kernel's cache.
#[test]
fn cve_2015_1635_range_overflow() {
    let mut world = World::with(&settings(&["*"]));
    let whole = pattern(4096);
    let range = |range: &str, status, content| {
        raw(format!("GET /f/4096 HTTP/1.1\r\nHost: sim\r\nRange: bytes={range}\r\n\r\n"), status, content)
    };
    let max = u64::MAX;
    let script = vec![
        range(&format!("0-{max}"), 206, Some(whole.clone())),
        range(&format!("18-{max}"), 206, Some(whole[18..].to_vec())),
        range(&format!("4095-{max}"), 206, Some(whole[4095..].to_vec())),
        range(&format!("-{max}"), 206, Some(whole.clone())),
        range("-1", 206, Some(whole[4095..].to_vec())),
        range("0-0", 206, Some(whole[..1].to_vec())),
    ];
    survives(&mut world, script);
    // Unsatisfiable ranges, and numbers of more than 64 bits: always a response, and never more bytes than the file has.
    for text in
        [format!("{max}-"), format!("{max}-{max}"), "4096-".into(), format!("0-{max}0"), format!("{max}0-")]
    {
        let mut world = World::with(&settings(&["*"]));
        let client = world.add_client(vec![range(&text, 0, None)], 65_535, 1);
        world.run_for(SECOND);
        assert!(world.clients[client].got < 4096 + 600, "{text}");
        let why = world.clients[client].failure.clone().unwrap_or_default();
        assert!(
            why.contains("status 416") || why.contains("status 200") || why.contains("status 206"),
            "{text}: {why}"
        );
    }
}

/// An empty element in Accept-Encoding was freed twice.
#[test]
fn cve_2021_31166_empty_list_elements() {
    let mut world = World::with(&settings(&["*"]));
    let names = [
        "Accept",
        "Accept-Charset",
        "Accept-Encoding",
        "Accept-Language",
        "Cache-Control",
        "Connection",
        "Expect",
        "Forwarded",
        "If-Match",
        "If-None-Match",
        "Pragma",
        "Range",
        "TE",
        "Trailer",
        "Upgrade",
        "Via",
        "X-Any",
    ];
    let mut script = Vec::new();
    for name in names {
        for value in ["", ",", ", ,", ",,,,,,,,", "\t,\t", " , , "] {
            // An empty list matches nothing.
            let status = if name == "If-Match" { 412 } else { 200 };
            let content = if status == 200 { pattern(128) } else { b"412 Precondition Failed\n".to_vec() };
            let request = format!("GET /f/128 HTTP/1.1\r\nHost: sim\r\n{name}: {value}\r\n\r\n");
            script.push(raw(request, status, Some(content)));
        }
    }
    survives(&mut world, script);
}

/// Trailers used uninitialised memory.
#[test]
fn cve_2022_21907_trailers() {
    let post = |trailers: &str, status, content| {
        let head =
            "POST /api/echo HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n";
        raw(format!("{head}5\r\nhello\r\n0\r\n{trailers}\r\n"), status, content)
    };
    let mut world = World::with(&settings(&["*"]));
    let fine = || Some(b"hello".to_vec());
    let many: String = (0..100).map(|n| format!("T{n}: {n}\r\n")).collect();
    survives(
        &mut world,
        vec![
            post("", 200, fine()),
            post("X-Sum: 1\r\n", 200, fine()),
            post("A:\r\nB: \t\r\n", 200, fine()),
            post(&many, 200, fine()),
        ],
    );
    for forbidden in [
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Authorization: x",
        "Content_Length: 1",
    ] {
        let mut world = World::with(&settings(&["*"]));
        let discard = format!(
            "POST /api/discard HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{forbidden}\r\n\r\n"
        );
        let client = world.add_client(vec![raw(discard, 400, None)], 65_535, 1);
        world.run_for(SECOND);
        let client = &world.clients[client];
        assert!(client.tally.answered == 1 || client.has_received(b"HTTP/1.1 400 "), "{forbidden}");
        assert_eq!(world.shard.counters().of(Reason::BadRequest), 1, "{forbidden}");
    }
}

/// The length of a head overflowed 16 bits.
#[test]
fn cve_2026_47291_heads_around_sixteen_bits() {
    let http = Http { max_request_bytes: Some(200_000), max_field_length: Some(65_534), ..Http::default() };
    let head = |total: usize| {
        let mut head = "GET /f/1024 HTTP/1.1\r\nHost: sim\r\n".to_owned();
        while head.len() < total - 2 {
            let field = (total - 2 - head.len()).min(60_000);
            // The remainder must not be shorter than a field.
            let field = if total - 2 - head.len() - field < 8 { total - 2 - head.len() } else { field };
            head.push_str(&format!("X: {}\r\n", "x".repeat(field - 5)));
        }
        head + "\r\n"
    };
    let mut wide = settings(&["*"]);
    wide.server.http = http;
    let lengths = [65_533, 65_534, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 200_000];
    let mut world = World::with(&wide);
    let script = lengths.map(|len| {
        assert_eq!(head(len).len(), len);
        raw(head(len), 200, Some(pattern(1024)))
    });
    survives(&mut world, script.into());
    for len in lengths.into_iter().chain([200_001]) {
        let limits = if len == 200_001 { wide.clone() } else { settings(&["*"]) };
        let mut world = World::with(&limits);
        let client = world.add_client(vec![raw(head(len), 431, None)], 65_535, 1);
        world.run_for(2 * SECOND);
        assert_eq!(world.shard.counters().of(Reason::RequestLength), 1, "{len}");
        assert!(world.clients[client].got > 0, "{len}: told");
    }
}

/// About 4,000 chunked POSTs on one connection caused a reset.
#[test]
fn kb967853_chunked_posts_on_one_connection() {
    let mut world = World::with(&settings(&["*"]));
    let mut rng = fastrand::Rng::with_seed(1);
    let script = (0..5000).map(|n| requests::echo(&vec![b'x'; n % 700], true, &mut rng)).collect();
    let client = world.add_client(script, 16_384, 1);
    world.run(600 * SECOND).expect("every answer is right");
    assert_eq!((world.clients[client].tally.answered, world.clients[client].tally.connections), (5000, 1));
}

/// The longest response time of a well-behaved client beside others, in nanoseconds.
fn slowest(world: &mut World) -> u64 {
    (0..50)
        .map(|_| {
            let start = world.now_ns;
            let client = world.add_client(vec![requests::file(1024)], 8192, 1);
            while !world.clients[client].is_done() && world.step() {}
            assert_eq!(world.clients[client].failure, None);
            world.now_ns - start
        })
        .max()
        .unwrap_or(0)
}

/// 500 slow clients.
fn attackers(world: &mut World, attack: Exchange, deaf: bool) -> Vec<usize> {
    let attackers = (0..500).map(|_| {
        let client = world.add_client(vec![attack.clone()], 2048, 1);
        world.clients[client].stay = true;
        world.clients[client].deaf = deaf;
        client
    });
    attackers.collect()
}

/// Each of them sends this little more.
fn drip(world: &mut World, attackers: &[usize], drop_of: &[u8]) {
    for &attacker in attackers {
        if !world.clients[attacker].is_done() {
            world.clients[attacker].say(drop_of);
            world.wake(attacker);
        }
    }
}

fn attacked(attack: Exchange, deaf: bool, drop_of: &[u8]) {
    let unloaded = slowest(&mut World::with(&settings(&["*"])));
    let mut world = World::with(&settings(&["*"]));
    let attackers = attackers(&mut world, attack, deaf);
    world.run_for(SECOND);
    let mut worst = 0;
    for _ in 0..20 {
        drip(&mut world, &attackers, drop_of);
        world.run_for(10 * SECOND);
        worst = worst.max(slowest(&mut world));
    }
    assert!(worst <= 2 * unloaded, "{worst} ns, unloaded {unloaded} ns");
    let connected = attackers.iter().filter(|number| world.clients[**number].failure.is_none()).count();
    assert_eq!(connected, 0, "attackers are still connected");
}

/// The same with memory for only some of them: slow clients are dropped to make room.
fn crowded(attack: Exchange, deaf: bool, drop_of: &[u8]) {
    let world = || World::with_quality(&settings(&["*"]), 1, Quality::LAN, 3 << 20);
    let unloaded = slowest(&mut world());
    let mut world = world();
    let attackers = attackers(&mut world, attack, deaf);
    world.run_for(3 * SECOND);
    let mut worst = 0;
    for _ in 0..10 {
        drip(&mut world, &attackers, drop_of);
        world.run_for(5 * SECOND);
        worst = worst.max(slowest(&mut world));
    }
    assert!(worst <= 2 * unloaded, "{worst} ns, unloaded {unloaded} ns");
    assert!(world.shard.counters().evicted > 0);
}

#[test]
fn slow_headers() {
    let attack = raw("GET /f/128 HTTP/1.1\r\nHost: s", 0, None);
    attacked(attack.clone(), false, b"x");
    crowded(attack, false, b"x");
}

#[test]
fn slow_body() {
    let head = "POST /api/discard HTTP/1.1\r\nHost: sim\r\nContent-Length: 100000\r\n\r\n";
    attacked(raw(head, 0, None), false, b"x");
}

/// A client that does not read has a window of zero after 2 KiB.
#[test]
fn slow_read_and_zero_window() {
    let attack = raw("GET /f/300000 HTTP/1.1\r\nHost: sim\r\n\r\n", 0, None);
    attacked(attack.clone(), true, b"");
    crowded(attack, true, b"");
}

/// One dead pool with a full queue affects neither files nor another pool's requests.
#[test]
fn a_dead_pool_takes_nothing_from_others() {
    let alive = settings(&["*"]);
    let dead =
        Pool { name: "dead".into(), workers: vec![Worker { cid: 2, port: 10_050 }], ..Pool::default() };
    let mut configured = Settings { pools: [alive.pools, vec![dead]].concat(), ..settings(&["*"]) };
    configured.sites[0].prefixes.push(Prefix {
        url: "http://*:80/dead/".into(),
        handler: Handler::Pool(PoolId(1)),
        client_certificates: None,
        passthrough: Default::default(),
    });
    let mut world = World::with(&configured);
    for _ in 0..1100 {
        let client =
            world.add_client(vec![raw("GET /dead/x HTTP/1.1\r\nHost: sim\r\n\r\n", 503, None)], 2048, 1);
        world.clients[client].stay = true;
    }
    // They arrive faster than half-open connections are allowed, so some must retry.
    world.run_for(20 * SECOND);
    assert_eq!(world.shard.hub().pools().waiting(), 1000);
    assert_eq!(world.shard.counters().of(Reason::QueueFull), 100);
    for _ in 0..50 {
        let client = world.add_client(vec![requests::hello(), requests::file(4096)], 8192, 1);
        world.run_for(SECOND / 2);
        assert_eq!(world.clients[client].tally.answered, 2, "{:?}", world.clients[client].failure);
    }
}
