use super::*;
use proptest::prelude::*;

const MAX: usize = 4096;

fn head(input: &str, is_head: bool) -> ResponseHead<'_> {
    match parse(input.as_bytes(), is_head, MAX) {
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
    for (status, fields, is_head, framing, allows_reuse) in [
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
        let head = head(&input, is_head);
        assert_eq!((head.framing, head.allows_reuse()), (framing, allows_reuse), "{input:?}");
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
    let asked = RequestInfo::default();
    for fields in [16, MAX_FIELDS] {
        let bounds = ResponseLimits { bytes: 8192, fields };
        for (bytes, count, fits) in [(8192, fields, true), (8193, 2, false), (8000, fields + 1, false)] {
            let text = head(bytes, count);
            let parsed = parse_for(text.as_bytes(), asked, bounds);
            match parsed {
                Parsed::Complete { head, len } => {
                    assert!(fits && len == bytes && head.fields.into_iter().count() == count)
                }
                Parsed::Invalid(error) => assert!(!fits && error == ResponseError::TooLarge),
                Parsed::Partial => panic!("{bytes} bytes, {count} fields"),
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(mut input: Vec<u8>, is_head: bool) {
        let _ = parse(&input, is_head, MAX);
        input.splice(0..0, *b"HTTP/1.1 200 OK\r\nX: ");
        input.extend_from_slice(b"\r\n\r\n");
        let _ = parse(&input, is_head, MAX);
    }
}
