use super::*;
use crate::http::RequestLimits;
use crate::http::client::scheme;
use crate::http::h1::forward::write_request;
use crate::http::h1::request::{Parsed, Progress, parse};
use core::net::Ipv4Addr;
use model::settings::{Network, Trust};
use model::url::Scheme;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
const LOCAL: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 8080);

/// What the worker receives, from `X-Forwarded-For` on.
fn told(fields: &str, trusted: Option<ClientField>) -> String {
    let input = format!("GET / HTTP/1.1\r\nHost: shop.example:81\r\n{fields}\r\n");
    let mut scratch = [0; 9000];
    let parsed = parse(input.as_bytes(), &RequestLimits::STRICT, &mut scratch, &mut Progress::default());
    let Parsed::Complete { head, .. } = parsed else { panic!("{input:?}") };
    let mut buf = [0; 2048];
    let mut out = Sink::new(&mut buf);
    let client_scheme = trusted.and_then(|field| {
        let networks = vec![Network::new(PEER, 32).unwrap()];
        scheme(&head, PEER, &Trust { networks, field, ..Trust::default() })
    });
    let forwarded = Forwarded { trusted, client_scheme, ..Forwarded::new(PEER, LOCAL, Scheme::Http) };
    write_request(&head, &forwarded, &mut out).unwrap();
    String::from_utf8(out.written().to_vec()).unwrap()
}

#[test]
fn workers_are_told_the_scheme_that_forwarded_names() {
    let text = told("Forwarded: for=203.0.113.7;proto=https\r\n", Some(ClientField::Forwarded));
    assert!(text.contains("\r\nX-Forwarded-Proto: https\r\n"), "{text}");
    let forged = "Forwarded: for=203.0.113.7;proto=http\r\nX-Forwarded-Proto: https\r\n";
    let text = told(forged, Some(ClientField::Forwarded));
    assert!(text.contains("\r\nX-Forwarded-Proto: http\r\n"), "{text}");
}

#[test]
fn forwarded_fields_agree() {
    let forged = "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 3.3.3.3\r\n\
                  X-Forwarded-Prefix: /evil\r\nTrue-Client-IP: 4.4.4.4\r\nFront-End-Https: on\r\n";
    assert_eq!(
        told(forged, None),
        "GET / HTTP/1.1\r\nHost: shop.example:81\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Host: shop.example:81\r\nX-Forwarded-Port: 81\r\n\
         Forwarded: for=10.0.0.9;proto=http;host=\"shop.example:81\"\r\nVia: 1.1 weir\r\n\r\n"
    );
    assert_eq!(
        told(forged, Some(ClientField::XForwardedFor)),
        "GET / HTTP/1.1\r\nHost: shop.example:81\r\nX-Forwarded-For: 1.1.1.1, 10.0.0.9\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
         Forwarded: for=1.1.1.1, for=10.0.0.9;proto=http;host=\"shop.example:81\"\r\nVia: 1.1 weir\r\n\r\n"
    );
}

#[test]
fn a_trusted_proxys_list_is_continued() {
    let text = told(
        "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2001:db8::2, x\r\n",
        Some(ClientField::XForwardedFor),
    );
    assert!(text.contains("\r\nX-Forwarded-For: 1.1.1.1, 2001:db8::2, x, 10.0.0.9\r\n"), "{text}");
    let chain = "Forwarded: for=1.1.1.1, for=\"[2001:db8::2]\", for=unknown, for=10.0.0.9;";
    assert!(text.contains(chain), "{text}");

    let fields = "Forwarded: for=1.1.1.1;proto=https\r\nForwarded: for=\"[fd00::1]:80\", for=_x, for=\"y\r\n\
                  X-Forwarded-For: 9.9.9.9\r\n";
    let text = told(fields, Some(ClientField::Forwarded));
    assert!(text.contains("\r\nX-Forwarded-For: 1.1.1.1, fd00::1, unknown, 10.0.0.9\r\n"), "{text}");
    // An element with an unclosed quotation mark would swallow the appended one.
    let chain = "Forwarded: for=1.1.1.1;proto=https, for=\"[fd00::1]:80\", for=_x, for=10.0.0.9;proto=http";
    assert!(text.contains(chain), "{text}");
}

#[test]
fn values_from_a_trusted_proxy_must_be_valid() {
    for wrong in [
        "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 0\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 70000\r\n",
        "X-Forwarded-Host: a, b\r\nX-Forwarded-Port: +1\r\n",
    ] {
        let text = told(wrong, Some(ClientField::XForwardedFor));
        let ours = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.example:81\r\nX-Forwarded-Port: 81\r\n";
        assert!(text.contains(ours), "{text}");
    }
    let text = told("X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: b\r\n", Some(ClientField::XForwardedFor));
    let theirs = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\n";
    assert!(text.contains(theirs), "{text}");
}
