//! Forwarding of requests, and proxies in front.

use super::tests::{SITE, check_text, refuse};
use model::settings::{ClientField, Network, Passthrough};

#[test]
fn what_is_passed_on() {
    let passing = |lines: &str| {
        let config = check_text(&format!("{SITE}{lines}")).expect(lines);
        config.settings().sites[0].prefixes[0].passthrough.clone()
    };
    assert_eq!(passing(""), Passthrough::default());
    assert_eq!(passing("").upgrade, ["websocket"]);
    let all = "upgrade = [\"WebSocket\", \"tcp\"]\npass_fields = [\"X-Rewrite-URL\"]\npaths = \"as-is\"\n";
    let expected = Passthrough {
        upgrade: vec!["websocket".into(), "tcp".into()],
        fields: vec!["x-rewrite-url".into()],
        as_is: true,
    };
    assert_eq!(passing(all), expected);
    assert!(passing("upgrade = []\npaths = \"unambiguous\"\n").upgrade.is_empty());
    refuse(
        SITE,
        &[
            (
                "upgrade = [\"websocket\", \"h2c\"]\n",
                (6, 25),
                "upgrade \"h2c\", never allowed: requests inside it",
            ),
            ("upgrade = [\"TLS/1.2\"]\n", (6, 12), "upgrade \"TLS/1.2\", never"),
            ("upgrade = [\"HTTP/2.0\"]\n", (6, 12), "upgrade \"HTTP/2.0\", never"),
            ("upgrade = [\"\"]\n", (6, 12), "upgrade \"\", not a protocol name"),
            ("upgrade = [\"a b\"]\n", (6, 12), "upgrade \"a b\", not a protocol name"),
            ("pass_fields = [\"X-Real-IP\"]\n", (6, 16), "pass_fields \"X-Real-IP\""),
            ("pass_fields = [\"Cookie\"]\n", (6, 16), "pass_fields \"Cookie\""),
            ("pass_fields = [\"X_Rewrite_URL\"]\n", (6, 16), "pass_fields \"X_Rewrite_URL\""),
            ("paths = \"asis\"\n", (6, 9), "paths \"asis\", expected \"unambiguous\""),
        ],
    );
}

#[test]
fn prefixes_that_servers_read_in_several_ways() {
    let site = "[[site]]\nname = \"a\"\n[[site.prefix]]\nfiles = \"www\"\n";
    refuse(
        site,
        &[
            ("url = \"http://*:80/a;b/\"\n", (5, 7), "path \"/a;b/\" is interpreted differently"),
            ("url = \"http://*:80/a./\"\n", (5, 7), "path \"/a./\""),
            ("url = \"http://*:80/a::$b/\"\n", (5, 7), "path \"/a::$b/\""),
        ],
    );
    check_text(&format!("{site}url = \"http://*:80/caf\u{e9}/\"\n")).expect("one reading");
    check_text(&format!("{site}url = \"http://*:80/a;b/\"\npaths = \"as-is\"\n")).expect("as it is");
}

#[test]
fn proxies_in_front() {
    let text = format!(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"fd00::/8\"]\nclient_field = \"forwarded\"\n\
         proxy_protocol = [80]\n{SITE}"
    );
    let trust = check_text(&text).expect("right").settings().server.trust;
    let network =
        |address: &str, len| Network::new(address.parse().expect("an address"), len).expect("a network");
    assert_eq!(trust.networks, [network("10.0.0.0", 8), network("192.0.2.7", 32), network("fd00::", 8)]);
    assert_eq!((trust.field, &trust.proxy_protocol[..]), (ClientField::Forwarded, &[80][..]));
    for (line, at, what) in [
        ("trusted_proxies = [\"10.0.0.1/8\"]", (7, 20), "trusted_proxies \"10.0.0.1/8\", expected"),
        ("trusted_proxies = [\"10.0.0.0/33\"]", (7, 20), "trusted_proxies \"10.0.0.0/33\""),
        ("trusted_proxies = [\"10.0.0.0/+8\"]", (7, 20), "trusted_proxies \"10.0.0.0/+8\""),
        ("trusted_proxies = [\"proxy.test\"]", (7, 20), "trusted_proxies \"proxy.test\""),
        ("client_field = \"X-Real-IP\"", (7, 16), "client_field \"X-Real-IP\", expected \"X-Forwarded-For\""),
        ("proxy_protocol = [80]", (7, 19), "proxy_protocol without trusted_proxies, expected"),
        (
            "trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = [81]",
            (8, 19),
            "proxy_protocol 81, expected the port",
        ),
    ] {
        refuse(SITE, &[(&format!("[server]\n{line}\n"), at, what)]);
    }
}
