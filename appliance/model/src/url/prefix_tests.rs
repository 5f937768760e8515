use super::*;
use proptest::prelude::*;

#[test]
fn accepted() {
    for (url, scheme, host, port, path) in [
        ("http://*:80/", Scheme::Http, PrefixHost::WeakWildcard, 80, "/"),
        ("http://+:80/api/", Scheme::Http, PrefixHost::StrongWildcard, 80, "/api/"),
        ("https://Example.COM:443/A/b/", Scheme::Https, PrefixHost::Explicit("Example.COM"), 443, "/A/b/"),
        ("http://a_b-c.x:65535/", Scheme::Http, PrefixHost::Explicit("a_b-c.x"), 65535, "/"),
        ("http://*.example.com:1/", Scheme::Http, PrefixHost::Subdomains("example.com"), 1, "/"),
        ("http://192.0.2.1:80/", Scheme::Http, PrefixHost::Ipv4(Ipv4Addr::new(192, 0, 2, 1)), 80, "/"),
        ("http://[::1]:80/", Scheme::Http, PrefixHost::Ipv6(Ipv6Addr::LOCALHOST), 80, "/"),
        ("http://*:80/\u{fc}/", Scheme::Http, PrefixHost::WeakWildcard, 80, "/\u{fc}/"),
    ] {
        assert_eq!(UrlPrefix::parse(url), Ok(UrlPrefix { scheme, host, port, path }), "{url}");
    }
}

#[test]
fn refused_with_the_place() {
    use super::PrefixErrorKind::*;
    let long_label = format!("http://{}:80/", "a".repeat(64));
    let long_name = format!("http://{}:80/", "a.".repeat(130));
    for (url, kind, position) in [
        ("", Scheme, 0),
        ("ftp://*:80/", Scheme, 0),
        ("HTTP://*:80/", Scheme, 0),
        ("http:/*:80/", Scheme, 4),
        ("http//", Scheme, 4),
        ("http://", HostMissing, 7),
        ("http://:80/", HostMissing, 7),
        ("http:///", HostMissing, 7),
        ("http://a b:80/", Host, 8),
        ("http://a*:80/", Host, 8),
        ("http://*a:80/", Host, 7),
        ("http://*.:80/", Host, 9),
        ("http://*.*.a:80/", Host, 9),
        ("http://++:80/", Host, 7),
        ("http://a..b:80/", Host, 9),
        ("http://.a:80/", Host, 7),
        ("http://a.:80/", Host, 9),
        ("http://u@a:80/", Host, 8),
        ("http://b\u{fc}cher:80/", Host, 8),
        (&long_label, HostLength, 70),
        (&long_name, HostLength, 260),
        ("http://1.2.3:80/", Address, 7),
        ("http://1.2.3.256:80/", Address, 7),
        ("http://1.2.3.04:80/", Address, 7),
        ("http://[::g]:80/", Address, 7),
        ("http://[::1:80/", Address, 7),
        ("https://[]:80/", Address, 8),
        ("http://a", PortMissing, 8),
        ("http://a/", PortMissing, 8),
        ("http://[::1]/", PortMissing, 12),
        ("http://[::1]x:80/", PortMissing, 12),
        ("http://a:/", Port, 9),
        ("http://a:0/", Port, 9),
        ("http://a:080/", Port, 9),
        ("http://a:65536/", Port, 9),
        ("http://a:8x/", Port, 10),
        ("http://a:*/", Port, 9),
        ("http://a:-1/", Port, 9),
        ("http://a:80", PathMissing, 11),
        ("http://a:80/b", PathEnd, 13),
        ("http://a:80/b?c/", Path, 13),
        ("http://a:80/%20/", Path, 12),
        ("http://a:80/b\\/", Path, 13),
        ("http://a:80/a*/", Path, 13),
        ("http://a:80/a b/", Path, 13),
        ("http://a:80//", PathSegment, 12),
        ("http://a:80/b//", PathSegment, 14),
        ("http://a:80/./", PathSegment, 12),
        ("http://a:80/a/../", PathSegment, 14),
    ] {
        assert_eq!(UrlPrefix::parse(url), Err(PrefixError { kind, position }), "{url}");
    }
}

#[test]
fn canonical_form() {
    for (url, canonical) in [
        ("http://EXAMPLE.com:80/Path/", "http://example.com:80/Path/"),
        ("http://*.EXAMPLE.com:80/", "http://*.example.com:80/"),
        ("http://[0:0::0:1]:80/", "http://[::1]:80/"),
        ("https://+:443/", "https://+:443/"),
        ("http://*:80/", "http://*:80/"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80/"),
    ] {
        assert_eq!(UrlPrefix::parse(url).unwrap().canonical(), canonical);
    }
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(url: String, tail in "http://[*+a.:0-9/\\[\\]\u{fc}]{0,20}") {
        for url in [&url, &tail] {
            match UrlPrefix::parse(url) {
                Ok(prefix) => {
                    let canonical = prefix.canonical();
                    prop_assert_eq!(UrlPrefix::parse(&canonical).unwrap().canonical(), canonical.clone());
                }
                Err(error) => prop_assert!(error.position <= url.len()),
            }
        }
    }
}
