use super::*;
use core::num::NonZeroU16;
use model::url::Scheme;
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Partial,
    Complete(String, usize),
    Refused(u16, &'static str),
}

fn parse_with(pieces: &[&[u8]], limits: &RequestLimits) -> Verdict {
    let mut scratch = vec![0; limits.max_url_length + 1];
    let mut progress = Progress::default();
    let whole = pieces.concat();
    let mut len = 0;
    let mut verdict = Verdict::Partial;
    for piece in pieces {
        len += piece.len();
        verdict = match parse(&whole[..len], limits, &mut scratch, &mut progress) {
            Parsed::Partial => Verdict::Partial,
            Parsed::Complete { head, len } => Verdict::Complete(format!("{head:?}"), len),
            Parsed::Refused(refusal) => Verdict::Refused(refusal.status, refusal.reason.as_str()),
        };
        if verdict != Verdict::Partial {
            break;
        }
    }
    verdict
}

fn verdict(input: &[u8]) -> Verdict {
    parse_with(&[input], &RequestLimits::STRICT)
}

/// Parses with every split in two, and byte by byte.
fn all_splits_agree(input: &[u8], limits: &RequestLimits) -> Verdict {
    let whole = parse_with(&[input], limits);
    for cut in 0..=input.len() {
        let split = parse_with(&[&input[..cut], &input[cut..]], limits);
        assert_eq!(split, whole, "cut at {cut}: {}", input.escape_ascii());
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    if whole != Verdict::Partial {
        assert_eq!(parse_with(&bytes, limits), whole, "byte by byte: {}", input.escape_ascii());
    }
    whole
}

fn with_head<R>(input: &str, check: impl FnOnce(&RequestHead<'_>, usize) -> R) -> R {
    let mut scratch = [0; 9000];
    match parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default()) {
        Parsed::Complete { head, len } => check(&head, len),
        other => panic!("{input:?}: {other:?}"),
    }
}

#[test]
fn a_simple_request() {
    let input = "GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nAccept: */*\r\n\r\nGET";
    with_head(input, |head, len| {
        assert_eq!(len, input.len() - 3);
        assert_eq!(head.method, Method::Get);
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.form, TargetForm::Origin);
        assert_eq!((head.path, head.raw_path(), head.query()), ("/a/b", "/a/b", Some("c=d")));
        assert_eq!((head.host, head.port), (&b"Example.com"[..], NonZeroU16::new(8080)));
        assert_eq!(head.framing, Framing::None);
        assert!(head.keep_alive() && !head.expects_continue() && !head.present.any(Present::REWRITTEN));
        assert_eq!(head.fields.get("accept"), Some(&b"*/*"[..]));
        assert_eq!(head.fields.into_iter().count(), 2);
    });
}

#[test]
fn methods() {
    for (token, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("PATCH", Method::Patch),
        ("PROPFIND", Method::Other("PROPFIND")),
        ("M-SEARCH", Method::Other("M-SEARCH")),
        ("x", Method::Other("x")),
    ] {
        with_head(&format!("{token} / HTTP/1.1\r\nHost: a\r\n\r\n"), |head, _| {
            assert_eq!(head.method, method);
            assert_eq!(head.method.as_str(), token);
        });
    }
}

#[test]
fn accepted_and_what_they_mean() {
    let chunked = Framing::Chunked;
    for (fields, framing, keep_alive, expects_continue) in [
        ("", Framing::None, true, false),
        ("Content-Length: 0\r\n", Framing::Length(0), true, false),
        ("Content-Length: 007\r\n", Framing::Length(7), true, false),
        ("content-length:\t18446744073709551615 \r\n", Framing::Length(u64::MAX), true, false),
        ("Transfer-Encoding: chunked\r\n", chunked, true, false),
        ("transfer-encoding:CHUNKED\t\r\n", chunked, true, false),
        ("Connection: close\r\n", Framing::None, false, false),
        ("Connection: Keep-Alive, Close\r\n", Framing::None, false, false),
        ("Connection: ,, close,\r\n", Framing::None, false, false),
        ("Connection: TE\r\nConnection: close\r\nTE: trailers\r\n", Framing::None, false, false),
        ("Connection:\r\n", Framing::None, true, false),
        ("Expect: 100-continue\r\nContent-Length: 1\r\n", Framing::Length(1), true, true),
        ("EXPECT: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n", chunked, true, true),
        ("X: \u{fc}\r\n", Framing::None, true, false),
        ("X:\r\nY: \t\r\n", Framing::None, true, false),
        ("Accept-Encoding: a, ,\r\n", Framing::None, true, false),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        with_head(&input, |head, len| {
            assert_eq!(
                (head.framing, head.keep_alive(), head.expects_continue(), len),
                (framing, keep_alive, expects_continue, input.len()),
                "{fields:?}"
            );
        });
        all_splits_agree(input.as_bytes(), &RequestLimits::STRICT);
    }
}

#[test]
fn http_1_0() {
    with_head("GET / HTTP/1.0\r\n\r\n", |head, _| {
        assert_eq!((head.version, head.host, head.keep_alive()), (Version::Http10, &b""[..], false));
    });
    with_head(
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
        |head, _| {
            assert_eq!((head.host, head.keep_alive(), head.expects_continue()), (&b"a"[..], true, false));
        },
    );
}

#[test]
fn target_forms() {
    with_head("GET http://a.b/c?d HTTP/1.1\r\nHost: A.B:80\r\n\r\n", |head, _| {
        assert_eq!(head.form, TargetForm::Absolute(Scheme::Http));
        assert_eq!((head.host, head.path, head.query()), (&b"a.b"[..], "/c", Some("d")));
        assert!(head.check_scheme(Scheme::Http).is_ok());
        assert_eq!(head.check_scheme(Scheme::Https).map_err(|r| r.status), Err(421));
    });
    with_head("GET HTTP://a.b HTTP/1.1\r\nHost: a.b\r\n\r\n", |head, _| {
        assert_eq!((head.path, head.raw_path(), head.query()), ("/", "/", None));
    });
    with_head("GET http://a.b?x HTTP/1.0\r\n\r\n", |head, _| {
        assert_eq!((head.host, head.path, head.query()), (&b"a.b"[..], "/", Some("x")));
    });
    with_head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", |head, _| {
        assert_eq!((head.form, head.path), (TargetForm::Asterisk, "*"));
    });
}

#[test]
fn one_empty_line_before_the_request_is_forgiven() {
    let input = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    with_head(input, |_, len| assert_eq!(len, input.len()));
    all_splits_agree(input.as_bytes(), &RequestLimits::STRICT);
}

/// Whole requests, each with the status and reason of its refusal.
fn refused() -> Vec<(Vec<u8>, u16, &'static str)> {
    let mut all: Vec<(Vec<u8>, u16, &'static str)> = Vec::new();
    // Request lines.
    for (line, status, reason) in [
        (" GET / HTTP/1.1", 400, "Verb"),
        ("G@T / HTTP/1.1", 400, "Verb"),
        ("GET\t/ HTTP/1.1", 400, "Verb"),
        ("GE\0T / HTTP/1.1", 400, "Verb"),
        ("get / HTTP/1.1", 400, "Verb"),
        ("Connect / HTTP/1.1", 400, "Verb"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", 400, "Verb"),
        ("CONNECT a:443 HTTP/1.1", 501, "N/I"),
        ("TRACE / HTTP/1.1", 501, "N/I"),
        ("GET  / HTTP/1.1", 400, "URL"),
        ("GET /  HTTP/1.1", 400, "BadRequest"),
        ("GET /\tHTTP/1.1", 400, "URL"),
        ("GET / HTTP/1.1 ", 400, "Invalid_CR/LF"),
        ("GET /", 400, "BadRequest"),
        ("GET", 400, "Verb"),
        ("GET / http/1.1", 400, "BadRequest"),
        ("GET / HTTP/1.1.1", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.2", 505, "Version_N/S"),
        ("GET / HTTP/2.0", 505, "Version_N/S"),
        ("GET / HTTP/0.9", 505, "Version_N/S"),
        ("GET / HTTP/11", 505, "Version_N/S"),
        ("PRI * HTTP/2.0", 505, "Version_N/S"),
        ("GET / HTTQ/1.1", 400, "BadRequest"),
        ("GET a HTTP/1.1", 400, "URL"),
        ("GET ?a HTTP/1.1", 400, "URL"),
        ("GET * HTTP/1.1", 400, "URL"),
        ("GET ftp://a/ HTTP/1.1", 400, "URL"),
        ("GET http:///a HTTP/1.1", 400, "Hostname"),
        ("GET http://b/ HTTP/1.1", 400, "Hostname"),
        ("GET http://a:81/ HTTP/1.1", 400, "Hostname"),
        ("GET http://u@a/ HTTP/1.1", 400, "Hostname"),
        ("GET https://a:80/ HTTP/1.1", 400, "Hostname"),
        ("GET /a#b HTTP/1.1", 400, "URL"),
        ("GET /a\\b HTTP/1.1", 400, "URL"),
        ("GET /a\"b HTTP/1.1", 400, "URL"),
        ("GET /<a> HTTP/1.1", 400, "URL"),
        ("GET /\u{fc} HTTP/1.1", 400, "URL"),
        ("GET /\x01 HTTP/1.1", 400, "URL"),
        ("GET /\x7f HTTP/1.1", 400, "URL"),
        ("GET /% HTTP/1.1", 400, "URL"),
        ("GET /%4 HTTP/1.1", 400, "URL"),
        ("GET /%4g HTTP/1.1", 400, "URL"),
        ("GET /%u0041 HTTP/1.1", 400, "URL"),
        ("GET /%00 HTTP/1.1", 400, "URL"),
        ("GET /%0d%0a HTTP/1.1", 400, "URL"),
        ("GET /%7F HTTP/1.1", 400, "URL"),
        ("GET /%C2%85 HTTP/1.1", 400, "URL"),
        ("GET /%FF HTTP/1.1", 400, "URL"),
        ("GET /%C0%AF HTTP/1.1", 400, "URL"),
        ("GET /%E0%80%AF HTTP/1.1", 400, "URL"),
        ("GET /%ED%A0%80 HTTP/1.1", 400, "URL"),
        ("GET /%5C HTTP/1.1", 403, "Forbidden"),
        ("GET /%2541 HTTP/1.1", 403, "Forbidden"),
        ("GET /%252e%252e/ HTTP/1.1", 403, "Forbidden"),
        ("GET /%25u0041 HTTP/1.1", 403, "Forbidden"),
        ("GET /%25%34%31 HTTP/1.1", 403, "Forbidden"),
        ("GET /%25a%41 HTTP/1.1", 403, "Forbidden"),
        ("GET /%25%2541 HTTP/1.1", 403, "Forbidden"),
        ("GET /%25x%252F HTTP/1.1", 403, "Forbidden"),
        ("GET /.. HTTP/1.1", 403, "Forbidden"),
        ("GET /../a HTTP/1.1", 403, "Forbidden"),
        ("GET /a/../../b HTTP/1.1", 403, "Forbidden"),
        ("GET /%2e%2E/a HTTP/1.1", 403, "Forbidden"),
        ("GET /a/..%2f..%2fb HTTP/1.1", 403, "Forbidden"),
        ("GET /a%2f../b HTTP/1.1", 403, "Forbidden"),
        ("GET /a/..;x/b HTTP/1.1", 403, "Forbidden"),
        ("GET /a/%2e;/b HTTP/1.1", 403, "Forbidden"),
        ("GET /?a=% HTTP/1.1", 400, "URL"),
        ("GET /?a=%u1234 HTTP/1.1", 400, "URL"),
        ("GET /?a=\"b\" HTTP/1.1", 400, "URL"),
        ("GET /?a=<b> HTTP/1.1", 400, "URL"),
        ("GET /?a#b HTTP/1.1", 400, "URL"),
        ("GET /?\u{fc} HTTP/1.1", 400, "URL"),
    ] {
        all.push((format!("{line}\r\nHost: a\r\n\r\n").into(), status, reason));
    }
    // Fields beside a good Host.
    for (fields, status, reason) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", 400, "Header"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400, "Header"),
        ("Content-Length: 1\r\nContent-Length: 2", 400, "Number"),
        ("Content-Length: 1\r\nContent-Length: 1", 400, "Number"),
        ("Content-Length: 1, 1", 400, "Number"),
        ("Content-Length: 1,2", 400, "Number"),
        ("Content-Length: +1", 400, "Number"),
        ("Content-Length: -1", 400, "Number"),
        ("Content-Length: 0x1", 400, "Number"),
        ("Content-Length: 1 1", 400, "Number"),
        ("Content-Length: 1.0", 400, "Number"),
        ("Content-Length:", 400, "Number"),
        ("Content-Length: 18446744073709551616", 400, "Number"),
        ("Content-Length: 99999999999999999999999", 400, "Number"),
        ("Content-Length: \u{661}", 400, "Number"),
        ("Content_Length: 1", 400, "Header"),
        ("Transfer_Encoding: chunked", 400, "Header"),
        ("Transfer-Encoding: chunked, chunked", 400, "Header"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, "Header"),
        ("Transfer-Encoding: chunked, gzip", 400, "Header"),
        ("Transfer-Encoding:", 400, "Header"),
        ("Transfer-Encoding: ,", 400, "Header"),
        ("Transfer-Encoding: gzip", 501, "N/I"),
        ("Transfer-Encoding: gzip, chunked", 501, "N/I"),
        ("Transfer-Encoding: identity", 501, "N/I"),
        ("Transfer-Encoding: xchunked", 501, "N/I"),
        ("Transfer-Encoding: \"chunked\"", 501, "N/I"),
        ("Transfer-Encoding: chunked;a=b", 501, "N/I"),
        ("Host: a", 400, "Hostname"),
        ("Host: b", 400, "Hostname"),
        ("Expect: 101-more", 417, "Header"),
        ("Expect: 100-continue, x", 417, "Header"),
        ("Connection: host", 400, "Header"),
        ("Connection: close, Content-Length", 400, "Header"),
        ("Connection: a b", 400, "Header"),
        ("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", 400, "Header"),
        ("X : 1", 400, "Header"),
        ("X\t: 1", 400, "Header"),
        (" X: 1", 400, "Header"),
        (": 1", 400, "Header"),
        ("X", 400, "Header"),
        ("X(: 1", 400, "Header"),
        ("X\u{fc}: 1", 400, "Header"),
        ("X: a\0b", 400, "Header"),
        ("X: a\x1bb", 400, "Header"),
        ("X: a\x7fb", 400, "Header"),
        ("X: a\r\n b", 400, "Header"),
        ("X: a\r\n\tb", 400, "Header"),
        ("X: a\rb", 400, "Invalid_CR/LF"),
        ("X: a\r\rY: b", 400, "Invalid_CR/LF"),
        ("X: a\nY: b", 400, "Invalid_CR/LF"),
        ("X:\nY: b", 400, "Invalid_CR/LF"),
        ("X\rY: b", 400, "Header"),
    ] {
        all.push((format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into(), status, reason));
    }
    let again = "Connection: keep-alive\r\n".repeat(17);
    all.push((format!("GET / HTTP/1.1\r\nHost: a\r\n{again}\r\n").into(), 400, "Header"));
    // Hosts.
    for host in [
        "",
        "a b",
        "a,b",
        "a/b",
        "a@b",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "a:1x",
        "a:000080",
        "a:1:2",
        ".",
        ".a",
        "a..b",
        "a%41",
        "\u{fc}",
        "[",
        "[]",
        "[::1",
        "[::1]x",
        "[::g]",
        "[1.2.3.4]",
        "[::1%25eth0]",
        "[v1.a]",
        "::1",
        "*",
        "a\tb",
    ] {
        all.push((format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into(), 400, "Hostname"));
    }
    for label in ["a".repeat(64), "a.".repeat(128)] {
        all.push((format!("GET / HTTP/1.1\r\nHost: {label}\r\n\r\n").into(), 400, "Hostname"));
    }
    // Whole requests.
    for (input, status, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "Hostname"),
        ("GET / HTTP/1.1\r\nX: a\r\n\r\n", 400, "Hostname"),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400, "Hostname"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "Header"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.1\r\nHost: a\n\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.0\n\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.0\r\n\n", 400, "Invalid_CR/LF"),
        ("GET / HTTP/1.0\r\n\rX\r\n\r\n", 400, "Invalid_CR/LF"),
    ] {
        all.push((input.into(), status, reason));
    }
    all
}

#[test]
fn refusals() {
    for (input, status, reason) in refused() {
        assert_eq!(verdict(&input), Verdict::Refused(status, reason), "{}", input.escape_ascii());
    }
}

#[test]
fn refusals_do_not_depend_on_splits() {
    for (input, ..) in refused() {
        all_splits_agree(&input, &RequestLimits::STRICT);
    }
}

#[test]
fn paths() {
    for (raw, path, rewritten) in [
        ("/", "/", false),
        ("/a/b/", "/a/b/", false),
        ("//a//b", "//a//b", false),
        ("/.well-known/x", "/.well-known/x", false),
        ("/...", "/...", false),
        ("/a.b/..c", "/a.b/..c", false),
        ("/%41%7a", "/Az", false),
        ("/%C3%BC", "/\u{fc}", false),
        ("/a%20b", "/a b", false),
        ("/a%2Fb", "/a%2Fb", false),
        ("/a%2fb", "/a%2Fb", false),
        ("/100%25", "/100%", false),
        ("/a/.", "/a/", true),
        ("/a/./b", "/a/b", true),
        ("/a/..", "/", true),
        ("/a/../b", "/b", true),
        ("/a/b/../../c/", "/c/", true),
        ("/a/%2e%2e/b", "/b", true),
        ("/a//../b", "/a/b", true),
        ("/./", "/", true),
        ("/.", "/", true),
        ("/a|b^[c]", "/a|b^[c]", false),
        ("/%3Fa%23", "/?a#", false),
    ] {
        with_head(&format!("GET {raw}?q HTTP/1.1\r\nHost: a\r\n\r\n"), |head, _| {
            assert_eq!((head.path, head.present.any(Present::REWRITTEN)), (path, rewritten), "{raw}");
            assert_eq!((head.raw_path(), head.query()), (raw, Some("q")), "{raw}");
        });
    }
}

/// A head of this length.
fn padded(start: &str, len: usize) -> String {
    format!("{start}{}\r\n\r\n", "x".repeat(len - 4 - start.len()))
}

#[test]
fn limits() {
    let limits = RequestLimits {
        max_request_bytes: 200,
        max_field_length: 20,
        max_fields: 3,
        max_url_length: 40,
        url_segment_max_length: 10,
        url_segment_max_count: 3,
        ..RequestLimits::STRICT
    };
    let request = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let check = |input: &str, refusal: Option<(u16, &'static str)>| match (
        all_splits_agree(input.as_bytes(), &limits),
        refusal,
    ) {
        (Verdict::Complete(..), None) => {}
        (Verdict::Refused(status, reason), Some(expected)) => {
            assert_eq!((status, reason), expected, "{input:?}");
        }
        (verdict, _) => panic!("{verdict:?}: {input:?}"),
    };
    check(&request("/a234567890/b/c", ""), None);
    check(&request("/a2345678901", ""), Some((400, "URL")));
    check(&request("/a2345678%31", ""), None);
    check(&request("/a2345678901%31", ""), Some((400, "URL")));
    check(&request("/a/b/c/d", ""), Some((400, "URL")));
    check(&request("/a/b/c/%64", ""), Some((400, "URL")));
    check(&request("/a/b/c/../d", ""), None);
    check(&request(&format!("/?{}", "a".repeat(38)), ""), None);
    check(&request(&format!("/?{}", "a".repeat(39)), ""), Some((414, "URL_Length")));
    check(&request("/", "X: 45678901234567890\r\n"), None);
    check(&request("/", "X: 456789012345678901\r\n"), Some((431, "FieldLength")));
    check(&request("/", "X: 1\r\nX: 2\r\n"), None);
    check(&request("/", "X: 1\r\nX: 2\r\nX: 3\r\n"), Some((431, "RequestLength")));
    let head = |len: usize| padded("GET / HTTP/1.0\r\nX:", len);
    let roomy = RequestLimits { max_field_length: 1000, ..limits.clone() };
    assert!(matches!(all_splits_agree(head(200).as_bytes(), &roomy), Verdict::Complete(_, 200)));
    for len in [201, 202, 1000] {
        assert_eq!(all_splits_agree(head(len).as_bytes(), &roomy), Verdict::Refused(431, "RequestLength"));
    }
    let endless = format!("GET /{}", "a".repeat(500));
    assert_eq!(all_splits_agree(endless.as_bytes(), &roomy), Verdict::Refused(414, "URL_Length"));
    let compat = RequestLimits { oversized_head_is_400: true, ..roomy };
    assert_eq!(all_splits_agree(head(201).as_bytes(), &compat), Verdict::Refused(400, "RequestLength"));
}

/// CVE-2026-47291: sixteen bits were not enough for the length of a head.
#[test]
fn heads_around_sixteen_bits() {
    let limits =
        RequestLimits { max_request_bytes: 16 << 20, max_field_length: 1 << 20, ..RequestLimits::STRICT };
    for len in [65_533, 65_534, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073] {
        let input = padded("GET / HTTP/1.1\r\nHost: a\r\nX:", len);
        let Verdict::Complete(_, complete) = parse_with(&[input.as_bytes()], &limits) else {
            panic!("{len}")
        };
        assert_eq!(complete, len);
        assert_eq!(verdict(input.as_bytes()), Verdict::Refused(431, "RequestLength"));
    }
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(parse_with(&[many.as_bytes()], &limits), Verdict::Refused(431, "RequestLength"));
}

#[test]
fn the_compat_profile_is_lenient_about_queries_only() {
    let input = |target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let compat = |target| parse_with(&[input(target).as_bytes()], &RequestLimits::HTTP_SYS);
    assert!(matches!(compat("/?q=50%&x=\"a\""), Verdict::Complete(..)));
    assert_eq!(compat("/?a#b"), Verdict::Refused(400, "URL"));
    assert_eq!(compat("/%u0041"), Verdict::Refused(400, "URL"));
}

#[test]
fn dripping_costs_little() {
    // A head of 16 KiB, byte by byte: if it were parsed each time, this would take minutes.
    let input = padded("GET / HTTP/1.1\r\nHost: a\r\nX: ", 8000);
    let input = input.as_bytes();
    let mut progress = Progress::default();
    let mut scratch = [0; 9000];
    let mut parses = 0;
    for len in 1..input.len() {
        let before = progress.parsed;
        let parsed = parse(&input[..len], &RequestLimits::STRICT, &mut scratch, &mut progress);
        assert!(matches!(parsed, Parsed::Partial));
        parses += usize::from(progress.parsed != before);
    }
    assert!(parses <= 16, "{parses}");
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/",
        "..",
        ".",
        "%2e",
        "%2F",
        "%25",
        "%C3%BC",
        "a",
        "?",
        "b=c",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\n",
        "\r",
        "Host: a",
        "Host: b:8",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: ",
        "close",
        ",",
        ": ",
        "X",
        "\t",
        " ",
        "http://",
        "\u{fc}",
        "\0",
        "\r\n\r\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_survived(input: Vec<u8>) {
        verdict(&input);
    }

    #[test]
    fn splits_do_not_matter(mut input in any_request(), start: bool) {
        if start {
            input.splice(0..0, *b"GET / HTTP/1.1\r\nHost: a\r\n");
        }
        input.extend_from_slice(b"\r\n\r\n");
        all_splits_agree(&input, &RequestLimits::STRICT);
    }

    #[test]
    fn normalising_twice_changes_nothing(path in "(/|a|b|\\.|%2e|%2E|%41|%20|%2F|%25){1,16}") {
        let request = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut scratch = [0; 9000];
        let mut again = [0; 9000];
        let input = request(&path);
        let parsed = parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default());
        if let Parsed::Complete { head, .. } = parsed {
            prop_assert!(head.path.starts_with('/'));
            prop_assert!(head.path.split('/').all(|s| s != "." && s != ".."));
            let encoded = head.path.replace("%2F", "\0").replace('%', "%25").replace(' ', "%20").replace('\0', "%2F");
            let input = request(encoded.strip_prefix('/').unwrap());
            match parse(input.as_bytes(), &RequestLimits::STRICT, &mut again, &mut Progress::default()) {
                Parsed::Complete { head: second, .. } => {
                    prop_assert_eq!(second.path, head.path);
                    prop_assert!(!second.present.any(Present::REWRITTEN));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

#[test]
fn trace_only_where_it_is_allowed() {
    let limits = RequestLimits { trace: true, ..RequestLimits::STRICT };
    let trace = |rest: &str| format!("TRACE / HTTP/1.1\r\nHost: a\r\n{rest}\r\n").into_bytes();
    assert_eq!(verdict(&trace("")), Verdict::Refused(501, "N/I"));
    assert!(matches!(all_splits_agree(&trace(""), &limits), Verdict::Complete(..)));
    for content in ["Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        assert_eq!(all_splits_agree(&trace(content), &limits), Verdict::Refused(400, "BadRequest"));
    }
    let connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    assert_eq!(all_splits_agree(connect, &limits), Verdict::Refused(501, "N/I"));
}

/// Inputs that HTTP.sys accepts by default or by a registry value, but its profile here does not.
#[test]
fn leniencies_of_http_sys_that_are_not_offered() {
    for (registry, input, reason) in [
        ("AllowRestrictedChars", "GET /%01 HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("AllowRestrictedChars", "GET /%C2%80 HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("AllowUnEscapedRestrictedChars", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("AllowUnEscapedRestrictedChars", "GET /?\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("AllowWeakHeaderNameSyntax", "GET / HTTP/1.1\r\nHost: a\r\nX?: b\r\n\r\n", "Header"),
        ("AllowWeakHeaderValueSyntax", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", "Header"),
        ("AllowCaseInsensitiveVerbs", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "Verb"),
        ("EnableNonUTF8", "GET /%FC HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("FavorUTF8", "GET /%C0%AF HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("PercentUAllowed", "GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n", "URL"),
        ("bare LF", "GET / HTTP/1.1\nHost: a\n\n", "Invalid_CR/LF"),
        ("white space before a field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "Header"),
    ] {
        let found = all_splits_agree(input.as_bytes(), &RequestLimits::HTTP_SYS);
        assert_eq!(found, Verdict::Refused(400, reason), "{registry}: {}", input.escape_debug());
    }
}

/// Inputs that the HTTP.sys profile accepts and the strict one does not.
#[test]
fn leniencies_of_http_sys_that_are_offered() {
    let long = format!("GET /{}/ HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(260));
    let deep = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", "/x".repeat(255));
    let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    let query = "GET /?a=%zz&b=\"<> HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99));
    for input in [long, deep, field, query, fields] {
        let verdict = |limits| parse_with(&[input.as_bytes()], limits);
        assert!(matches!(verdict(&RequestLimits::HTTP_SYS), Verdict::Complete(..)), "{input:.60}");
        assert!(matches!(verdict(&RequestLimits::STRICT), Verdict::Refused(..)), "{input:.60}");
    }
}
