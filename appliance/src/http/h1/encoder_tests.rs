use super::*;
use crate::http::h1::response::{self, Parsed};
use crate::http::response::{Framing as Received, ResponseHead};
use proptest::prelude::*;

const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
const HTTP11: Encoder = Encoder::new(Version::Http11, false, true);
const HTTP10: Encoder = Encoder::new(Version::Http10, false, true);

fn head(input: &str, is_head: bool) -> ResponseHead<'_> {
    match response::parse(input.as_bytes(), is_head, 8192) {
        Parsed::Complete { head, .. } => head,
        other => panic!("{other:?}: {input:?}"),
    }
}

fn written(input: &str, encoder: &mut Encoder) -> String {
    let head = head(input, encoder.is_head);
    let mut buf = [0; 1024];
    let mut out = Sink::new(&mut buf);
    encoder.head(&Reply::from(&head), &DateCache::new(0), &mut out).unwrap();
    String::from_utf8(out.written().to_vec()).unwrap()
}

#[test]
fn hop_by_hop_fields_are_not_passed_on() {
    let text = written(
        "HTTP/1.1 404 Gone Fishing\r\nServer: w\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Upgrade: h2c\r\nTrailer: a\r\nProxy-Connection: a\r\nTE: a\r\nContent-Length: 3\r\nX: 1\r\nX: 2\r\nDate: now\r\n\r\n",
        &mut HTTP11.clone(),
    );
    assert_eq!(
        text,
        "HTTP/1.1 404 Gone Fishing\r\nServer: w\r\nX: 1\r\nX: 2\r\nDate: now\r\nContent-Length: 3\r\n\r\n"
    );
}

#[test]
fn framing_by_version_and_content() {
    let close = Encoder::new(Version::Http11, false, false);
    let is_head = Encoder::new(Version::Http11, true, true);
    for (input, encoder, end, chunked, keep_alive) in [
        ("Content-Length: 3\r\n", HTTP11, "Content-Length: 3\r\n\r\n", false, true),
        ("Content-Length: 3\r\n", close, "Content-Length: 3\r\nConnection: close\r\n\r\n", false, false),
        ("Content-Length: 3\r\n", HTTP10, "Content-Length: 3\r\nConnection: keep-alive\r\n\r\n", false, true),
        ("Content-Length: 0\r\n", HTTP11, "Content-Length: 0\r\n\r\n", false, true),
        ("Content-Length: 3\r\n", is_head.clone(), "Content-Length: 3\r\n\r\n", false, true),
        ("", is_head, "\r\n", false, true),
        ("Transfer-Encoding: chunked\r\n", HTTP11, "Transfer-Encoding: chunked\r\n\r\n", true, true),
        ("Transfer-Encoding: chunked\r\n", HTTP10, "Connection: close\r\n\r\n", false, false),
        ("", HTTP11, "Transfer-Encoding: chunked\r\n\r\n", true, true),
        ("", HTTP10, "Connection: close\r\n\r\n", false, false),
    ] {
        let mut encoder = encoder;
        let text = written(&format!("HTTP/1.1 200 OK\r\n{input}\r\n"), &mut encoder);
        // Date comes before Connection.
        let (framing_line, end) = end.split_at(end.find("Connection:").unwrap_or(end.len() - 2));
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{framing_line}{DATE}{end}"), "{input:?}");
        assert_eq!(encoder.keeps_alive(), keep_alive, "{input:?}");
        let around = encoder.data(10, true);
        let (before, after): (&[u8], &[u8]) = if chunked { (b"a\r\n", END_AND_LAST) } else { (b"", b"") };
        assert_eq!((around.before(), around.after), (before, after), "{input:?}");
        assert!(around.before().len() + around.after.len() <= encoder.overhead());
        assert_eq!(encoder.end(), if chunked { LAST_CHUNK } else { b"" }, "{input:?}");
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let mut encoder = HTTP11;
        let text = written(&format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n"), &mut encoder);
        assert_eq!(text, format!("HTTP/1.1 {status}\r\n{DATE}\r\n"));
        assert!(encoder.keeps_alive() && encoder.overhead() == 0);
    }
}

#[test]
fn interim_heads_are_for_http11_only() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    assert_eq!(written(HINTS, &mut HTTP11.clone()), HINTS);
    assert_eq!(written(HINTS, &mut HTTP10.clone()), "");
    let mut buf = [0; 64];
    let mut out = Sink::new(&mut buf);
    HTTP11.clone().head(&Reply::CONTINUE, &DateCache::new(0), &mut out).unwrap();
    assert_eq!(out.written(), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_head_that_does_not_fit_is_an_error() {
    let head = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false);
    for len in 0..72 {
        let mut buf = vec![0; len];
        let written = HTTP11.clone().head(&Reply::from(&head), &DateCache::new(0), &mut Sink::new(&mut buf));
        assert_eq!(written, Err(Overflow), "{len}");
    }
}

proptest! {
    #[test]
    fn written_heads_parse(fields in "((Content-Length: 7|Transfer-Encoding: chunked|X: y|Connection: x|Connection: close)\r\n){0,4}") {
        let input = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        if let Parsed::Complete { head, .. } = response::parse(input.as_bytes(), false, 8192) {
            let (mut buf, mut encoder) = ([0; 1024], HTTP11);
            let mut out = Sink::new(&mut buf);
            encoder.head(&Reply::from(&head), &DateCache::new(0), &mut out).unwrap();
            match response::parse(out.written(), false, 8192) {
                Parsed::Complete { head, len } => {
                    prop_assert_eq!(head.framing == Received::Chunked, encoder.overhead() > 0);
                    prop_assert!(head.framing != Received::UntilClose);
                    prop_assert_eq!(head.keep_alive, encoder.keeps_alive());
                    prop_assert_eq!(len, out.len());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
