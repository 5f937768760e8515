//! Answers of our own: each has its Date, and none comes before what has arrived of the request's content was judged.

use crate::client::{Client, Exchange, Expected};
use crate::network::Quality;
use crate::requests;
use crate::secure::{Authority, Secure};
use crate::tls::{AUTHORITY, clients};
use crate::world::{ETAG, World, settings};
use appliance::http::error::phrase;
use model::settings::{ClientCertificates, Handler, Http, Nobody, Prefix, RequestRate, Settings, Verbosity};

const SECOND: u64 = 1_000_000_000;
const BROKEN: [&str; 6] =
    ["x\r\n", "3\r\nabcd\r\n", "3;\n", "-1\r\n", "0\r\nHost: a\r\n\r\n", "3\r\nabc\r\n0\r\nx\r\n"];

fn plain(status: u16) -> String {
    format!("{status} {}\n", phrase(status))
}

fn ask(request: &str, status: u16, content: Option<String>) -> Exchange {
    let expected = Expected { status, content: content.map(String::into_bytes) };
    Exchange { request: request.as_bytes().to_vec(), expected, may_break: false }
}

/// With the answer to what is refused.
fn refused(request: &str, status: u16) -> Exchange {
    ask(request, status, (!request.starts_with("HEAD ")).then(|| plain(status)))
}

/// Asks on a connection of its own; the client checks status, content and that there is one Date.
fn answered(settings: &Settings, exchange: Exchange, edit: impl FnOnce(&mut Client)) {
    let mut world = World::with(settings);
    let request = String::from_utf8_lossy(&exchange.request).into_owned();
    let number = world.add_client(vec![exchange], 65_535, 1);
    let client = &mut world.clients[number];
    client.whole = true;
    edit(client);
    world.run(60 * SECOND).unwrap_or_else(|why| panic!("{request:.100?}: {why}"));
}

/// A server with everything on it that has an answer of its own.
fn everything() -> Settings {
    let mut settings = settings(&["sim"]);
    settings.server.http = Http { trace: Some(true), max_content: Some(100), ..Http::default() };
    settings.pools[0].workers.clear();
    let mut add = |url: &str, why| {
        let prefix = Prefix {
            url: url.into(),
            handler: Handler::Nobody(why),
            client_certificates: None,
            passthrough: Default::default(),
        };
        settings.sites[0].prefixes.push(prefix);
    };
    add("http://sim:80/reserved/", Nobody::Reserved);
    add("http://sim:80/unbound/", Nobody::Unbound);
    add("http://sim:80/disabled/", Nobody::Disabled);
    settings
}

#[test]
fn every_answer_of_ours_is_dated() {
    let settings = everything();
    let head = |line: &str, fields: &str| format!("{line}\r\nHost: sim\r\n{fields}\r\n");
    let get = |path: &str, fields: &str| head(&format!("GET {path} HTTP/1.1"), fields);
    let long = "x".repeat(17 << 10);
    let pattern = |len| String::from_utf8_lossy(&crate::world::pattern(len)).into_owned();
    let none = |request: String, status| (request, status, None);
    let words = |request: String, status| (request, status, Some(plain(status)));
    let trace = get("/api/x", "Max-Forwards: 0\r\n").replace("GET", "TRACE");
    for (request, status, content) in [
        none(get("/f/128", "").replace("GET", "HEAD"), 200),
        none(get("/f/128", &format!("If-None-Match: {ETAG}\r\n")), 304),
        none(head("OPTIONS * HTTP/1.1", ""), 204),
        none(get("/api/x", "Max-Forwards: 0\r\n").replace("GET", "OPTIONS"), 204),
        (trace.clone(), 200, Some(trace)),
        words(get("/f/128", "Range: bytes=900-\r\n"), 416),
        words(get("/f/128", "If-Match: \"other\"\r\n"), 412),
        words(get("/nothing", ""), 404),
        none(get("/nothing", "").replace("GET", "HEAD"), 404),
        words(head("POST /f/128 HTTP/1.1", ""), 405),
        words("GET / HTTP/1.1\r\n\r\n".into(), 400),
        words(get("/reserved/", ""), 400),
        words(get("/f/128", "Content-Length: 101\r\n"), 413),
        none(get("/f/128", "Content-Length: 101\r\n").replace("GET", "HEAD"), 413),
        none(get("/", "Host: sim\r\n").replace("GET", "HEAD"), 400),
        words(head("OPTIONS * HTTP/1.1", "Content-Length: 101\r\n"), 413),
        words(get(&format!("/{long}"), ""), 414),
        words(get("/", "Expect: the unexpected\r\n"), 417),
        (get("https://sim/", ""), 421, Some("421 Misdirected Request: URL\n".into())),
        words(get("/", &format!("A: {long}\r\n")), 431),
        words(get("/", &format!("A: {}\r\n", "x".repeat(8000)).repeat(3)), 431),
        words(head("CONNECT sim:80 HTTP/1.1", ""), 501),
        words(get("/unbound/", ""), 503),
        words(get("/disabled/", ""), 503),
        words(head("GET / HTTP/2.0", ""), 505),
    ] {
        answered(&settings, ask(&request, status, content), |_| {});
    }
    answered(&settings, ask(&get("/f/128", "Range: bytes=0-0\r\n"), 206, Some(pattern(1))), |_| {});
    let mut world = World::with(&settings);
    world.add_client(vec![ask(&get("/f/128", ""), 200, None)], 65_535, 2);
    world.run_for(SECOND);
    assert_eq!(world.clients[0].tally.answered, 1, "{:?}", world.clients[0].failure);
}

#[test]
fn answers_for_pools_and_limits_are_dated() {
    let mut settings = settings(&["sim"]);
    // A queue of nobody: 503, in the words that are asked for.
    settings.pools[0].workers.clear();
    settings.pools[0].queue_length = Some(0);
    let request = "GET /api/x HTTP/1.1\r\nHost: sim\r\n\r\n";
    answered(&settings, ask(request, 503, Some(plain(503))), |_| {});
    answered(&settings, ask(&request.replace("GET", "HEAD"), 503, None), |_| {});
    settings.pools[0].verbosity = Verbosity::Full;
    answered(&settings, ask(request, 503, Some("503 Service Unavailable: QueueFull\n".into())), |_| {});
    settings.sites[0].limits.requests = Some(RequestRate { requests: 1, per_secs: 60, burst: 1 });
    let mut world = World::with(&settings);
    let file = "HEAD /f/128 HTTP/1.1\r\nHost: sim\r\n\r\n";
    world.add_client(vec![ask(file, 200, None), ask(file, 429, None)], 65_535, 1);
    world.run(SECOND).expect("the second is one too many");
    let mut world = World::with(&settings);
    let get = ask("GET /f/0 HTTP/1.1\r\nHost: sim\r\n\r\n", 429, Some(plain(429)));
    world.add_client(vec![ask(file, 200, None), get], 65_535, 1);
    world.run(SECOND).expect("and is told so in words");
}

#[test]
fn answers_over_tls_are_dated() {
    let mut settings = settings(&["sim", "other"]);
    for site in &mut settings.sites {
        site.prefixes.retain(|prefix| matches!(prefix.handler, Handler::Files(_)));
    }
    let mut settings = AUTHORITY.secure(&settings);
    settings.sites[0].redirect_https = Some(443);
    let tls = settings.sites[0].tls.as_mut().expect("it has TLS");
    tls.client_certificates = ClientCertificates::Require;
    tls.client_anchors = vec![Authority::new().der()];
    let secure = |client: &mut Client| {
        (client.server_port, client.secure) = (443, Some(Secure::new(&clients())));
    };
    let request = |host: &str| format!("GET /f/128 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let because = |status, why: &str| Some(format!("{status} {}: {why}\n", phrase(status)));
    answered(&settings, ask(&request("sim"), 403, because(403, "ClientCert_Required")), secure);
    answered(&settings, ask(&request("other"), 421, because(421, "Misdirected")), secure);
    answered(&settings, ask(&request("sim"), 308, Some(String::new())), |_| {});
    // Plain HTTP at the port for https.
    let told = because(400, "plain HTTP was sent to an HTTPS port, expected https");
    let to_443 = |client: &mut Client| client.server_port = 443;
    answered(&settings, ask(&request("sim"), 400, told), to_443);
    answered(&settings, ask(&request("sim").replace("GET", "HEAD"), 400, None), to_443);
}

/// Whoever would answer: files, redirects, nobody, the server itself, and a pool that has no worker.
const LINES: [&str; 9] = [
    "GET /f/128",
    "HEAD /f/128",
    "POST /f/128",
    "GET /f",
    "GET /nothing",
    "OPTIONS *",
    "OPTIONS /f/128",
    "GET /api/x",
    "POST /api/x",
];

#[test]
fn broken_content_that_is_there_is_400_whoever_answers() {
    let settings = everything();
    for line in LINES {
        for broken in BROKEN {
            let request =
                format!("{line} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{broken}");
            answered(&settings, refused(&request, 400), |_| {});
        }
    }
}

#[test]
fn too_much_content_that_is_there_is_413_whoever_answers() {
    let settings = everything();
    let whole = format!("32\r\n{}\r\n33\r\n{}\r\n0\r\n\r\n", "x".repeat(50), "x".repeat(51));
    for line in LINES {
        // All of it, a part that is too much, and one that says it will be.
        for content in [&whole[..], &whole[..60], "65\r\n"] {
            let request =
                format!("{line} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
            answered(&settings, refused(&request, 413), |_| {});
        }
    }
    // As much as is allowed is read, and the connection goes on.
    let allowed = format!("64\r\n{}\r\n0\r\n\r\n", "x".repeat(100));
    let request =
        format!("GET /nothing HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{allowed}");
    let mut world = World::with(&settings);
    world.add_client(vec![ask(&request, 404, Some(plain(404))), requests::file(128)], 65_535, 1);
    world.clients[0].whole = true;
    world.run(SECOND).expect("both are answered");
    assert_eq!(world.clients[0].tally.connections, 1);
}

#[test]
fn content_is_judged_wherever_it_lies_in_the_receive_buffer() {
    let mut settings = everything();
    settings.server.http.max_content = None;
    let fine = "HEAD /f/128 HTTP/1.1\r\nHost: sim\r\nX: ";
    for padding in (0..1400).step_by(70) {
        let mut script = Vec::new();
        // Enough to come round once; the buffer holds 80 KiB.
        for number in 0..82 {
            let padding = if number == 0 { padding } else { 1000 - fine.len() - 4 };
            script.push(ask(&format!("{fine}{}\r\n\r\n", "x".repeat(padding)), 200, None));
        }
        let content = format!("200\r\n{}\r\n", "x".repeat(512)).repeat(2);
        let broken =
            format!("GET /f/128 HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{content}x\r\n");
        script.push(ask(&broken, 400, Some(plain(400))));
        let mut world = World::with(&settings);
        let number = world.add_client(script, 65_535, 1);
        world.clients[number].whole = true;
        world.run(60 * SECOND).unwrap_or_else(|why| panic!("padding {padding}: {why}"));
    }
}

#[test]
fn broken_content_over_tls_is_400_too() {
    let settings = AUTHORITY.secure(&everything());
    for line in LINES {
        for broken in BROKEN {
            let request =
                format!("{line} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n{broken}");
            answered(&settings, refused(&request, 400), |client| {
                (client.server_port, client.secure) = (443, Some(Secure::new(&clients())));
            });
        }
    }
}

#[test]
fn who_goes_on_sending_has_the_answer_at_once_and_no_reset_for_a_while() {
    let slow = Quality { delay_ns: 50_000_000, ..Quality::LAN };
    let mut world = World::with_quality(&everything(), 1, slow, 8 << 20);
    let number = world.add_client(vec![], 4096, 1);
    // Refused at its second line, and sent again and again without regard to the answer.
    world.clients[number].pull = Some(b"GET / HTTP/1.1\r\nbroken\r\n".repeat(40));
    world.run_for(SECOND);
    assert!(world.clients[number].got > 100, "{} bytes of the answer", world.clients[number].got);
    world.run_for(25 * SECOND);
    assert_eq!(world.clients[number].tally.connections, 1, "the client sends, and is not reset");
    world.run_for(10 * SECOND);
    assert!(world.clients[number].tally.connections > 1, "but not for ever");
}
