use super::*;
use crate::cache::{Lookup, StaticStore};
use crate::http::RequestLimits;
use crate::http::h1::Encoder;
use crate::http::h1::request::{Parsed, Progress, parse};
use crate::http::h1::response;
use crate::http::response::Framing;
use model::bundle::{self, Bundle, File, Source};
use model::date::DateCache;
use model::settings::Settings;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const DATE: &str = "Date: Sat, 21 Nov 2026 00:00:00 GMT\r\n";
const METADATA: &str = "Content-Type: text/plain\r\nAccept-Ranges: bytes\r\nETag: \"v1\"\r\n\
                        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// The outcome of a request.
#[derive(Debug, PartialEq)]
struct Plan {
    status: u16,
    content: Range<usize>,
    keep_alive: bool,
}

fn answer(method: &str, fields: &str) -> (String, Plan) {
    let content = b"0123456789".to_vec();
    let file = File {
        tree: 0,
        path: "a".into(),
        media_type: "text/plain".into(),
        etag: "\"v1\"".into(),
        last_modified: 784_111_777,
        offset: 0,
        len: 0,
    };
    let bytes = bundle::encode(&Settings::default(), vec![Source { file, content }]);
    let store = StaticStore::new(&Bundle::parse(&bytes).unwrap());
    let Lookup::Found(stored) = store.lookup(0, "/a") else { panic!() };
    with_head(&format!("{method} /a?q HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), |head, writer| {
        super::file(head, stored, writer).unwrap()
    })
}

fn with_head(
    input: &str,
    write: impl FnOnce(&RequestHead<'_>, &mut ResponseWriter<'_, Encoder>) -> Range<usize>,
) -> (String, Plan) {
    let mut scratch = [0; 9000];
    let Parsed::Complete { head, .. } =
        parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default())
    else {
        panic!("{input:?}");
    };
    let mut buf = [0; 1024];
    let (mut encoder, date) = (Encoder::of(&head), DateCache::new(1_795_219_200));
    let mut writer = ResponseWriter::new(&mut encoder, &date, &mut buf);
    let content = write(&head, &mut writer);
    let (len, status) = (writer.len(), writer.status());
    let plan = Plan { status, content, keep_alive: encoder.keeps_alive() };
    let text = String::from_utf8(buf[..len].to_vec()).unwrap();
    let is_head = head.method == Method::Head;
    let response::Parsed::Complete { head: parsed, len } = response::parse(text.as_bytes(), is_head, 2048)
    else {
        panic!("{text:?}");
    };
    assert_eq!((parsed.status, parsed.keep_alive), (plan.status, plan.keep_alive), "{text:?}");
    let sent = text.len() - len + plan.content.len();
    match parsed.framing {
        Framing::Length(length) => assert_eq!(length, sent as u64, "{text:?}"),
        Framing::None => assert_eq!(sent, 0, "{text:?}"),
        other => panic!("{other:?}"),
    }
    (text, plan)
}

#[test]
fn the_whole() {
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{METADATA}{DATE}\r\n");
    assert_eq!(answer("GET", ""), (whole.clone(), Plan { status: 200, content: 0..10, keep_alive: true }));
    assert_eq!(answer("HEAD", ""), (whole, Plan { status: 200, content: 0..0, keep_alive: true }));
    let (text, plan) = answer("GET", "Connection: close\r\n");
    assert!(text.ends_with("GMT\r\nConnection: close\r\n\r\n") && !plan.keep_alive);
}

#[test]
fn conditions() {
    for (fields, status) in [
        ("If-None-Match: \"v1\"", 304),
        ("If-None-Match: W/\"v1\"", 304),
        ("If-None-Match: \"v0\", \"v1\"", 304),
        ("If-None-Match: , \"v0\" ,,W/\"v1\",", 304),
        ("If-None-Match: \"v0\"\r\nIf-None-Match: \"v1\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"v0\"", 200),
        ("If-None-Match: v1", 200),
        ("If-None-Match:", 200),
        ("If-None-Match: \"v0,\"v1\"", 200),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("If-Modified-Since: yesterday", 200),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-Modified-Since: x", 200),
        ("If-None-Match: \"v0\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Match: \"v1\"", 200),
        ("If-Match: *", 200),
        ("If-Match: \"v0\", \"v1\"", 200),
        ("If-Match: W/\"v1\"", 412),
        ("If-Match: \"v0\"", 412),
        ("If-Match: \"v1\"\r\nIf-None-Match: \"v1\"", 304),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 412),
        ("If-Match: \"v1\"\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let (_, plan) = answer(method, &format!("{fields}\r\n"));
            assert_eq!(plan.status, status, "{method} {fields}");
        }
    }
    let (text, _) = answer("GET", "If-None-Match: *\r\n");
    assert_eq!(
        text,
        format!("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nLast-Modified: {MODIFIED}\r\n{DATE}\r\n")
    );
}

#[test]
fn ranges() {
    for (fields, status, content) in [
        ("Range: bytes=2-4", 206, 2..5),
        ("Range: bytes=-3", 206, 7..10),
        ("Range: bytes=0-18446744073709551615", 206, 0..10),
        ("Range: bytes=10-", 416, 0..0),
        ("Range: bytes=18446744073709551615-", 416, 0..0),
        ("Range: bytes=0-1,2-3", 200, 0..10),
        ("Range: bytes=0-1\r\nRange: bytes=0-1", 200, 0..10),
        ("Range: x=0-1", 200, 0..10),
        ("Range: bytes=2-4\r\nIf-Range: \"v1\"", 206, 2..5),
        ("Range: bytes=2-4\r\nIf-Range: \"v0\"", 200, 0..10),
        ("Range: bytes=2-4\r\nIf-Range: W/\"v1\"", 200, 0..10),
        ("Range: bytes=2-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", 206, 2..5),
        ("Range: bytes=2-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT", 200, 0..10),
        ("Range: bytes=10-\r\nIf-Range: \"v0\"", 200, 0..10),
        ("Range: bytes=2-4\r\nIf-None-Match: \"v1\"", 304, 0..0),
        ("If-Range: \"v1\"", 200, 0..10),
    ] {
        let (_, plan) = answer("GET", &format!("{fields}\r\n"));
        assert_eq!((plan.status, plan.content), (status, content), "{fields}");
    }
    let (text, _) = answer("GET", "Range: bytes=2-4\r\n");
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n{METADATA}{DATE}\r\n"
        )
    );
    let (text, _) = answer("GET", "Range: bytes=10-\r\n");
    assert!(text.contains("Content-Range: bytes */10\r\n"));
    let (_, plan) = answer("HEAD", "Range: bytes=2-4\r\n");
    assert_eq!(plan.status, 200);
}

#[test]
fn other_methods() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let (text, plan) = answer(method, "");
        assert_eq!((plan.status, plan.keep_alive), (405, true));
        assert!(text.contains("Allow: GET, HEAD\r\n"));
    }
}

#[test]
fn redirects() {
    let redirect = |target: &str| {
        with_head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), |head, writer| {
            redirect_to_directory(head, writer).unwrap();
            0..0
        })
        .0
    };
    assert!(redirect("/a%20b?c").contains("\r\nLocation: /a%20b/?c\r\n"));
    assert!(redirect("//evil.example").contains("\r\nLocation: /evil.example/\r\n"));
}

#[test]
fn not_found_keeps_the_connection() {
    for (method, status) in [("GET", 404), ("HEAD", 404), ("POST", 405)] {
        let (_, plan) = with_head(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), |head, writer| {
            not_found(head, writer).unwrap();
            0..0
        });
        assert_eq!((plan.status, plan.keep_alive), (status, true));
    }
}

#[test]
fn options_for_the_server() {
    let (text, plan) = with_head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", |_, writer| {
        options_asterisk(writer).unwrap();
        0..0
    });
    assert_eq!((text.as_str(), plan.status), (&*format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n"), 204));
}

#[test]
fn max_forwards_zero_is_answered() {
    let limits = RequestLimits { trace: true, ..RequestLimits::STRICT };
    let answer = |input: &str| {
        let mut scratch = [0; 9000];
        let parsed = parse(input.as_bytes(), &limits, &mut scratch, &mut Progress::default());
        let Parsed::Complete { head, .. } = parsed else { panic!("{input:?}") };
        let mut buf = [0; 1024];
        let (mut encoder, date) = (Encoder::of(&head), DateCache::new(0));
        let mut writer = ResponseWriter::new(&mut encoder, &date, &mut buf);
        last_recipient(&head, &mut writer).unwrap();
        let len = writer.len();
        String::from_utf8(buf[..len].to_vec()).unwrap()
    };
    let shown = "TRACE /a?b HTTP/1.1\r\nHost: c\r\nMax-Forwards: 0\r\n\r\n";
    let asked = shown.replace("Max", "Cookie: secret\r\nAuthorization: secret\r\nMax");
    let text = answer(&asked);
    let (head, content) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(content, shown);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", shown.len())), "{head}");
    assert!(answer("OPTIONS /a HTTP/1.1\r\nHost: c\r\nMax-Forwards: 0\r\n\r\n").starts_with("HTTP/1.1 204 "));
}
