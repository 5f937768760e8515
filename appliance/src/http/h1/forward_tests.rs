use super::*;
use crate::http::h1::request::{Parsed, Progress, parse};
use crate::http::{Method, RequestLimits};
use core::net::IpAddr;
use model::url::Scheme;

const LOCAL: (IpAddr, u16) = (IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 65)), 80);
const CLIENT: Forwarded =
    Forwarded::new(IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1)), LOCAL, Scheme::Http);

fn forwarded_as(input: &str, client: &Forwarded) -> String {
    let mut scratch = [0; 9000];
    let Parsed::Complete { head, .. } =
        parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default())
    else {
        panic!("{input:?}");
    };
    let mut buf = [0; 2048];
    let mut out = Sink::new(&mut buf);
    write_request(&head, client, &mut out).unwrap();
    let text = String::from_utf8(out.written().to_vec()).unwrap();
    // The output must parse and mean the same.
    let mut again = [0; 9000];
    let Parsed::Complete { head: second, len } =
        parse(text.as_bytes(), &RequestLimits::STRICT, &mut again, &mut Progress::default())
    else {
        panic!("{text:?}");
    };
    assert_eq!(len, text.len());
    assert_eq!((second.method, second.path, second.query()), (head.method, head.path, head.query()));
    if !head.host.is_empty() {
        assert_eq!((second.host, second.port), (head.host, head.port));
    }
    assert_eq!(second.framing, head.framing);
    assert_eq!(second.method == Method::Get, head.method == Method::Get);
    text
}

fn forwarded(input: &str) -> String {
    forwarded_as(input, &CLIENT)
}

#[test]
fn a_whole_head() {
    assert_eq!(
        forwarded(
            "POST http://a:8080/x%20y/?q=%31 HTTP/1.1\r\nAccept: */*\r\nHost: A:8080\r\nContent-Length: 5\r\n\
             Cookie: a\r\ncookie: b\r\nEmpty:\r\n\r\n"
        ),
        "POST /x%20y/?q=%31 HTTP/1.1\r\nHost: a:8080\r\nAccept: */*\r\nCookie: a\r\ncookie: b\r\nEmpty: \r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:8080\r\nX-Forwarded-Port: 8080\r\n\
         Forwarded: for=192.0.2.1;proto=http;host=\"a:8080\"\r\nVia: 1.1 weir\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn hop_by_hop_fields_are_not_forwarded() {
    let text = forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, keep-alive, te\r\nconnection: ,x-two\r\nX-Hop: secret\r\n\
         X-TWO: secret\r\nKeep-Alive: secret\r\nTE: secret\r\nTrailer: secret\r\nUpgrade: secret\r\n\
         Proxy-Connection: secret\r\nTransfer-Encoding: chunked\r\nX-Three: kept\r\n\r\n",
    );
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("connection"), "{text}");
    assert!(text.contains("X-Three: kept\r\n"));
    assert_eq!(text.matches("Transfer-Encoding: chunked\r\n").count(), 1);
}

#[test]
fn the_last_of_many_connection_options_counts() {
    let options = "Connection: keep-alive\r\n".repeat(15);
    let text = forwarded(&format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{options}Connection: x-hop\r\nX-Hop: secret\r\n\r\n"
    ));
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn clients_cannot_set_reserved_fields() {
    let text = forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=evil\r\nX-Forwarded-For: evil\r\nx_forwarded_for: evil\r\n\
         X-Forwarded-Proto: evil\r\nX-Forwarded_Host: evil\r\nX-Forwarded-Anything: evil\r\nX-Real-IP: evil\r\n\
         Proxy: evil\r\nX-Forward: kept\r\n\r\n",
    );
    assert!(!text.contains("evil"), "{text}");
    assert!(text.contains("X-Forward: kept\r\n"));
}

#[test]
fn fields_that_name_another_target_are_withheld() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\nX-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nx_rewrite_url: /evil\r\n\
                 X-Original-Host: evil\r\nX-HTTP-Method-Override: EVIL\r\nSCRIPT_NAME: /evil\r\nX-Url-Scheme: evil\r\n\r\n";
    let text = forwarded(input);
    assert!(!text.to_ascii_lowercase().contains("evil"), "{text}");
    let fields = ["x-rewrite-url".to_owned(), "x-url-scheme".to_owned()];
    let text = forwarded_as(input, &Forwarded { fields: &fields, ..CLIENT });
    // In its exact spelling only, and never for reserved fields.
    assert!(text.contains("\r\nX-Rewrite-URL: /evil\r\n"), "{text}");
    assert_eq!(text.to_ascii_lowercase().matches("evil").count(), 1, "{text}");
}

#[test]
fn the_local_address_replaces_a_missing_host() {
    let input = "GET /a HTTP/1.0\r\n\r\n";
    let at = |local, scheme| forwarded_as(input, &Forwarded { local, scheme, ..CLIENT });
    let text = at(LOCAL, Scheme::Http);
    assert!(text.starts_with("GET /a HTTP/1.1\r\nHost: 192.0.2.65\r\n"), "{text}");
    assert!(text.contains("X-Forwarded-Host: 192.0.2.65\r\nX-Forwarded-Port: 80\r\n"), "{text}");
    assert!(text.contains(";host=\"192.0.2.65\"\r\n"), "{text}");
    let text = at((LOCAL.0, 8080), Scheme::Http);
    assert!(text.contains("Host: 192.0.2.65:8080\r\n") && text.contains("-Port: 8080\r\n"), "{text}");
    let text = at(("2001:db8::1".parse().unwrap(), 443), Scheme::Https);
    assert!(text.contains("\r\nHost: [2001:db8::1]\r\n"), "{text}");
}

#[test]
fn protocols_that_are_not_allowed_do_not_go_on() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n\
                 HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let text = forwarded(input).to_ascii_lowercase();
    assert!(!text.contains("upgrade") && !text.contains("http2"), "{text}");
    let allowed = ["websocket".to_owned()];
    let text = forwarded_as(input, &Forwarded { upgrade: &allowed, ..CLIENT });
    assert!(text.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("http2") && !text.contains("h2c"), "{text}");
    // Dropped even if Connection does not name it.
    let text = forwarded("GET / HTTP/1.1\r\nHost: a\r\nHTTP2-Settings: AAMA\r\nHTTP2_Settings: AAMA\r\n\r\n");
    assert!(!text.contains("AAMA"), "{text}");
}

#[test]
fn expectations_go_on_unless_we_answered_them() {
    let input = "PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert!(!forwarded(input).contains("Expect"));
    assert!(
        forwarded_as(input, &Forwarded { expect_answered: false, ..CLIENT })
            .contains("Expect: 100-continue\r\n")
    );
    let old = input.replace("1.1", "1.0");
    assert!(!forwarded_as(&old, &Forwarded { expect_answered: false, ..CLIENT }).contains("Expect"));
}

#[test]
fn targets() {
    for (target, written) in [
        ("/a%2fb", "/a%2fb"),
        ("/%7Ea?x=y?z", "/%7Ea?x=y?z"),
        ("/a/../b", "/b"),
        ("/a/%2e%2e/%C3%BC%20%2f%25/", "/%C3%BC%20%2F%25/"),
        ("/a/./b?..", "/a/b?.."),
        ("http://a?x", "/?x"),
    ] {
        let text = forwarded(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(text.starts_with(&format!("GET {written} HTTP/1.1\r\n")), "{target}: {text}");
    }
    assert!(forwarded("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("OPTIONS * HTTP/1.1\r\n"));
}

#[test]
fn ipv6_clients() {
    let client = "2001:db8::1".parse().unwrap();
    let text = forwarded_as(
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        &Forwarded { client, scheme: Scheme::Https, ..CLIENT },
    );
    assert!(text.contains("X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n"));
    assert!(text.contains("Forwarded: for=\"[2001:db8::1]\";proto=https;host=\"[::1]:80\"\r\n"));
}

#[test]
fn a_head_that_does_not_fit_is_an_error() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let whole = forwarded(input).len();
    let mut scratch = [0; 9000];
    let Parsed::Complete { head, .. } =
        parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default())
    else {
        panic!();
    };
    for len in 0..whole {
        let mut buf = vec![0; len];
        assert_eq!(write_request(&head, &CLIENT, &mut Sink::new(&mut buf)), Err(Overflow), "{len}");
    }
}

#[test]
fn max_forwards_counts_down() {
    let over =
        |method: &str, fields: &str| forwarded(&format!("{method} /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert!(over("OPTIONS", "Max-Forwards: 10\r\n").contains("\r\nMax-Forwards: 9\r\n"));
    for (method, fields) in [("GET", "Max-Forwards: 10\r\n"), ("OPTIONS", "Max-Forwards: x\r\n")] {
        assert!(over(method, fields).contains(fields), "{method} {fields}");
    }
}
