use super::*;
use crate::table;
use core::net::{Ipv4Addr, Ipv6Addr};
use model::id::{PoolId, SiteId};
use model::settings::{Passthrough, Pool, Prefix, Site};
use proptest::prelude::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 65));

/// One site per prefix. Different readings of paths are tested in `readings_tests.rs`.
fn settings(urls: &[&str]) -> Settings {
    let site = |url: &&str| Site {
        name: (*url).into(),
        prefixes: vec![Prefix {
            url: (*url).into(),
            handler: Handler::Files(0),
            client_certificates: None,
            passthrough: Passthrough { as_is: true, ..Passthrough::default() },
        }],
        ..Site::default()
    };
    Settings { sites: urls.iter().map(site).collect(), ..Settings::default() }
}

fn route<'p>(router: &'p Router, host: &str, path: &'p str) -> Option<(usize, &'p str)> {
    match router.route(Scheme::Http, 80, host.as_bytes(), LOCAL, path) {
        RouteResult::Matched(found) => Some((found.site.index(), found.rest)),
        RouteResult::NoMatch | RouteResult::Ambiguous => None,
    }
}

#[test]
fn categories_in_their_order() {
    let urls = [
        "http://*:80/",
        "http://192.0.2.65:80/",
        "http://*.b.c:80/",
        "http://a.b.c:80/",
        "http://+:80/strong/",
        "http://*.c:80/",
    ];
    let router = Router::new(&settings(&urls)).unwrap();
    for (host, path, site) in [
        ("a.b.c", "/", 3),
        ("A.B.C", "/", 3),
        ("a.b.c.", "/", 3),
        ("a.b.c", "/strong/x", 4),
        ("anything", "/strong", 4),
        ("x.b.c", "/", 2),
        ("x.y.b.c", "/", 2),
        ("b.c", "/", 5),
        ("x.c", "/", 5),
        ("c", "/", 1),
        ("", "/", 1),
        ("192.0.2.65", "/", 1),
        ("other", "/stronger", 1),
    ] {
        assert_eq!(route(&router, host, path).map(|r| r.0), Some(site), "{host} {path}");
    }
    let elsewhere = router.route(Scheme::Http, 80, b"c", IpAddr::V6(Ipv6Addr::LOCALHOST), "/");
    assert!(matches!(elsewhere, RouteResult::Matched(Match { site: SiteId(0), .. })));
    // 97 is 65 in lower case, if an address were text.
    let similar = router.route(Scheme::Http, 80, b"c", IpAddr::V4(Ipv4Addr::new(192, 0, 2, 97)), "/");
    assert!(matches!(similar, RouteResult::Matched(Match { site: SiteId(0), .. })));
}

#[test]
fn the_first_category_with_a_match_decides() {
    // The weak wildcard has the longer path, but the explicit host comes first.
    let router = Router::new(&settings(&["http://*:80/a/b/", "http://h:80/a/", "http://h:80/x/"])).unwrap();
    assert_eq!(route(&router, "h", "/a/b/c"), Some((1, "/b/c")));
    assert_eq!(route(&router, "o", "/a/b/c"), Some((0, "/c")));
    assert_eq!(route(&router, "h", "/y"), None);
    // No match in one category: the next is searched.
    let router = Router::new(&settings(&["http://*:80/", "http://h:80/a/"])).unwrap();
    assert_eq!(route(&router, "h", "/b"), Some((0, "/b")));
}

#[test]
fn the_longest_prefix_of_whole_segments() {
    let router = Router::new(&settings(&[
        "http://*:80/",
        "http://*:80/dir/",
        "http://*:80/dir/sna/",
        "http://*:80/Ab/",
    ]))
    .unwrap();
    for (path, site, rest) in [
        ("/", 0, "/"),
        ("/x", 0, "/x"),
        ("/dir", 1, ""),
        ("/dir/", 1, "/"),
        ("/DIR/app.htm", 1, "/app.htm"),
        ("/direct", 0, "/direct"),
        ("/dir/sn", 1, "/sn"),
        ("/dir/snark", 1, "/snark"),
        ("/dir/sna", 2, ""),
        ("/dir/sna/fu", 2, "/fu"),
        ("/aB/c", 3, "/c"),
        ("//dir/", 0, "//dir/"),
    ] {
        assert_eq!(route(&router, "h", path), Some((site, rest)), "{path}");
    }
    assert_eq!(route(&router, "h", "*"), None);
}

#[test]
fn long_paths() {
    let url = |len: usize| format!("http://*:80/{}/", "p".repeat(len - 1));
    let urls: Vec<String> = [61, 62, 63, 64, 65, 200].map(url).into();
    let router = Router::new(&settings(&urls.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    for (site, len) in [61, 62, 63, 64, 65, 200].into_iter().enumerate() {
        assert_eq!(route(&router, "h", &format!("/{}/x", "P".repeat(len - 1))), Some((site, "/x")), "{len}");
    }
    assert_eq!(route(&router, "h", &format!("/{}/x", "P".repeat(66))), None);
}

#[test]
fn ports_and_schemes() {
    let router =
        Router::new(&settings(&["https://*:443/", "http://*:80/", "http://a:80/", "http://*:8080/x/"]))
            .unwrap();
    assert_eq!(
        router.ports().collect::<Vec<_>>(),
        [(80, Scheme::Http), (443, Scheme::Https), (8080, Scheme::Http)]
    );
    let at = |scheme, port| matches!(router.route(scheme, port, b"h", LOCAL, "/"), RouteResult::Matched(_));
    assert!(at(Scheme::Http, 80) && at(Scheme::Https, 443));
    assert!(
        !at(Scheme::Https, 80) && !at(Scheme::Http, 443) && !at(Scheme::Http, 8080) && !at(Scheme::Http, 81)
    );
}

#[test]
fn refused() {
    let error = |urls: &[&str]| Router::new(&settings(urls)).unwrap_err();
    assert!(matches!(error(&["http://*:80"]), RouterError::Prefix(0, 0, _)));
    assert_eq!(error(&["http://a:80/x/", "http://A:80/X/"]), RouterError::Duplicate(1, 0));
    assert_eq!(error(&["http://a:80/", "https://b:80/"]), RouterError::SchemeConflict(1, 0));
    let mut bad = settings(&["http://a:80/"]);
    bad.sites[0].prefixes[0].handler = Handler::Pool(PoolId(0));
    assert_eq!(Router::new(&bad).unwrap_err(), RouterError::Pool(0, 0));
    bad.pools.push(Pool { name: "p".into(), ..Pool::default() });
    assert!(Router::new(&bad).is_ok());
    assert!(Router::new(&Settings::default()).is_ok());
}

/// A slow reference implementation of the rules.
fn reference(urls: &[String], host: &str, path: &str) -> Option<usize> {
    let mut best: Option<((u8, i64, i64), usize)> = None;
    for (i, url) in urls.iter().enumerate() {
        let prefix = UrlPrefix::parse(url).unwrap();
        let below = |domain: &str| host.to_lowercase().ends_with(&format!(".{}", domain.to_lowercase()));
        let rank = match prefix.host {
            PrefixHost::StrongWildcard => (0, 0),
            PrefixHost::Explicit(name) if name.eq_ignore_ascii_case(host) => (1, 0),
            PrefixHost::Subdomains(domain) if below(domain) => (2, -(domain.len() as i64)),
            PrefixHost::Ipv4(address) if IpAddr::V4(address) == LOCAL => (3, 0),
            PrefixHost::WeakWildcard => (4, 0),
            _ => continue,
        };
        let path = format!("{}/", path.to_lowercase());
        if path.starts_with(&prefix.path.to_lowercase()) {
            let rank = (rank.0, rank.1, -(prefix.path.len() as i64));
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, i));
            }
        }
    }
    best.map(|(_, i)| i)
}

proptest! {
    #[test]
    fn agrees_with_the_rules(
        urls in prop::collection::btree_set("http://(\\+|\\*|a|b\\.a|\\*\\.a|\\*\\.b\\.a|192\\.0\\.2\\.65|192\\.0\\.2\\.1):80/((x|y|xy)/){0,3}", 1..20),
        host in "(a|B\\.a|c\\.b\\.A|d|)",
        path in "(/(x|Y|xy|)){1,5}",
    ) {
        let urls: Vec<String> = urls.into_iter().collect();
        let router = Router::new(&settings(&urls.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        prop_assert_eq!(route(&router, &host, &path).map(|r| r.0), reference(&urls, &host, &path));
    }

    #[test]
    fn arbitrary_requests_do_not_panic(host: String, path: String) {
        let router = Router::new(&settings(&["http://*:80/a/", "http://*.a:80/", "http://+:80/b/"])).unwrap();
        route(&router, &host, &path);
    }
}

#[test]
fn ten_thousand_prefixes_cost_no_more_than_ten() {
    let router = |count: usize| {
        let urls: Vec<String> = (0..count)
            .map(|n| match n % 4 {
                0 => format!("http://h{n}.example:80/"),
                1 => format!("http://www.example.com:80/a{n}/b/"),
                2 => format!("http://*.d{n}.example:80/x/"),
                _ => format!("http://*:80/p{n}/"),
            })
            .collect();
        Router::new(&settings(&urls.iter().map(String::as_str).collect::<Vec<_>>())).unwrap()
    };
    let (small, large) = (router(10), router(10_000));
    for (host, path, found) in [
        ("h4.example", "/index.html", true),
        ("www.example.com", "/a5/b/c.css", true),
        ("x.y.d6.example", "/x/y", true),
        ("nobody.example", "/p7/deep/path/to/some/file", true),
        ("nobody.example", "/nothing/here", false),
    ] {
        let compared = |router: &Router| {
            let before = table::compared();
            assert_eq!(route(router, host, path).is_some(), found, "{host}{path}");
            table::compared() - before
        };
        // A look-up compares a key only if seven bits of the hash agree.
        let (few, many) = (compared(&small), compared(&large));
        assert!(many <= few + 8, "{host}{path}: {many} comparisons, {few} among ten prefixes");
    }
}

#[test]
fn hosts_of_other_scripts_are_routed_in_their_ascii_form() {
    let router = Router::new(&settings(&["http://xn--bcher-kva.example:80/", "http://*:80/"])).unwrap();
    assert_eq!(route(&router, "XN--BCHER-KVA.example", "/").map(|r| r.0), Some(0));
    assert!(Router::new(&settings(&["http://b\u{fc}cher.example:80/"])).is_err());
}

#[test]
fn site_ids_cover_all_sites() {
    let mut all = Settings { sites: vec![Site::default(); 65_536], ..Settings::default() };
    all.sites[65_535] = settings(&["http://last.test:80/"]).sites.remove(0);
    let router = Router::new(&all).expect("as many as there may be");
    assert_eq!(route(&router, "last.test", "/"), Some((65_535, "/")));
    all.sites.push(Site::default());
    assert_eq!(Router::new(&all).unwrap_err(), RouterError::TooManySites(65_536));
}
