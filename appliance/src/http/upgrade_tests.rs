use super::*;
use crate::http::RequestLimits;
use crate::http::h1::request::{Parsed, Progress, parse};
use crate::http::h1::response;
use crate::http::response::ResponseLimits;

fn list_of(start: &str, fields: &str, allowed: &[&str]) -> String {
    let input = format!("{start}\r\nHost: a\r\n{fields}\r\n");
    let mut scratch = [0; 9000];
    let parsed = parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default());
    let Parsed::Complete { head, .. } = parsed else { panic!("{input:?}") };
    let allowed: Vec<String> = allowed.iter().map(|&name| name.into()).collect();
    String::from_utf8(list(&head, &allowed).into_vec()).unwrap()
}

#[test]
fn only_what_is_allowed_is_asked_for() {
    let get = |upgrade: &str, allowed: &[&str]| {
        list_of("GET / HTTP/1.1", &format!("Connection: Upgrade\r\n{upgrade}\r\n"), allowed)
    };
    for (upgrade, allowed, passed) in [
        ("Upgrade: websocket", &["websocket"][..], "websocket"),
        ("Upgrade: WebSocket", &["websocket"], "WebSocket"),
        ("Upgrade: websocket/13", &["websocket"], "websocket/13"),
        ("Upgrade: websocket", &["websocket/13"], "websocket"),
        ("Upgrade: websocket/8", &["websocket/13"], ""),
        ("Upgrade: h2c", &["websocket"], ""),
        ("Upgrade: H2C, websocket", &["websocket"], "websocket"),
        ("Upgrade: websocket, h2c", &["websocket"], "websocket"),
        ("Upgrade: h2c\r\nUpgrade: websocket", &["websocket"], "websocket"),
        ("Upgrade: tcp, websocket", &["websocket", "tcp"], "tcp, websocket"),
        ("Upgrade: ,, websocket ,", &["websocket"], "websocket"),
        (
            "Upgrade: websocketx, xwebsocket, web socket, websocket;h2c, websocket/, /13, \"websocket\"",
            &["websocket"],
            "",
        ),
        ("Upgrade: \"websocket, h2c\"", &["websocket"], ""),
        ("Upgrade: websocket/13/h2c", &["websocket"], ""),
        ("Upgrade: tcp", &[], ""),
        // Even if the bundle allows them.
        ("Upgrade: h2c, TLS/1.3, HTTP/2.0, h2c-14, H2", &["h2c", "tls", "http", "h2c-14", "h2"], ""),
    ] {
        assert_eq!(get(upgrade, allowed), passed, "{upgrade}");
    }
}

#[test]
fn requests_that_may_upgrade() {
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket, tcp\r\n";
    let both = &["websocket", "tcp"];
    for (start, fields, passed) in [
        ("GET / HTTP/1.1", "", "websocket, tcp"),
        ("POST / HTTP/1.1", "", "tcp"),
        ("POST / HTTP/1.1", "Content-Length: 5\r\n", "tcp"),
        ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n", "tcp"),
        ("CHAT / HTTP/1.1", "", "tcp"),
        ("GET / HTTP/1.0", "", ""),
    ] {
        assert_eq!(list_of(start, &format!("{upgrade}{fields}"), both), passed, "{start} {fields}");
    }
    assert_eq!(list_of("GET / HTTP/1.1", "Upgrade: websocket\r\n", both), "");
    assert_eq!(list_of("GET / HTTP/1.1", "Connection: x-up\r\nUpgrade: websocket\r\n", both), "");
}

#[test]
fn names_that_can_be_allowed() {
    for good in ["websocket", "tcp", "WebSocket/13", "irc/6.9", "x-h2c"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for never in ["h2c", "H2C", "h2c/1", "h2c-16", "h2", "h3", "HTTP/2.0", "http", "TLS/1.0", "tls", "ssl"] {
        assert_eq!(check(never), Err(ProtocolError::Forbidden), "{never}");
    }
    for bad in ["", "/", "a/", "/a", "a b", "a,b", "a/b/c", "\u{e4}", "a;b", "\"a\""] {
        assert_eq!(check(bad), Err(ProtocolError::Malformed), "{bad}");
    }
}

#[test]
fn a_worker_switches_to_a_requested_protocol_only() {
    let answer = |upgrade: &str, asked: &str| {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}\r\n");
        let asked = response::RequestInfo { is_head: false, upgrade: asked.as_bytes() };
        matches!(
            response::parse_for(text.as_bytes(), asked, ResponseLimits::default()),
            response::Parsed::Complete { .. }
        )
    };
    for (upgrade, asked, holds) in [
        ("Upgrade: websocket\r\n", "websocket", true),
        ("Upgrade: WebSocket\r\n", "websocket/13", true),
        ("Upgrade: tcp\r\n", "websocket, tcp", true),
        ("Upgrade: tcp\r\n", "websocket", false),
        ("Upgrade: h2c\r\n", "websocket", false),
        ("Upgrade: websocket, h2c\r\n", "websocket", false),
        ("Upgrade: websocket/8\r\n", "websocket/13", false),
        ("Upgrade: ,\r\n", "websocket", false),
        ("Upgrade:\r\n", "websocket", false),
        ("", "websocket", false),
        ("Upgrade: websocket\r\nUpgrade: websocket\r\n", "websocket", false),
        ("Upgrade: websocket\r\n", "", false),
    ] {
        assert_eq!(answer(upgrade, asked), holds, "{upgrade:?} to {asked:?}");
    }
}
