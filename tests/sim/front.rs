//! Proxies in front: trusted proxies, load balancers with the PROXY protocol, and clients that try to bypass either, or a prefix.

use crate::client::Exchange;
use crate::logs::{logged, raw};
use crate::script::{Action, Script};
use crate::world::{World, settings};
use model::id::PoolId;
use model::log::Field;
use model::reason::Reason;
use model::settings::{
    ClientCertificates, ClientField, Handler, Network, Passthrough, Prefix, RequestRate, Settings, Trust,
};

const SECOND: u64 = 1_000_000_000;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x08\x0a\0\0\x01\x12\x67\0\x50\x04\0\0";

fn trust(network: &str, len: u8, proxy_protocol: &[u16]) -> Trust {
    let network = Network::new(network.parse().expect("an address"), len).expect("a network");
    let proxy_protocol = proxy_protocol.to_vec();
    Trust { networks: vec![network], proxy_protocol, field: ClientField::XForwardedFor }
}

/// Logs client addresses and statuses.
fn trusting(trust: Trust) -> Settings {
    let mut settings = logged();
    settings.server.trust = trust;
    if let Some(log) = &mut settings.log {
        log.fields = vec![Field::ClientIp, Field::ClientPort, Field::UriStem, Field::Status];
    }
    settings
}

fn ask(start: &[u8], path: &str, fields: &str, status: u16) -> Exchange {
    let head = format!("GET {path} HTTP/1.1\r\nHost: sim\r\n{fields}\r\n");
    let mut exchange = raw(&[start, head.as_bytes()].concat(), status);
    if status == 404 {
        exchange.expected.content = Some(b"404 Not Found\n".to_vec());
    }
    exchange
}

#[test]
fn the_proxy_protocol_says_whose_a_connection_is() {
    let mut world = World::with(&trusting(trust("10.0.0.0", 8, &[80])));
    let v1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    for (header, path) in [
        (&v1[..], "/v1"),
        (V2, "/v2"),
        (b"PROXY UNKNOWN\r\n", "/unknown"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "/local"),
    ] {
        // The second request on a connection has no header.
        world.add_client(vec![ask(header, path, "", 404), ask(b"", path, "", 404)], 4096, 1);
    }
    world.run(5 * SECOND).expect("all are answered");
    world.run_for(SECOND);
    let lines = world.collector.of('a');
    let of = |path: &str| -> Vec<&str> { lines.iter().copied().filter(|line| line.contains(path)).collect() };
    assert_eq!(of("/v1"), ["203.0.113.7 4711 /v1 404"; 2]);
    assert_eq!(of("/v2"), ["203.0.113.8 4711 /v2 404"; 2]);
    for own in ["/unknown", "/local"] {
        assert!(of(own).len() == 2 && of(own).iter().all(|line| line.starts_with("10.")), "{lines:?}");
    }
}

#[test]
fn whoever_does_not_say_so_or_is_not_to_is_cut_off() {
    let get = b"GET /f/128 HTTP/1.1\r\nHost: sim\r\n\r\n";
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    let bad = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n";
    for (trusted, start) in [("10.0.0.0", &b""[..]), ("10.0.0.0", &bad[..]), ("192.168.0.0", &header[..])] {
        let mut world = World::with(&trusting(trust(trusted, 8, &[80])));
        let client = world.add_client(vec![raw(&[start, get].concat(), 200)], 4096, 1);
        world.clients[client].gives_up = true;
        world.run_for(2 * SECOND);
        assert_eq!(world.clients[client].got, 0, "{}", start.escape_ascii());
        assert!(world.shard.counters().of(Reason::ProxyHeader) >= 1, "{}", start.escape_ascii());
        let errors = world.collector.of('e');
        assert!(
            !errors.is_empty() && errors.iter().all(|line| line.contains(" Proxy_Header ")),
            "{errors:?}"
        );
    }
    // A header that never arrives is timed out like a head.
    let mut world = World::with(&trusting(trust("10.0.0.0", 8, &[80])));
    let client = world.add_client(vec![raw(b"PROXY TCP4 203.0", 0)], 4096, 1);
    world.clients[client].stay = true;
    world.run_for(40 * SECOND);
    assert_eq!(world.shard.counters().of(Reason::TimerHeaderWait), 1);
}

#[test]
fn what_a_balancer_took_by_https_is_not_sent_there_again() {
    let of = |field: ClientField, trusted: &str, fields: &str, status: u16| {
        let mut settings = settings(&["sim"]);
        settings.server.trust = Trust { field, ..trust(trusted, 8, &[]) };
        settings.sites[0].redirect_https = Some(443);
        let mut world = World::with(&settings);
        let mut answer = ask(b"", "/nothing", fields, status);
        if status == 308 {
            answer.expected.content = Some(Vec::new());
        }
        world.add_client(vec![answer], 65_535, 1);
        world.run(5 * SECOND).unwrap_or_else(|error| panic!("{fields:?} from {trusted}: {error}"));
    };
    let (ours, others) = ("10.0.0.0", "192.168.0.0");
    for fields in
        ["X-Forwarded-Proto: https\r\n", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: HTTPS\r\n"]
    {
        of(ClientField::XForwardedFor, ours, fields, 404);
        of(ClientField::XForwardedFor, others, fields, 308);
        of(ClientField::Forwarded, ours, fields, 308);
    }
    let fields = "Forwarded: for=203.0.113.7;proto=https\r\n";
    of(ClientField::Forwarded, ours, fields, 404);
    of(ClientField::Forwarded, others, fields, 308);
    of(ClientField::XForwardedFor, ours, fields, 308);
    of(ClientField::XForwardedFor, ours, "X-Forwarded-Proto: http\r\n", 308);
    of(ClientField::XForwardedFor, ours, "", 308);
}

#[test]
fn a_trusted_proxys_clients_have_limits_and_lines_of_their_own() {
    let mut settings = trusting(trust("10.0.0.0", 8, &[]));
    settings.sites[0].limits.client_requests = Some(RequestRate { requests: 1, per_secs: 1000, burst: 1 });
    let mut world = World::with(&settings);
    let of = |address: &str, status| ask(b"", "/x", &format!("X-Forwarded-For: {address}\r\n"), status);
    // Several clients on the proxy's single connection.
    let script = vec![of("203.0.113.1", 404), of("203.0.113.2", 404), of("9.9.9.9, 203.0.113.3", 404)];
    world.add_client(script, 4096, 1);
    world.run(5 * SECOND).expect("each of them has one");
    for again in ["203.0.113.1", "203.0.113.3, 10.0.0.7"] {
        let client = world.add_client(vec![of(again, 429)], 4096, 1);
        world.run_for(2 * SECOND);
        let has =
            world.clients[client].tally.answered == 1 || world.clients[client].has_received(b"HTTP/1.1 429 ");
        assert!(has, "{again}: {:?}", world.clients[client].failure);
    }
    let lines = world.collector.of('a');
    let words = |n: usize| -> Vec<String> {
        lines.iter().map(|l| l.split(' ').nth(n).expect("a word").into()).collect()
    };
    assert_eq!(words(0), ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.1", "203.0.113.3"]);
    assert_eq!(words(3), ["404", "404", "404", "429", "429"]);
    // Untrusted clients cannot choose.
    settings.server.trust = trust("192.168.0.0", 16, &[]);
    let mut world = World::with(&settings);
    world.add_client(vec![of("203.0.113.1", 404)], 4096, 1);
    world.run(5 * SECOND).expect("one");
    world.run_for(SECOND);
    assert!(world.collector.of('a')[0].starts_with("10."), "{:?}", world.collector.of('a'));
}

/// A site whose `/api/` allows these protocols, and a worker that responds with `answer` to requests that contain `must` and not
/// `never`.
fn changing(upgrade: &[&str], must: &'static str, never: &'static str, answer: &'static str) -> World {
    let mut settings = settings(&["*"]);
    settings.sites[0].prefixes[1].passthrough =
        Passthrough { upgrade: upgrade.iter().map(|&name| name.into()).collect(), ..Passthrough::default() };
    World::scripted_in(1, &settings, None, move |_, _| {
        Script::new(Box::new(move |input| {
            let head = String::from_utf8_lossy(input).to_ascii_lowercase();
            let end = head.find("\r\n\r\n")? + 4;
            let right = head.contains(must) && (never.is_empty() || !head.contains(never));
            let answer = if right { answer } else { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" };
            Some((end, vec![Action::Send(answer.into())]))
        }))
    })
}

fn changed(mut world: World, start: &str, fields: &str, status: u16) -> World {
    let head = format!(
        "{start} /api/x HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade, HTTP2-Settings\r\n{fields}\r\n"
    );
    let client = world.add_client(vec![raw(head.as_bytes(), status)], 4096, 1);
    world.clients[client].stay = true;
    world.run_for(2 * SECOND);
    let line = format!("HTTP/1.1 {status} ");
    let has =
        world.clients[client].tally.answered == 1 || world.clients[client].has_received(line.as_bytes());
    assert!(has, "{start} {fields}: expected {status}, {:?}", world.clients[client].failure);
    world
}

const OK: &str = "HTTP/1.1 204 OK\r\n\r\n";
const H2C: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const TCP: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

#[test]
fn no_worker_changes_to_a_protocol_that_was_not_allowed() {
    let smuggled = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    changed(changing(&["websocket"], "get", "upgrade", OK), "GET", smuggled, 204);
    changed(changing(&["websocket"], "get", "http2-settings", OK), "GET", smuggled, 204);
    let both = "Upgrade: h2c\r\nUpgrade: websocket\r\n";
    changed(changing(&["websocket"], "\r\nupgrade: websocket\r\n", "h2c", OK), "GET", both, 204);
    // A worker that switches protocols regardless has not responded.
    let world = changed(changing(&["websocket"], "", "", H2C), "GET", smuggled, 502);
    assert_eq!(world.shard.counters().malformed, 1);
    let world = changed(changing(&["websocket"], "", "", H2C), "GET", "Upgrade: websocket\r\n", 502);
    assert_eq!((world.shard.counters().malformed, world.shard.counters().upgraded), (1, 0));
}

#[test]
fn other_protocols_are_allowed_by_name_and_begin_after_the_request() {
    let tcp = "Upgrade: tcp\r\n";
    let world = changed(changing(&["tcp"], "\r\nupgrade: tcp\r\n", "", TCP), "POST", tcp, 101);
    assert_eq!(world.shard.counters().upgraded, 1);
    changed(changing(&["websocket"], "post", "upgrade", OK), "POST", tcp, 204);
    // The request's content is incomplete: further content would be taken for the other protocol.
    let early = "Upgrade: tcp\r\nContent-Length: 10\r\n";
    let world = changed(changing(&["tcp"], "\r\nupgrade: tcp\r\n", "", TCP), "POST", early, 502);
    assert_eq!(world.shard.counters().upgraded, 0);
}

#[test]
fn no_path_bypasses_a_prefix() {
    let mut settings = logged();
    settings.sites[0].prefixes.push(Prefix {
        url: "http://*:80/api/admin/".into(),
        handler: Handler::Pool(PoolId(0)),
        client_certificates: Some(ClientCertificates::Require),
        passthrough: Passthrough::default(),
    });
    let mut world = World::with(&settings);
    let paths = ["/api/admin%2Fsecret", "/api//admin/secret", "/%2Fapi/admin/secret", "/api/admin;x/secret"];
    for path in paths {
        let client = world.add_client(vec![ask(b"", path, "", 400)], 4096, 1);
        world.run_for(2 * SECOND);
        assert!(
            world.clients[client].has_received(b"HTTP/1.1 400 ") || world.clients[client].tally.answered == 1,
            "{path}"
        );
    }
    assert_eq!(world.shard.counters().of(Reason::Url), paths.len() as u64);
    let errors = world.collector.of('e');
    assert!(errors.len() == paths.len() && errors.iter().all(|line| line.contains(" URL ")), "{errors:?}");
    settings.sites[0].prefixes[1].passthrough.as_is = true;
    let mut world = World::with(&settings);
    world.add_client(vec![raw(b"GET /api//admin/secret HTTP/1.1\r\nHost: sim\r\n\r\n", 404)], 4096, 1);
    world.run(5 * SECOND).expect("the worker's own 404");
}
