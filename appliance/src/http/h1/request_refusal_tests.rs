//! Request heads that are refused, with status and reason.

use super::*;

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
    // Fields next to a valid Host.
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
