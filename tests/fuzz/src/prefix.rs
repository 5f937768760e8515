//! URL prefixes: an accepted prefix has a canonical form with the same meaning, and routes to itself.

use appliance::serving::{RouteResult, Router};
use model::settings::{Handler, Passthrough, Prefix, Settings, Site};
use model::url::{PrefixHost, UrlPrefix};
use std::net::{IpAddr, Ipv4Addr};

/// URL prefixes, one per line.
pub fn url_prefix(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let mut prefixes = Vec::new();
    for line in text.lines().take(50) {
        match UrlPrefix::parse(line) {
            Ok(prefix) => {
                let canonical = prefix.canonical();
                let again = UrlPrefix::parse(&canonical).expect("the canonical form is a prefix");
                assert_eq!(again.canonical(), canonical);
                assert_eq!((again.scheme, again.port, again.path), (prefix.scheme, prefix.port, prefix.path));
                prefixes.push(Prefix {
                    url: canonical,
                    handler: Handler::Files(0),
                    client_certificates: None,
                    // With `paths = "as-is"`, so that every path has its prefix.
                    passthrough: Passthrough { as_is: true, ..Passthrough::default() },
                });
            }
            Err(error) => {
                assert!(error.position <= line.len(), "{error}");
            }
        }
    }
    let sites = vec![Site { name: "fuzz".into(), prefixes, ..Site::default() }];
    let settings = Settings { sites, ..Settings::default() };
    // Duplicates and conflicts are errors.
    let Ok(router) = Router::new(&settings) else { return };
    for (index, prefix) in settings.sites[0].prefixes.iter().enumerate() {
        let url = UrlPrefix::parse(&prefix.url).expect("parsed before");
        let (host, local) = match url.host {
            PrefixHost::Explicit(name) => (name.to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST)),
            PrefixHost::Subdomains(domain) => (format!("a.{domain}"), IpAddr::V4(Ipv4Addr::LOCALHOST)),
            PrefixHost::Ipv4(address) => (address.to_string(), IpAddr::V4(address)),
            PrefixHost::Ipv6(address) => (format!("[{address}]"), IpAddr::V6(address)),
            PrefixHost::StrongWildcard | PrefixHost::WeakWildcard => {
                ("nobody.invalid".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
        };
        let path = format!("{}x", url.path);
        let RouteResult::Matched(found) = router.route(url.scheme, url.port, host.as_bytes(), local, &path)
        else {
            panic!("{} does not match itself", prefix.url);
        };
        // Another one may have priority, but never a less specific one of the same kind.
        let taken = UrlPrefix::parse(&settings.sites[0].prefixes[found.prefix].url).expect("parsed before");
        if found.prefix == index {
            assert_eq!(found.rest, "/x");
        } else if taken.host == url.host {
            assert!(taken.path.len() > url.path.len(), "{taken:?} instead of {url:?}");
        }
    }
}
