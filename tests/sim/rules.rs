//! Limits and timers of sites and of the server, and prefixes that nothing serves.

use crate::client::{Exchange, Expected};
use crate::requests;
use crate::world::{World, settings};
use model::reason::Reason;
use model::settings::{Handler, Http, Nobody, Prefix, Profile, Settings};

const SECOND: u64 = 1_000_000_000;

fn raw(request: &[u8], status: u16) -> Exchange {
    Exchange { request: request.to_vec(), expected: Expected { status, content: None }, may_break: false }
}

/// Checks that the connection gets this status for this request, and that the reason is counted.
fn refused(settings: &Settings, request: &str, status: u16, reason: Reason) {
    let mut world = World::with(settings);
    let client = world.add_client(vec![], 4096, 1);
    world.clients[client].ask(raw(request.as_bytes(), status));
    world.run_for(2 * SECOND);
    let line = format!("HTTP/1.1 {status} ");
    let answered =
        world.clients[client].tally.answered == 1 || world.clients[client].has_received(line.as_bytes());
    assert!(answered, "{request:.60}: {:?}", world.clients[client].failure);
    assert_eq!(world.shard.counters().of(reason), 1, "{request:.60}");
}

fn server(http: Http) -> Settings {
    let mut settings = settings(&["*"]);
    settings.server.http = http;
    settings
}

#[test]
fn too_much_content_is_413() {
    let settings = server(Http { max_content: Some(100), ..Http::default() });
    let reason = Reason::EntityTooLarge;
    let post = "POST /api/discard HTTP/1.1\r\nHost: sim\r\n";
    refused(&settings, &format!("{post}Content-Length: 101\r\n\r\n"), 413, reason);
    refused(&settings, &format!("{post}Content-Length: 18446744073709551615\r\n\r\n"), 413, reason);
    refused(&settings, "GET /f/128 HTTP/1.1\r\nHost: sim\r\nContent-Length: 101\r\n\r\n", 413, reason);
    let chunk = format!("33\r\n{}\r\n", "x".repeat(51));
    refused(&settings, &format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"), 413, reason);
    let mut world = World::with(&settings);
    let mut rng = fastrand::Rng::with_seed(1);
    let script = vec![
        requests::discard(&[b'x'; 100], false, &mut rng),
        requests::discard(&[b'x'; 100], true, &mut rng),
    ];
    world.add_client(script, 4096, 1);
    world.run(5 * SECOND).expect("a hundred bytes are allowed");
}

#[test]
fn a_site_may_be_stricter_or_wider_than_the_server() {
    let mut settings = settings(&["strict", "plain", "wide"]);
    settings.sites[0].http = Http {
        max_request_bytes: Some(300),
        max_field_length: Some(100),
        url_segment_max_length: Some(10),
        url_segment_max_count: Some(3),
        max_content: Some(5),
        ..Http::default()
    };
    settings.sites[2].http = Http { max_request_bytes: Some(40_000), ..Http::default() };
    let head =
        |host: &str, path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
    let fields = |n: usize| "X: 12345678901234567890\r\n".repeat(n);
    let long = format!("X: {}\r\n", "x".repeat(98));
    let ok = |request: String, status| {
        let mut world = World::with(&settings);
        world.add_client(vec![raw(request.as_bytes(), status)], 4096, 1);
        world.run(5 * SECOND).unwrap_or_else(|why| panic!("{request:.60}: {why}"));
    };
    for (path, more, status, reason) in [
        ("/f/128", fields(12), 431, Reason::RequestLength),
        ("/f/128", long, 431, Reason::FieldLength),
        ("/f/12345678901", String::new(), 400, Reason::Url),
        ("/a/b/c/d", String::new(), 400, Reason::Url),
        ("/f/128", "Content-Length: 6\r\n".into(), 413, Reason::EntityTooLarge),
    ] {
        refused(&settings, &head("strict", path, &more), status, reason);
        if status != 413 {
            ok(head("plain", path, &more).replace("GET", "HEAD"), if path == "/f/128" { 200 } else { 404 });
        }
    }
    let huge = format!("X: {}\r\n", "x".repeat(7000)).repeat(4);
    refused(&settings, &head("plain", "/f/128", &huge), 431, Reason::RequestLength);
    ok(head("wide", "/f/128", &huge).replace("GET", "HEAD"), 200);
}

#[test]
fn the_compat_profile_has_the_values_of_http_sys() {
    let compat = server(Http { profile: Some(Profile::HttpSys), ..Http::default() });
    let field = format!("GET /f/128 HTTP/1.1\r\nHost: sim\r\nX: {}\r\n\r\n", "x".repeat(16_380));
    refused(&compat, &field, 400, Reason::RequestLength);
    let mut world = World::with(&compat);
    let client = world.add_client(vec![raw(b"GET /f/128 HTTP/1.1\r\nHost: s", 0)], 2048, 1);
    world.clients[client].stay = true;
    world.run_for(119 * SECOND);
    assert_eq!(world.shard.counters().of(Reason::TimerHeaderWait), 0);
    world.run_for(3 * SECOND);
    assert_eq!(world.shard.counters().of(Reason::TimerHeaderWait), 1);
}

#[test]
fn timers_are_the_sites_once_it_is_known() {
    let mut settings = settings(&["sim"]);
    settings.server.http.header_wait_s = Some(7);
    settings.sites[0].http = Http { idle_connection_s: Some(5), entity_body_s: Some(9), ..Http::default() };
    let ends = |request: &[u8], status, after: u64, reason| {
        let mut world = World::with(&settings);
        let client = world.add_client(vec![raw(request, status)], 4096, 1);
        world.clients[client].stay = true;
        world.run_for((after - 1) * SECOND);
        assert_eq!(world.shard.counters().of(reason), 0, "{reason} too early");
        world.run_for(2 * SECOND);
        assert_eq!(world.shard.counters().of(reason), 1, "{reason}");
    };
    ends(b"GET /f", 0, 7, Reason::TimerHeaderWait);
    ends(b"HEAD /f/128 HTTP/1.1\r\nHost: sim\r\n\r\n", 200, 5, Reason::TimerConnectionIdle);
    let post = b"POST /api/discard HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\nonly this";
    ends(post, 0, 9, Reason::TimerEntityBody);
}

#[test]
fn prefixes_that_nobody_serves() {
    let mut settings = settings(&["*"]);
    for (path, why) in
        [("reserved", Nobody::Reserved), ("unbound", Nobody::Unbound), ("disabled", Nobody::Disabled)]
    {
        let url = format!("http://*:80/{path}/");
        settings.sites[0].prefixes.push(Prefix {
            url,
            handler: Handler::Nobody(why),
            client_certificates: None,
            passthrough: Default::default(),
        });
    }
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n");
    refused(&settings, &get("/reserved/x"), 400, Reason::Url);
    refused(&settings, &get("/unbound"), 503, Reason::NotAvailable);
    refused(&settings, &get("/disabled/"), 503, Reason::Disabled);
}

/// Sends a byte of content at this interval until the connection ends; returns how long it lasted.
fn drip(seconds: u64, bytes: &[u8], limit: u64) -> u64 {
    let mut world = World::with(&settings(&["*"]));
    let head = b"POST /api/discard HTTP/1.1\r\nHost: sim\r\nContent-Length: 1000000\r\n\r\n";
    let client = world.add_client(vec![raw(head, 0)], 65_535, 1);
    world.clients[client].stay = true;
    world.run_for(SECOND);
    for passed in (0..limit).step_by(seconds as usize) {
        if world.shard.counters().of(Reason::TimerEntityBody) > 0 {
            return passed;
        }
        world.clients[client].say(bytes);
        world.wake(client);
        world.run_for(seconds * SECOND);
    }
    limit
}

#[test]
fn a_byte_now_and_then_does_not_live_for_ever() {
    // Each byte arrives in time; the limit is 60 s in all, plus the time at 240 B/s.
    let lasted = drip(20, b"x", 3600);
    assert!((60..=100).contains(&lasted), "{lasted} s");
    assert_eq!(drip(5, &[b'x'; 2000], 600), 600, "400 B/s are enough");
}

#[test]
fn trace_is_refused_unless_it_is_switched_on() {
    let trace = |path: &str, fields: &str| format!("TRACE {path} HTTP/1.1\r\nHost: sim\r\n{fields}\r\n");
    refused(&settings(&["*"]), &trace("/api/hello", ""), 501, Reason::NotImplemented);
    let on = server(Http { trace: Some(true), ..Http::default() });
    let mut world = World::with(&on);
    let asked = trace("/api/hello", "Max-Forwards: 0\r\n");
    let answered = |request: String, status, content: Vec<u8>| Exchange {
        request: request.into_bytes(),
        expected: Expected { status, content: Some(content) },
        may_break: false,
    };
    let echo = answered(asked.clone(), 200, asked.into_bytes());
    let file = answered(trace("/f/128", ""), 405, b"405 Method Not Allowed\n".to_vec());
    world.add_client(vec![echo, file, requests::hello()], 4096, 1);
    world.run(5 * SECOND).expect("it is answered here; a file has no TRACE");
    // Allowed for one site and not for another.
    let mut one = settings(&["sim", "other"]);
    one.sites[1].http.trace = Some(true);
    refused(&one, &trace("/api/hello", ""), 501, Reason::NotImplemented);
}
