//! https over bad networks, hostile handshakes, floods of handshakes, and the cost of idle connections.

use crate::client::{Exchange, Expected};
use crate::control::Host;
use crate::network::Quality;
use crate::requests;
use crate::scenarios::{for_seeds, nothing_leaks, quality};
use crate::secure::{Authority, Secure, client_hello, fragmented};
use crate::world::{World, settings};
use model::control::message::{Answer, Refusal, Request};
use model::id::SiteId;
use model::log::Field;
use model::reason::Reason;
use model::settings::{ClientCertificates, Handler, Log, LogFormat, Nobody, Prefix, RequestRate, Settings};
use model::tls::TlsError;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use std::sync::{Arc, LazyLock};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// Maximum number of handshakes in progress, and of those advanced per poll of the shard.
const MAX_HANDSHAKES: usize = 256;
const TURNS: usize = 8;
/// Maximum memory of an idle TLS connection in bytes, including its TCP socket and buffers.
const MAX_IDLE: usize = 24 << 10;

pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| AUTHORITY.secure(&settings(&["*"])));

fn world() -> World {
    World::with(&SETTINGS)
}

pub fn clients() -> Arc<ClientConfig> {
    AUTHORITY.clients(&[&TLS13, &TLS12])
}

/// A client that speaks TLS.
fn add(world: &mut World, config: &Arc<ClientConfig>, script: Vec<Exchange>, buffer: usize) -> usize {
    let number = world.add_client(script, buffer, 1);
    let client = &mut world.clients[number];
    (client.server_port, client.secure) = (443, Some(Secure::new(config)));
    number
}

/// A client that sends these bytes to the https port and waits for the response.
fn add_raw(world: &mut World, bytes: &[u8]) -> usize {
    let expected = Expected { status: 0, content: None };
    let exchange = Exchange { request: bytes.to_vec(), expected, may_break: false };
    let number = world.add_client(vec![exchange], 65_535, 1);
    let client = &mut world.clients[number];
    (client.server_port, client.whole) = (443, true);
    number
}

/// Checks that nothing is leaked.
fn ended(world: &mut World) -> Result<(), String> {
    nothing_leaks(world)?;
    match world.shard.tls_handshakes() {
        0 => Ok(()),
        n => Err(format!("{n} handshakes left at the end")),
    }
}

#[test]
fn every_request_is_answered_right_over_tls() {
    for_seeds(40, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::with_quality(&SETTINGS, seed, quality(&mut rng), 8 << 20);
        let configs = [AUTHORITY.clients(&[&TLS13]), AUTHORITY.clients(&[&TLS12])];
        let count = rng.usize(1..12);
        for _ in 0..count {
            let script = (0..rng.usize(1..6)).map(|_| requests::any(&mut rng)).collect();
            let buffer = if rng.bool() { 65_535 } else { 2048 };
            let number = add(&mut world, &configs[rng.usize(..2)], script, buffer);
            if let Some(secure) = &mut world.clients[number].secure {
                secure.byte_by_byte = rng.bool();
            }
        }
        world.run(900 * SECOND)?;
        let counters = world.shard.tls_counters();
        if counters.failed + counters.broken + counters.oversized + counters.garbage > 0 {
            return Err(format!("{counters:?}"));
        }
        // Sessions are resumed if there is one.
        let resumed: usize = world.clients.iter().flat_map(|c| &c.secure).map(|s| s.resumed).sum();
        if counters.resumed != resumed as u64 || counters.handshakes < count as u64 {
            return Err(format!("{resumed} resumed by clients, {counters:?}"));
        }
        ended(&mut world)
    });
}

#[test]
fn a_handshake_cut_to_the_byte_in_records_and_in_segments() {
    for version in [&TLS13, &TLS12] {
        let mut world = world();
        let number = add(&mut world, &AUTHORITY.clients(&[version]), vec![requests::file(4096)], 65_535);
        if let Some(secure) = &mut world.clients[number].secure {
            (secure.piece, secure.byte_by_byte) = (1, true);
        }
        world.run(9 * SECOND).expect("the client is served");
        assert_eq!(world.shard.tls_counters().handshakes, 1);
        ended(&mut world).expect("nothing is left");
    }
}

#[test]
fn sessions_are_resumed() {
    for version in [&TLS13, &TLS12] {
        let mut world = world();
        let config = AUTHORITY.clients(&[version]);
        for turn in 0..5 {
            let number = add(&mut world, &config, vec![requests::file(128)], 65_535);
            world.run(SECOND).expect("the client is served");
            let secure = world.clients[number].secure.as_ref().expect("it speaks TLS");
            assert_eq!((secure.full, secure.resumed), if turn == 0 { (1, 0) } else { (0, 1) });
        }
        assert_eq!(world.shard.tls_counters().resumed, 4);
    }
}

#[test]
fn a_small_response_is_one_record() {
    let mut world = world();
    let number = add(&mut world, &clients(), vec![requests::file(128)], 65_535);
    world.clients[number].stay = true;
    world.run(SECOND).expect("the client is served");
    let records = |world: &World| world.clients[number].secure.as_ref().map_or(0, |secure| secure.records);
    for (len, expected) in [(128, 1), (4096, 1), (70_000, 6)] {
        let before = records(&world);
        world.ask(number, requests::file(len));
        world.run(SECOND).expect("the client is served");
        assert!(records(&world) - before <= expected, "{len}: {} records", records(&world) - before);
    }
}

#[test]
fn what_is_no_handshake_has_an_alert_and_a_counter() {
    let hello = client_hello(&clients());
    let record = |content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).expect("a record").to_be_bytes();
        [&[22, 3, 1, high, low], content].concat()
    };
    // A ClientHello of a million bytes, as far as a record permits.
    let oversized = record(&[&[1, 0x0f, 0x42, 0x40][..], &[0; 10_000]].concat());
    let mut altered = hello.clone();
    altered[9] ^= 0xff;
    altered[5 + 4 + 2 + 32] = 0xff;
    let cases: [(&str, Vec<u8>, u8); 6] = [
        ("nothing of TLS", b"\x00\x01\x02\x03\x04\x05\x06\x07".to_vec(), 10),
        ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(), 70),
        ("an alert", vec![21, 3, 1, 0, 2, 2, 40], 10),
        ("a long one", oversized, 50),
        ("a broken one", altered, 50),
        ("another message", record(&[2, 0, 0, 1, 0]), 10),
    ];
    for (name, bytes, alert) in cases {
        for bytes in [bytes.clone(), fragmented(&bytes)] {
            let mut world = world();
            let number = add_raw(&mut world, &bytes);
            world.run_for(SECOND);
            assert!(world.clients[number].has_received(&[2, alert]), "{name}: alert {alert}");
            let counters = world.shard.tls_counters();
            let counted = counters.failed + counters.garbage + counters.oversized;
            assert_eq!((counted, counters.handshakes), (1, 0), "{name}: {counters:?}");
            ended(&mut world).expect("nothing is left");
        }
    }
    // Wherever it is truncated, it ends without a trace, and nobody waits for long.
    for len in 1..hello.len() {
        let mut world = world();
        add_raw(&mut world, &hello[..len]);
        world.run_for(9 * SECOND);
        assert_eq!(world.shard.tls_handshakes(), 1, "{len} bytes");
        world.run_for(2 * SECOND);
        assert_eq!(
            (world.shard.tls_handshakes(), world.shard.tls_counters().timed_out),
            (0, 1),
            "{len} bytes"
        );
    }
}

#[test]
fn what_its_client_cuts_off_is_not_waited_for() {
    let hello = client_hello(&clients());
    for len in [1, 5, 60, hello.len() - 1] {
        let mut world = world();
        let number = add_raw(&mut world, &hello[..len]);
        world.run_for(SECOND);
        assert_eq!(world.shard.tls_handshakes(), 1, "{len} bytes");
        world.clients[number].half_close();
        world.wake(number);
        world.run_for(SECOND);
        assert_eq!(
            (world.shard.tls_handshakes(), world.shard.tls_counters().timed_out),
            (0, 0),
            "{len} bytes"
        );
        ended(&mut world).expect("nothing is left");
    }
    // Half a head, in whole records.
    let mut world = world();
    let expected = Expected { status: 0, content: None };
    let cut = Exchange { request: b"GET /f/1".to_vec(), expected, may_break: false };
    let number = add(&mut world, &clients(), vec![cut], 65_535);
    world.clients[number].stay = true;
    world.run_for(SECOND);
    assert_eq!((world.shard.tcp().established(), world.shard.tls_counters().handshakes), (1, 1));
    world.clients[number].half_close();
    world.wake(number);
    world.run_for(SECOND);
    assert_eq!(world.shard.tcp().established(), 0);
    assert_eq!(world.shard.counters().of(Reason::ConnectionDropped), 1);
}

#[test]
fn refusals_over_tls_have_hsts_as_well() {
    let mut settings = settings(&["sim", "other"]);
    let nobody = |path: &str, why| Prefix {
        url: format!("http://sim:80/{path}/"),
        handler: Handler::Nobody(why),
        client_certificates: None,
        passthrough: Default::default(),
    };
    let more = [nobody("reserved", Nobody::Reserved), nobody("unbound", Nobody::Unbound)];
    settings.sites[0].prefixes.extend(more);
    settings.pools[0].workers.clear();
    settings.pools[0].queue_length = Some(0);
    let mut settings = AUTHORITY.secure(&settings);
    for (site, age) in settings.sites.iter_mut().zip([1, 2]) {
        site.tls.as_mut().expect("it has TLS").hsts = Some(format!("max-age={age}"));
    }
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut limited = settings.clone();
    limited.sites[0].limits.requests = Some(RequestRate { requests: 1, per_secs: 3600, burst: 1 });
    for (settings, request, status) in [
        (&settings, "BAD\r\n\r\n".to_owned(), 400),
        (&settings, get("/reserved/", "sim"), 400),
        (&settings, get("/nothing", "sim"), 404),
        (&settings, get("/unbound/", "sim"), 503),
        (&settings, get("/api/x", "sim"), 503),
        (&settings, get(&format!("/{}", "x".repeat(9000)), "sim"), 414),
        (&settings, get("/f/128", "sim").replace("GET", "POST"), 405),
        (&limited, get("/f/128", "sim"), 429),
    ] {
        let mut world = World::with(settings);
        if status == 429 {
            add(&mut world, &clients(), vec![requests::file(128)], 65_535);
            world.run(SECOND).expect("the first one is served");
        }
        let expected = Expected { status: 0, content: None };
        let asked = Exchange { request: request.clone().into_bytes(), expected, may_break: false };
        let number = add_client(&mut world, asked);
        world.run_for(SECOND);
        let has = |text: &str| world.clients[number].has_received(text.as_bytes());
        assert!(has(&format!("HTTP/1.1 {status} ")), "{request}: not {status}");
        assert!(has("\r\nStrict-Transport-Security: max-age=1\r\n"), "{request}: {status} without it");
    }
}

/// A TLS client that records everything it gets as unsolicited bytes.
fn add_client(world: &mut World, exchange: Exchange) -> usize {
    let number = add(world, &clients(), vec![exchange], 65_535);
    world.clients[number].stay = true;
    number
}

#[test]
fn an_answer_that_is_awaited_for_too_long() {
    let mut world = world();
    // A complete ClientHello, and then nothing.
    let silent = add_raw(&mut world, &client_hello(&clients()));
    world.clients[silent].deaf = true;
    world.run_for(9 * SECOND);
    assert_eq!((world.shard.tls_handshakes(), world.shard.tls_counters().timed_out), (1, 0));
    world.run_for(2 * SECOND);
    assert_eq!((world.shard.tls_handshakes(), world.shard.tls_counters().timed_out), (0, 1));
    ended(&mut world).expect("nothing is left");
}

#[test]
fn handshakes_that_do_not_end_give_way() {
    let mut world = world();
    let config = clients();
    let established = add(&mut world, &config, vec![requests::file(128)], 65_535);
    world.clients[established].stay = true;
    world.run(SECOND).expect("the client is served");
    let hello = client_hello(&config);
    for number in 0..600 {
        // Half of them stop in the middle of the ClientHello, half after it.
        let client = add_raw(&mut world, if number % 2 == 0 { &hello } else { &hello[..100] });
        world.clients[client].deaf = true;
        if number % 20 == 19 {
            world.run_for(2 * MILLISECOND);
        }
    }
    assert_eq!(world.shard.tls_handshakes(), MAX_HANDSHAKES);
    assert_eq!(world.shard.tls_counters().evicted, 600 - MAX_HANDSHAKES as u64);
    // An honest client gets in, and established connections are served.
    let honest = add(&mut world, &config, vec![requests::file(4096)], 65_535);
    world.ask(established, requests::file(128));
    world.wake(established);
    world.run_for(100 * MILLISECOND);
    assert_eq!([established, honest].map(|number| world.clients[number].tally.answered), [2, 1]);
    world.run_for(11 * SECOND);
    assert_eq!(world.shard.tls_handshakes(), 0);
    assert_eq!(world.shard.tls_counters().handshakes, 2);
}

#[test]
fn a_flood_of_handshakes_leaves_established_connections_their_turn() {
    let mut world = world();
    let config = clients();
    let established = add(&mut world, &config, vec![requests::file(128)], 65_535);
    world.clients[established].stay = true;
    world.run(SECOND).expect("the client is served");
    // Connections whose ClientHellos all arrive at once, and with them a request.
    let flood: Vec<usize> =
        (0..200).map(|_| add(&mut world, &config, vec![requests::file(128)], 65_535)).collect();
    flood.iter().for_each(|&number| world.clients[number].whole = true);
    world.run_for(2 * Quality::LAN.delay_ns);
    world.ask(established, requests::file(128));
    while world.shard.counters().requests < 2 && world.step() {}
    // Handshakes are advanced only now, a few per poll.
    let (arrived, mut turns) = (world.now_ns, 0);
    while world.now_ns < arrived + Quality::LAN.delay_ns && world.step() {
        turns += 1;
    }
    assert!(turns >= 200 / TURNS - 2, "{turns} turns for 200 handshakes");
    world.run(SECOND).expect("all are served");
    assert_eq!(world.shard.tls_counters().handshakes, 201);
}

#[test]
fn a_thousand_idle_connections_take_at_most_24_kib_each() {
    const CONNECTIONS: usize = 1000;
    let mut world = World::with_quality(&SETTINGS, 1, Quality::LAN, 24 << 20);
    let config = clients();
    let (mut before, mut counted) = (0, 0);
    for number in 0..CONNECTIONS {
        let client = add(&mut world, &config, vec![requests::file(128)], 2048);
        world.clients[client].stay = true;
        if number % 50 == 49 {
            world.run(60 * SECOND).expect("clients are served");
            world.run_for(SECOND);
            // Once only small buffers are left, each connection costs the same.
            let last = std::mem::replace(&mut before, world.work.heap_bytes);
            counted = before - last;
        }
    }
    assert_eq!(world.shard.tcp().established(), CONNECTIONS);
    let each = counted / 50;
    println!("{each} bytes for an idle connection, {} for {CONNECTIONS}", world.work.heap_bytes);
    assert!((6 << 10..=MAX_IDLE as i64).contains(&each), "{each} bytes");
}

/// A separate client requests a file; returns the certificate it was shown, and whether its session was resumed.
fn shown(world: &mut World, config: &Arc<ClientConfig>) -> (Vec<u8>, bool) {
    let number = add(world, config, vec![requests::file(128)], 65_535);
    world.run(SECOND).expect("the client is served");
    let secure = world.clients[number].secure.as_ref().expect("it speaks TLS");
    (secure.server_certificate().expect("one was shown").to_vec(), secure.resumed > 0)
}

#[test]
fn certificates_are_replaced_without_dropping_a_connection() {
    let mut world = world();
    let mut host = Host::connect(&mut world);
    let config = clients();
    let established = add(&mut world, &config, vec![requests::file(128)], 65_535);
    world.clients[established].stay = true;
    world.run(SECOND).expect("the client is served");
    let (old, new) = (shown(&mut world, &clients()).0, AUTHORITY.certificate("sim"));
    let set = |site: &str, certificates| Request::SetCertificates { site: site.into(), certificates };
    let mut mixed = AUTHORITY.certificate("sim");
    mixed.key = new.key.clone();
    for (request, refusal) in [
        (set("sim", vec![mixed]), Refusal::Certificates(TlsError::KeyMismatch)),
        (set("sim", vec![]), Refusal::Certificates(TlsError::NoCertificate)),
        (set("other", vec![new.clone()]), Refusal::NoSuchSite),
        (
            Request::SetStaple { site: "sim".into(), certificate: 1, ocsp: None },
            Refusal::Certificates(TlsError::NoCertificate),
        ),
    ] {
        assert_eq!(host.ask(&mut world, request), Err(refusal));
        assert_eq!(shown(&mut world, &clients()).0, old, "nothing has changed");
    }
    assert_eq!(host.ask(&mut world, set("sim", vec![new.clone()])), Ok(Answer::Done));
    assert_eq!(shown(&mut world, &clients()).0, new.chain[0]);
    // Sessions and connections continue.
    assert!(shown(&mut world, &config).1, "tickets are still good");
    world.ask(established, requests::file(4096));
    world.run(SECOND).expect("the connection is still there");
    assert_eq!(world.clients[established].tally.connections, 1);
    let staple = Request::SetStaple { site: "sim".into(), certificate: 0, ocsp: Some(vec![0x30, 0]) };
    assert_eq!(host.ask(&mut world, staple), Ok(Answer::Done));
    assert_eq!(shown(&mut world, &clients()).0, new.chain[0]);
}

#[test]
fn handshakes_and_certificates_stand_in_the_status() {
    let mut world = world();
    let mut host = Host::connect(&mut world);
    let config = clients();
    (0..3).for_each(|_| drop(shown(&mut world, &config)));
    add_raw(&mut world, b"no TLS at all");
    add_raw(&mut world, &client_hello(&config)[..50]);
    world.run_for(SECOND);
    let tls = host.status(&mut world).tls.expect("https is served");
    assert_eq!((tls.handshaking, tls.without), (1, None));
    assert_eq!((tls.counters.handshakes, tls.counters.resumed, tls.counters.garbage), (3, 2, 1));
    let Ok(Answer::Sites(sites)) = host.ask(&mut world, Request::Sites(SiteId(0))) else {
        panic!("no sites")
    };
    // 2040-01-01.
    assert_eq!(sites[0].certificates_end, [2_208_988_800]);
}

#[test]
fn the_access_log_names_verified_clients() {
    let mut settings = SETTINGS.clone();
    settings.log = Some(Log {
        port: crate::collector::PORT,
        format: LogFormat::W3c,
        fields: vec![
            Field::Status,
            Field::ClientCertSubject,
            Field::ClientCertSerial,
            Field::ClientCertFingerprint,
        ],
        errors: false,
        computer: String::new(),
    });
    let tls = settings.sites[0].tls.as_mut().expect("it has TLS");
    tls.client_certificates = ClientCertificates::Request;
    tls.client_anchors = vec![AUTHORITY.der()];
    let mut world = World::with(&settings);
    let (known, unknown) = (AUTHORITY.certificate("client"), Authority::new().certificate("client"));
    for config in [clients(), AUTHORITY.clients_with(&known), AUTHORITY.clients_with(&unknown)] {
        add(&mut world, &config, vec![requests::file(128)], 65_535);
        world.run(SECOND).expect("the client is served");
    }
    world.run_for(SECOND);
    let lines = world.collector.of('a');
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!([lines[0], lines[2]], ["200 - - -"; 2], "nobody is named who was not verified");
    let words: Vec<&str> = lines[1].split(' ').collect();
    assert_eq!((words[0], words[1], words[3].len()), ("200", "CN=rcgen+self+signed+cert", 64));
    assert!(words[2].len() >= 2 && words[2..].iter().all(|w| w.bytes().all(|b| b.is_ascii_hexdigit())));
}
