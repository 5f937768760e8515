//! Request heads under different profiles and limits, and TRACE.

use super::*;

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
