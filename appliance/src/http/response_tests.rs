use super::*;
use proptest::prelude::*;

const MAX: usize = 4096;

fn head(input: &str, to_head: bool) -> ResponseHead<'_> {
    match parse(input.as_bytes(), to_head, MAX) {
        Parsed::Complete { head, .. } => head,
        other => panic!("{input:?}: {other:?}"),
    }
}

fn error(input: &[u8]) -> Option<ResponseError> {
    match parse(input, false, MAX) {
        Parsed::Invalid(error) => Some(error),
        _ => None,
    }
}

#[test]
fn framing() {
    use Framing::*;
    for (status, fields, to_head, framing, spares_link) in [
        ("HTTP/1.1 200 OK", "Content-Length: 5\r\n", false, Length(5), true),
        ("HTTP/1.1 200 OK", "Content-Length: 0\r\n", false, None, true),
        ("HTTP/1.1 200 OK", "Content-Length: 18446744073709551615\r\n", false, Length(u64::MAX), true),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", false, Chunked, true),
        ("HTTP/1.1 200 OK", "Content-Length: 5\r\nConnection: close\r\n", false, Length(5), false),
        ("HTTP/1.1 200 OK", "", false, UntilClose, false),
        ("HTTP/1.1 200 ", "", false, UntilClose, false),
        ("HTTP/1.1 200", "", false, UntilClose, false),
        ("HTTP/1.1 200 OK", "Content-Length: 5\r\n", true, None, false),
        ("HTTP/1.1 200 OK", "Content-Length: 0\r\n", true, None, true),
        ("HTTP/1.1 200 OK", "Content-Length: 0\r\nContent-Length: 0\r\n", true, None, false),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", true, None, false),
        ("HTTP/1.1 200 OK", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", true, None, false),
        ("HTTP/1.1 200 OK", "Content-Length: x\r\nTransfer-Encoding: gzip\r\n", true, None, false),
        ("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n", true, None, false),
        ("HTTP/1.1 200 OK", "", true, None, false),
        ("HTTP/1.1 204 No Content", "Content-Length: 5\r\n", false, None, false),
        ("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked\r\n", false, None, false),
        ("HTTP/1.1 304 Not Modified", "", false, None, true),
        ("HTTP/1.1 304 Not Modified", "", true, None, true),
        ("HTTP/1.1 103 Early Hints", "Content-Length: 5\r\n", false, None, false),
        ("HTTP/1.1 999 What", "Content-Length: 5\r\n", false, Length(5), true),
        ("HTTP/1.1 600 What", "Content-Length: 0\r\n", false, None, true),
        ("HTTP/1.1 204 No Content", "", false, None, true),
        ("HTTP/1.1 304 Not Modified", "Content-Length: 5\r\n", false, None, false),
        ("HTTP/1.1 100 Continue", "", false, None, true),
        ("HTTP/1.1 103 Early Hints", "Link: x\r\n", false, None, true),
        ("HTTP/1.0 200 OK", "Content-Length: 5\r\n", false, Length(5), false),
        ("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n", false, Length(5), true),
    ] {
        let input = format!("{status}\r\n{fields}\r\n");
        let head = head(&input, to_head);
        assert_eq!((head.framing, head.spares_link()), (framing, spares_link), "{input:?}");
    }
}

#[test]
fn refused() {
    use ResponseError::*;
    for (input, expected) in [
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", StatusLine),
        ("ICY 200 OK\r\n\r\n", StatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", StatusLine),
        ("HTTP/1.1 099 X\r\n\r\n", Status),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Status),
        ("HTTP/1.1 200 OK\nX: a\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nX: a\r\n\n", Field),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\n: a\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nConnection: a b\r\n\r\n", Field),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Framing),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing),
    ] {
        assert_eq!(error(input.as_bytes()), Some(expected), "{input:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(257));
    assert_eq!(error(many.as_bytes()), Some(TooLarge));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(MAX));
    assert_eq!(error(long.as_bytes()), Some(TooLarge));
}

#[test]
fn as_many_fields_and_bytes_as_allowed() {
    let head = |bytes: usize, fields: usize| {
        let start = format!("HTTP/1.1 200 OK\r\n{}Y: ", "X: y\r\n".repeat(fields - 1));
        format!("{start}{}\r\n\r\n", "z".repeat(bytes - start.len() - 4))
    };
    let asked = Asked::default();
    for fields in [16, MAX_FIELDS] {
        let bounds = Bounds { bytes: 8192, fields };
        for (bytes, count, fits) in [(8192, fields, true), (8193, 2, false), (8000, fields + 1, false)] {
            let text = head(bytes, count);
            let parsed = parse_answer(text.as_bytes(), asked, bounds);
            match parsed {
                Parsed::Complete { head, len } => {
                    assert!(fits && len == bytes && head.fields.into_iter().count() == count)
                }
                Parsed::Invalid(error) => assert!(!fits && error == ResponseError::TooLarge),
                Parsed::Partial => panic!("{bytes} bytes, {count} fields"),
            }
        }
    }
    let pool = |bytes, fields| {
        let (response_head_bytes, response_fields) = (Some(bytes), Some(fields));
        Bounds::from(&settings::Pool { response_head_bytes, response_fields, ..Default::default() })
    };
    assert_eq!(pool(u32::MAX, u32::MAX), Bounds { bytes: Bounds::MAX_BYTES, fields: MAX_FIELDS });
    assert_eq!(Bounds::from(&settings::Pool::default()), Bounds::default());
}

fn written(input: &str, to_head: bool, client: Client) -> (String, Delivery) {
    let head = head(input, to_head);
    let mut buf = [0; 1024];
    let mut out = Sink::new(&mut buf);
    let delivery = write_response(&head, client, &DateCache::new(0), &mut out).unwrap();
    (String::from_utf8(out.written().to_vec()).unwrap(), delivery)
}

const HTTP11: Client = Client { version: Version::Http11, to_head: false, keep_alive: true };
const HTTP10: Client = Client { version: Version::Http10, to_head: false, keep_alive: true };
const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

#[test]
fn hop_by_hop_fields_stay_here() {
    let (text, _) = written(
        "HTTP/1.1 404 Gone Fishing\r\nServer: w\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Upgrade: h2c\r\nTrailer: a\r\nProxy-Connection: a\r\nTE: a\r\nContent-Length: 3\r\nX: 1\r\nX: 2\r\nDate: now\r\n\r\n",
        false,
        HTTP11,
    );
    assert_eq!(
        text,
        "HTTP/1.1 404 Gone Fishing\r\nServer: w\r\nX: 1\r\nX: 2\r\nDate: now\r\nContent-Length: 3\r\n\r\n"
    );
}

#[test]
fn delivery() {
    use Framing::*;
    let close = Client { keep_alive: false, ..HTTP11 };
    let to_head = Client { to_head: true, ..HTTP11 };
    for (input, client, end, framing, keep_alive) in [
        ("Content-Length: 3\r\n", HTTP11, "Content-Length: 3\r\n\r\n", Length(3), true),
        ("Content-Length: 3\r\n", close, "Content-Length: 3\r\nConnection: close\r\n\r\n", Length(3), false),
        (
            "Content-Length: 3\r\n",
            HTTP10,
            "Content-Length: 3\r\nConnection: keep-alive\r\n\r\n",
            Length(3),
            true,
        ),
        ("Content-Length: 0\r\n", HTTP11, "Content-Length: 0\r\n\r\n", None, true),
        ("Content-Length: 3\r\n", to_head, "Content-Length: 3\r\n\r\n", None, true),
        ("", to_head, "\r\n", None, true),
        ("Transfer-Encoding: chunked\r\n", HTTP11, "Transfer-Encoding: chunked\r\n\r\n", Chunked, true),
        ("Transfer-Encoding: chunked\r\n", HTTP10, "Connection: close\r\n\r\n", UntilClose, false),
        ("", HTTP11, "Transfer-Encoding: chunked\r\n\r\n", Chunked, true),
        ("", HTTP10, "Connection: close\r\n\r\n", UntilClose, false),
    ] {
        let input = format!("HTTP/1.1 200 OK\r\n{input}\r\n");
        let (text, delivery) = written(&input, client.to_head, client);
        // Date comes before what is said of the connection.
        let (framing_line, end) = end.split_at(end.find("Connection:").unwrap_or(end.len() - 2));
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{framing_line}{DATE}{end}"), "{input:?}");
        assert_eq!(delivery, Delivery { framing, keep_alive }, "{input:?}");
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let (text, delivery) =
            written(&format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n"), false, HTTP11);
        assert_eq!(text, format!("HTTP/1.1 {status}\r\n{DATE}\r\n"));
        assert_eq!(delivery, Delivery { framing: None, keep_alive: true });
    }
    let (text, _) = written("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, HTTP11);
    assert_eq!(text, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
}

#[test]
fn a_head_that_does_not_fit_is_an_error() {
    let head = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false);
    for len in 0..72 {
        let mut buf = vec![0; len];
        assert_eq!(
            write_response(&head, HTTP11, &DateCache::new(0), &mut Sink::new(&mut buf)),
            Err(Overflow),
            "{len}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(mut input: Vec<u8>, to_head: bool) {
        let _ = parse(&input, to_head, MAX);
        input.splice(0..0, *b"HTTP/1.1 200 OK\r\nX: ");
        input.extend_from_slice(b"\r\n\r\n");
        let _ = parse(&input, to_head, MAX);
    }

    #[test]
    fn what_is_written_parses(fields in "((Content-Length: 7|Transfer-Encoding: chunked|X: y|Connection: x|Connection: close)\r\n){0,4}") {
        let input = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        if let Parsed::Complete { head, .. } = parse(input.as_bytes(), false, MAX) {
            let mut buf = [0; 1024];
            let mut out = Sink::new(&mut buf);
            let delivery = write_response(&head, HTTP11, &DateCache::new(0), &mut out).unwrap();
            match parse(out.written(), false, MAX) {
                Parsed::Complete { head, len } => {
                    prop_assert_eq!(head.framing, delivery.framing);
                    prop_assert_eq!(head.keep_alive, delivery.keep_alive);
                    prop_assert_eq!(len, out.len());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
