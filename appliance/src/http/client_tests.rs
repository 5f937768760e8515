use super::*;
use crate::http::RequestLimits;
use crate::http::h1::request::{Parsed, Progress, parse};
use core::net::Ipv4Addr;
use model::settings::Network;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

fn trust(field: ClientField) -> Trust {
    let network = |address: &str, len| Network::new(address.parse().unwrap(), len).unwrap();
    Trust { networks: vec![network("10.0.0.0", 8), network("fd00::", 8)], field, ..Trust::default() }
}

fn with_head<R>(fields: &str, check: impl FnOnce(&RequestHead<'_>) -> R) -> R {
    let input = format!("GET / HTTP/1.1\r\nHost: shop.example:81\r\n{fields}\r\n");
    let mut scratch = [0; 9000];
    let parsed = parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default());
    let Parsed::Complete { head, .. } = parsed else { panic!("{input:?}") };
    check(&head)
}

#[test]
fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
    for (list, client) in [
        ("", "10.0.0.9"),
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.2.2.2", "203.0.113.7"),
        ("10.4.4.4, 10.3.3.3, 10.2.2.2", "10.4.4.4"),
        ("203.0.113.7, evil", "10.0.0.9"),
        ("203.0.113.7, evil, 10.2.2.2", "10.2.2.2"),
        ("evil, 203.0.113.7, fd00::1", "203.0.113.7"),
        ("203.0.113.7:4711, [fd00::1]:80", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[2001:db8::1]", "2001:db8::1"),
    ] {
        let fields = if list.is_empty() { String::new() } else { format!("X-Forwarded-For: {list}\r\n") };
        let found = with_head(&fields, |head| address(head, PEER, &trust(ClientField::XForwardedFor)));
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{list}");
    }
    let lines = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 203.0.113.7\r\nX_Forwarded_For: 2.2.2.2\r\n";
    let from = |peer: &str| {
        with_head(lines, |head| address(head, peer.parse().unwrap(), &trust(ClientField::XForwardedFor)))
    };
    assert_eq!(from("10.0.0.9"), "203.0.113.7".parse::<IpAddr>().unwrap());
    assert_eq!(from("192.0.2.1"), "192.0.2.1".parse::<IpAddr>().unwrap(), "an untrusted sender");
}

#[test]
fn the_same_in_forwarded() {
    for (list, client) in [
        ("for=203.0.113.7;proto=https", "203.0.113.7"),
        ("For=\"[2001:db8::1]:47\"; by=10.0.0.1", "2001:db8::1"),
        ("proto=http;host=\"a;for=1.1.1.1\" ;for=203.0.113.7, for=10.1.1.1", "203.0.113.7"),
        ("for=203.0.113.7, for=unknown", "10.0.0.9"),
        ("for=203.0.113.7, proto=http", "10.0.0.9"),
        ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
    ] {
        let fields = format!("Forwarded: {list}\r\nX-Forwarded-For: 9.9.9.9\r\n");
        let found = with_head(&fields, |head| address(head, PEER, &trust(ClientField::Forwarded)));
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{list}");
    }
}

#[test]
fn a_trusted_proxy_says_by_which_scheme_its_client_asked() {
    use ClientField::{Forwarded, XForwardedFor};
    for (field, fields, says_https) in [
        (XForwardedFor, "X-Forwarded-Proto: https\r\n", true),
        (XForwardedFor, "X-Forwarded-Proto: HTTPS\r\n", true),
        (XForwardedFor, "X-Forwarded-Proto: http\r\n", false),
        (XForwardedFor, "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", false),
        (XForwardedFor, "X-Forwarded-Proto: gopher\r\n", false),
        (XForwardedFor, "Forwarded: for=203.0.113.7;proto=https\r\n", false),
        (XForwardedFor, "", false),
        (Forwarded, "Forwarded: for=203.0.113.7;proto=https\r\n", true),
        (Forwarded, "Forwarded: for=203.0.113.7;Proto=\"HTTPS\"\r\n", true),
        (Forwarded, "Forwarded: for=203.0.113.7;proto=https, for=10.1.1.1;proto=http\r\n", true),
        (Forwarded, "Forwarded: for=203.0.113.7;proto=http, for=10.1.1.1;proto=https\r\n", false),
        // Written by the client itself, before its proxy named it.
        (Forwarded, "Forwarded: for=1.1.1.1;proto=https, for=203.0.113.7;proto=http\r\n", false),
        (Forwarded, "Forwarded: for=1.1.1.1;proto=https\r\nForwarded: for=203.0.113.7\r\n", false),
        (Forwarded, "Forwarded: for=203.0.113.7\r\nX-Forwarded-Proto: https\r\n", false),
        (Forwarded, "Forwarded: proto=https\r\n", false),
    ] {
        let by = |peer: &str| with_head(fields, |head| scheme(head, peer.parse().unwrap(), &trust(field)));
        assert_eq!(by("10.0.0.9") == Some(Scheme::Https), says_https, "{fields:?}");
        assert_eq!(by("192.0.2.1"), None, "an untrusted sender: {fields:?}");
    }
}
