#[path = "request_profile_tests.rs"]
mod profiles;
#[path = "request_refusal_tests.rs"]
mod refusals;

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
fn a_head_that_drips_in_costs_little() {
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
    fn arbitrary_bytes_do_not_panic(input: Vec<u8>) {
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
