//! Asserts that a static hit, a forwarded request and its response allocate nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use appliance::cache::{Lookup, StaticStore, serve};
use appliance::http::forward::Forwarded;
use appliance::http::h1::chunked::Decoder;
use appliance::http::h1::request::{Parsed, Progress};
use appliance::http::h1::{Encoder, forward, request, response};
use appliance::http::{Encode, Reply, RequestLimits, ResponseWriter, Sink, Version};
use appliance::log::line::Moment;
use appliance::log::{Endpoints, Log, Outcome, Value};
use appliance::serving::{RouteResult, Router};
use appliance::time::Instant;
use core::net::{IpAddr, Ipv4Addr};
use model::bundle::{self, Bundle, File, Source};
use model::date::DateCache;
use model::log::Field;
use model::reason::Reason;
use model::settings::{self, Handler, LogFormat, Prefix, Settings, Site};
use model::url::Scheme;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bundle() -> Vec<u8> {
    let settings = Settings {
        sites: vec![Site {
            name: "demo".into(),
            prefixes: vec![Prefix {
                url: "http://*:80/".into(),
                handler: Handler::Files(0),
                client_certificates: None,
                passthrough: Default::default(),
            }],
            ..Site::default()
        }],
        ..Settings::default()
    };
    let file = File {
        tree: 0,
        path: "a b.txt".into(),
        media_type: "text/plain".into(),
        etag: "\"1\"".into(),
        last_modified: 1,
        offset: 0,
        len: 0,
    };
    bundle::encode(&settings, vec![Source { file, content: vec![b'x'; 128] }])
}

fn assert_no_allocation<R>(run: impl FnOnce() -> R) -> R {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(run()));
    assert_eq!(info.count_total, 0);
    result.unwrap()
}

#[test]
fn a_static_hit() {
    let bytes = bundle();
    let bundle = Bundle::parse(&bytes).unwrap();
    let router = Router::new(&bundle.manifest.settings).unwrap();
    let store = StaticStore::new(&bundle);
    let mut date = DateCache::new(0);
    for (target, fields, status) in [
        ("/a%20b.txt", "", 200),
        ("/x/../a%20b.txt", "If-None-Match: \"0\", \"1\"\r\n", 304),
        ("/a%20b.txt", "Range: bytes=1-2\r\n", 206),
        ("/a%20b.txt", "Range: bytes=999-\r\n", 416),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\n{fields}\r\n");
        let mut scratch = vec![0; 9000];
        let mut buf = vec![0; 1024];
        let answered = assert_no_allocation(|| {
            date.set(date.unix() + 1);
            let Parsed::Complete { head, .. } = request::parse(
                input.as_bytes(),
                &RequestLimits::STRICT,
                &mut scratch,
                &mut Progress::default(),
            ) else {
                panic!();
            };
            let RouteResult::Matched(found) = router.route(Scheme::Http, 80, head.host, LOCAL, head.path)
            else {
                panic!();
            };
            let Handler::Files(tree) = found.handler else { panic!() };
            let Lookup::Found(stored) = store.lookup(tree, found.rest) else { panic!() };
            let mut encoder = Encoder::of(&head);
            let mut writer = ResponseWriter::new(&mut encoder, &date, &mut buf);
            serve::file(&head, stored, &mut writer).unwrap();
            writer.status()
        });
        assert_eq!(answered, status, "{target} {fields}");
    }
}

#[test]
fn a_forwarded_request_and_its_response() {
    let input = b"POST /api?q HTTP/1.1\r\nHost: a\r\nConnection: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = b"5\r\nhello\r\n0\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
    let mut scratch = vec![0; 9000];
    let mut buf = vec![0; 2048];
    assert_no_allocation(|| {
        let Parsed::Complete { head, .. } =
            request::parse(input, &RequestLimits::STRICT, &mut scratch, &mut Progress::default())
        else {
            panic!();
        };
        let forwarded = Forwarded::new(LOCAL, (LOCAL, 80), Scheme::Http);
        forward::write_request(&head, &forwarded, &mut Sink::new(&mut buf)).unwrap();
        let step = Decoder::new().decode(chunks).unwrap();
        assert_eq!(&chunks[step.content], b"hello");
        let response::Parsed::Complete { head, .. } = response::parse(answer, false, 4096) else { panic!() };
        let mut encoder = Encoder::new(Version::Http11, false, true);
        encoder.head(&Reply::from(&head), &DateCache::new(0), &mut Sink::new(&mut buf)).unwrap();
    });
}

/// Logging a request.
#[test]
fn a_line_in_each_log() {
    let input = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nCookie: d\r\n\r\n";
    let mut scratch = vec![0; 9000];
    let Parsed::Complete { head, len } =
        request::parse(input, &RequestLimits::STRICT, &mut scratch, &mut Progress::default())
    else {
        panic!();
    };
    let ends = Endpoints { client: (LOCAL, 50_000), server: (LOCAL, 80) };
    // Both logs, or one alone.
    for (format, fields, errors) in [
        (LogFormat::W3c, Field::ALL, true),
        (LogFormat::Json, Field::ALL, true),
        (LogFormat::W3c, &[][..], true),
        (LogFormat::W3c, Field::ALL, false),
    ] {
        let log = settings::Log { port: 1, format, fields: fields.to_vec(), errors, computer: "edge".into() };
        let mut log = Log::new(&Settings { log: Some(log), ..Settings::default() }, 64 << 10);
        let mut request = |unix| {
            let mut record = log.record();
            for (value, bytes) in [
                (Value::Method, head.method.as_str().as_bytes()),
                (Value::Stem, head.raw_path().as_bytes()),
                (Value::Query, head.query().unwrap_or_default().as_bytes()),
                (Value::Host, head.host),
                (Value::UserAgent, head.fields.get("user-agent").unwrap()),
                (Value::Cookie, head.fields.get("cookie").unwrap()),
            ] {
                record.set(value, bytes);
            }
            record.version = Some((1, 1));
            let outcome =
                Outcome { status: 200, sent: 300, received: len as u64, reason: None, complete: true };
            log.error(Some(&record), &ends, Some(503), Reason::QueueFull, unix);
            log.access(&record, &ends, &outcome, Moment { unix, now: Instant::ZERO });
            log.recycle(record);
            // As the link does.
            let lines = log.spool.unsent().len();
            log.spool.sent(lines);
            log.spool.acknowledged(lines);
            lines > 60
        };
        assert!(request(1), "the first one makes the buffers");
        assert_no_allocation(|| assert!((2..500).all(&mut request)));
    }
}

#[test]
fn refusals() {
    let mut scratch = vec![0; 9000];
    for input in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01"] {
        assert_no_allocation(|| {
            let parsed =
                request::parse(input, &RequestLimits::STRICT, &mut scratch, &mut Progress::default());
            assert!(matches!(parsed, Parsed::Refused(_)));
        });
    }
}
