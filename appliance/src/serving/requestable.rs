//! Tells the host which file paths can be requested at all.

use super::rules::AllRules;
use super::timers::Timers;
use crate::http::target;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use model::id::SiteId;
use model::settings::Settings;

/// Bytes of the shortest request line and Host besides the target.
const BESIDE: usize = "GET  HTTP/1.1\r\nHost: a\r\n\r\n".len();

/// Decides whether a path, in its final form, can be requested within the limits of a site. A file with any
/// other path would be packed in vain.
#[derive(Clone, Debug)]
pub struct RequestablePaths(AllRules);

impl RequestablePaths {
    /// Uses the limits of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self(AllRules::new(settings, Timers::default()))
    }

    /// Whether the path can be requested at this site, an index into [`Settings::sites`].
    pub fn contains(&self, site: usize, path: &str) -> bool {
        let limits = &self.0.of(SiteId::at(site)).limits;
        let mut target = String::with_capacity(path.len());
        for byte in path.bytes() {
            match byte {
                b'/' | b'-' | b'.' | b'_' | b'~' => target.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => target.push(char::from(byte)),
                _ => target.push_str(&format!("%{byte:02X}")),
            }
        }
        let mut scratch = vec![0; target.len()];
        target.len() + BESIDE <= limits.max_request_bytes
            && target::origin_form(&target, limits, &mut scratch).is_ok_and(|(named, ..)| named == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::settings::{Http, Site};

    #[test]
    fn unrequestable_paths() {
        let http =
            Http { url_segment_max_length: Some(10), url_segment_max_count: Some(3), ..Http::default() };
        let sites = vec![Site::default(), Site { http, ..Site::default() }];
        let reach = RequestablePaths::new(&Settings { sites, ..Settings::default() });
        for path in ["/", "/a b", "/b\u{fc}cher/\u{4f8b}", "/100%", "/a;b?c#d"] {
            assert!(reach.contains(0, path), "{path}");
        }
        let long = format!("/{}", "x".repeat(256));
        let deep = "/x".repeat(65);
        let longest = "/y".repeat(20) + &"/x".repeat(200).repeat(20);
        for path in
            ["/a\nb", "/a\u{7f}", "/a\\b", "/a%2fb", "/a%2Fb", "/%7e/a", "/./a", &long, &deep, &longest]
        {
            assert!(!reach.contains(0, path), "{path:?}");
        }
        for (path, there) in [("/a/b/0123456789", true), ("/0123456789a", false), ("/a/b/c/d", false)] {
            assert_eq!(reach.contains(1, path), there, "{path}");
        }
    }
}
