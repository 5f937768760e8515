use super::*;
use crate::serving::{RouteResult, Router};
use core::net::{IpAddr, Ipv4Addr};
use model::id::PoolId;
use model::settings::{ClientCertificates, Handler, Passthrough, Pool, Prefix, Settings, Site};
use model::url::Scheme;
use proptest::prelude::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 65));

fn read(path: &str, quirks: u8) -> String {
    String::from_utf8(Reading::new(path, quirks).collect()).unwrap()
}

#[test]
fn readings_by_quirk() {
    for (quirk, path, reading) in [
        (SLASHES, "/a%2Fb%2Fc", "/a/b/c"),
        (MERGED, "//a///b//", "/a/b/"),
        (MERGED, "/a%2F/b", "/a%2F/b"),
        (SLASHES | MERGED, "/a%2F/b", "/a/b"),
        (PARAMETERS, "/a;b=c/d;e", "/a/d"),
        (PARAMETERS, "/;x/a", "//a"),
        (PARAMETERS | MERGED, "/;x/a", "/a"),
        (WINDOWS, "/a./b. ./c", "/a/b/c"),
        (WINDOWS, "/.a.b/ c", "/.a.b/ c"),
        (WINDOWS, "/a..b..", "/a..b"),
        (WINDOWS, "/a::$INDEX_ALLOCATION/b", "/a/b"),
        (WINDOWS, "/a:$I30:$INDEX_ALLOCATION", "/a"),
        (WINDOWS, "/a:b/c:$d", "/a:b/c"),
        (WINDOWS | PARAMETERS, "/a.;x/b", "/a/b"),
        (WINDOWS | SLASHES, "/a.%2Fb", "/a/b"),
        (FOLDED, "/\u{ff21}\u{ff0f}b\u{2215}c\u{ff3c}d", "/a/b/c/d"),
        (FOLDED, "/\u{c9}\u{17f}\u{212a}", "/\u{e9}sk"),
        (FOLDED | PARAMETERS, "/a\u{ff1b}b/c", "/a/c"),
        (FOLDED | WINDOWS, "/a\u{ff0e}/b", "/a/b"),
        (0, "/a%2F;b//c./\u{c9}", "/a%2F;b//c./\u{c9}"),
    ] {
        assert_eq!(read(path, quirk), reading, "{path}");
        assert!(reading == path || quirk & !super::quirks(path) == 0, "{path}: {}", super::quirks(path));
    }
    for path in ["/", "/a/b.c", "/.well-known/x", "/a:b", "/a$b", "/a,b=c", "/a b", "/..a", "/a/"] {
        assert_eq!(super::quirks(path), 0, "{path}");
    }
}

#[test]
fn dot_segments_of_a_reading() {
    for (path, quirks, has) in [
        ("/a/\u{ff0e}\u{ff0e}/b", FOLDED, true),
        ("/a/\u{2024}", FOLDED, true),
        ("/a/.\u{ff0e};x", FOLDED | PARAMETERS, true),
        ("/a/\u{ff0e}\u{ff0e}\u{ff0e}/b", FOLDED, false),
        ("/a/\u{ff0e}b", FOLDED, false),
    ] {
        assert_eq!(Reading::new(path, quirks).has_dot_segment(), has, "{path}");
    }
}

fn settings(prefixes: &[(&str, Handler, Option<ClientCertificates>, bool)]) -> Settings {
    let prefix = |&(path, handler, client_certificates, as_is): &(&str, _, _, _)| Prefix {
        url: format!("http://*:80{path}"),
        handler,
        client_certificates,
        passthrough: Passthrough { as_is, ..Passthrough::default() },
    };
    let site = Site { prefixes: prefixes.iter().map(prefix).collect(), ..Site::default() };
    Settings { sites: vec![site], pools: vec![Pool::default(); 2], ..Settings::default() }
}

fn route<'p>(router: &'p Router, path: &'p str) -> RouteResult<'p> {
    router.route(Scheme::Http, 80, b"h", LOCAL, path)
}

const PROTECTED: Option<ClientCertificates> = Some(ClientCertificates::Require);

#[test]
fn no_path_bypasses_a_prefix() {
    let all = [
        ("/", Handler::Pool(PoolId(0)), None, false),
        ("/admin/", Handler::Pool(PoolId(0)), PROTECTED, false),
        ("/caf\u{e9}/", Handler::Pool(PoolId(1)), None, false),
        ("/\u{c9}COLE/", Handler::Pool(PoolId(1)), None, false),
    ];
    let router = Router::new(&settings(&all)).unwrap();
    for path in [
        "/admin%2Fsecret",
        "//admin/secret",
        "/%2Fadmin/secret",
        "///admin",
        "/admin;x/secret",
        "/admin;/secret",
        "/;a=b/admin/secret",
        "/;/;/admin/secret",
        "/admin%2F",
        "/admin./secret",
        "/admin /secret",
        "/admin...",
        "/admin.;x/secret",
        "/.../admin/secret",
        "/admin::$INDEX_ALLOCATION/secret",
        "/admin:$i30:$INDEX_ALLOCATION%2Fsecret",
        "/\u{ff41}dmin/secret",
        "/adm\u{131}n/secret",
        "/admin\u{ff0f}secret",
        "/admin\u{2215}secret",
        "/x/\u{ff0e}\u{ff0e}/admin/secret",
        "/CAF\u{c9}/x",
        "/%2F%2F;x//admin",
        "/ADMIN;/secret",
        // Under /admin/ in Weir's reading, but perhaps not in another.
        "/admin/..%2Fx;",
    ] {
        let found = route(&router, path);
        let inside = matches!(found, RouteResult::Matched(found) if found.prefix == 1);
        assert!(found == RouteResult::Ambiguous || inside, "{path}: {found:?}");
        assert!(!matches!(found, RouteResult::Matched(found) if found.prefix == 0), "{path}");
    }
    for (path, prefix) in [
        ("/", 0),
        ("/a%2Fb", 0),
        ("//x//y;z", 0),
        ("/administrator", 0),
        ("/x;v=1/admin/y", 0),
        ("/admin/a%2Fb;c//d.", 1),
        ("/ADMIN/secret", 1),
        ("/caf\u{e9}/x", 2),
        ("/\u{c9}COLE/x", 3),
        ("/\u{e9}cole/x", 3),
        ("/\u{4e2d}\u{6587}", 0),
    ] {
        let RouteResult::Matched(found) = route(&router, path) else { panic!("{path}") };
        assert_eq!(found.prefix, prefix, "{path}");
    }
}

#[test]
fn readings_with_equal_rules_are_accepted() {
    // The same pool by the same rules: it does not matter which prefix a worker assumes.
    let same =
        [("/", Handler::Pool(PoolId(0)), None, false), ("/api/", Handler::Pool(PoolId(0)), None, false)];
    let router = Router::new(&settings(&same)).unwrap();
    assert!(matches!(route(&router, "//api/x"), RouteResult::Matched(_)));
    let mut sites = settings(&same);
    let second = Site { prefixes: vec![sites.sites[0].prefixes.pop().unwrap()], ..Site::default() };
    sites.sites.push(second);
    let router = Router::new(&sites).unwrap();
    assert_eq!(route(&router, "//api/x"), RouteResult::Ambiguous, "the site's limits are others");
    // With a prefix that takes paths as they are.
    let as_is =
        [("/", Handler::Pool(PoolId(0)), None, true), ("/admin/", Handler::Pool(PoolId(1)), None, false)];
    let router = Router::new(&settings(&as_is)).unwrap();
    assert!(matches!(route(&router, "//admin/x"), RouteResult::Matched(found) if found.prefix == 0));
    assert_eq!(route(&router, "/admin;/x"), route(&router, "/admin;/x"));
    assert!(has_one_reading("/api/v1/\u{e9}/") && !has_one_reading("/a;b/") && !has_one_reading("/a./"));
}

/// A path as some server reads it: its known quirks applied one after the other.
fn model(server: u8, path: &str) -> String {
    let slashes = |path: String| path.replace("%2F", "/");
    let each =
        |path: String, f: &dyn Fn(&str) -> String| path.split('/').map(f).collect::<Vec<_>>().join("/");
    let merge = |mut path: String| {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    };
    let parameters = |path| each(path, &|segment| segment.split(';').next().unwrap().to_owned());
    let windows = |path| each(path, &|segment| segment.trim_end_matches(['.', ' ']).to_owned());
    let path = path.to_owned();
    match server {
        // WSGI
        0 => slashes(path),
        // nginx
        1 => merge(slashes(path)),
        // Go
        2 => merge(path),
        // Tomcat
        3 => slashes(parameters(path)),
        // Spring
        4 => merge(parameters(path)),
        // Parameters cut off after decoding
        5 => merge(parameters(slashes(path))),
        // IIS
        6 => windows(slashes(path)),
        7 => merge(windows(merge(slashes(path)))),
        // A servlet container on Windows
        8 => windows(parameters(path)),
        _ => merge(windows(parameters(slashes(path)))),
    }
}

proptest! {
    #[test]
    fn no_reading_of_a_path_bypasses_a_prefix(
        parts in prop::collection::vec(
            prop::sample::select(vec!["/", "/", "admin", "ADMIN", "public", "a", "b", ";", ";x", ".", " ", "%2F", ":", "$"]),
            0..12,
        ),
    ) {
        let path = format!("/{}", parts.concat());
        // The parser refuses these.
        prop_assume!(!path.split('/').any(|s| s == "." || s == ".."));
        let all = [
            ("/", Handler::Pool(PoolId(0)), None, false),
            ("/admin/", Handler::Pool(PoolId(0)), PROTECTED, false),
            ("/admin/public/", Handler::Pool(PoolId(1)), None, false),
            ("/a/b/", Handler::Pool(PoolId(1)), None, false),
        ];
        let router = Router::new(&settings(&all)).unwrap();
        let naive = |path: &str| {
            let below = |prefix: &str| {
                let path = format!("{}/", path.to_ascii_lowercase());
                path.starts_with(prefix)
            };
            (0..all.len()).filter(|&n| below(all[n].0)).max_by_key(|&n| all[n].0.len())
        };
        if let RouteResult::Matched(found) = route(&router, &path) {
            prop_assert_eq!(Some(found.prefix), naive(&path), "{}", path);
            for server in 0..10 {
                let reading = model(server, &path);
                prop_assert_eq!(naive(&reading), Some(found.prefix), "{} as {}: {}", path, server, reading);
            }
        }
    }

    #[test]
    fn an_ordinary_path_has_one_reading(path in "(/[a-z0-9_~-]{1,8}(\\.[a-z]{1,4})?){1,6}/?") {
        prop_assert_eq!(super::quirks(&path), 0);
    }

    #[test]
    fn arbitrary_paths_do_not_panic(path in "\\PC{0,60}", quirks in 0..32_u8) {
        let read = read(&path, quirks);
        prop_assert!(read.len() <= 4 * path.len());
        let _ = Reading::new(&path, quirks).has_dot_segment();
    }
}
