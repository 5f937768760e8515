//! For the host: which paths a request can ask for at all.

use super::rules::AllRules;
use super::timers::Timers;
use crate::http::target;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use model::id::SiteId;
use model::settings::Settings;

/// A request line's other words, and the shortest Host.
const BESIDE: usize = "GET  HTTP/1.1\r\nHost: a\r\n\r\n".len();

/// Says of paths, in their final form, whether a request target means them that the limits of a site let pass: a file with
/// any other path would be packed for nobody.
#[derive(Clone, Debug)]
pub struct Reach(AllRules);

impl Reach {
    /// By the rules of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self(AllRules::new(settings, Timers::default()))
    }

    /// Whether the path can be asked for at this site, a number in [`Settings::sites`].
    pub fn has(&self, site: usize, path: &str) -> bool {
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
    fn what_no_request_can_ask_for() {
        let http =
            Http { url_segment_max_length: Some(10), url_segment_max_count: Some(3), ..Http::default() };
        let sites = vec![Site::default(), Site { http, ..Site::default() }];
        let reach = Reach::new(&Settings { sites, ..Settings::default() });
        for path in ["/", "/a b", "/b\u{fc}cher/\u{4f8b}", "/100%", "/a;b?c#d"] {
            assert!(reach.has(0, path), "{path}");
        }
        let long = format!("/{}", "x".repeat(256));
        let deep = "/x".repeat(65);
        let longest = "/y".repeat(20) + &"/x".repeat(200).repeat(20);
        for path in
            ["/a\nb", "/a\u{7f}", "/a\\b", "/a%2fb", "/a%2Fb", "/%7e/a", "/./a", &long, &deep, &longest]
        {
            assert!(!reach.has(0, path), "{path:?}");
        }
        for (path, there) in [("/a/b/0123456789", true), ("/0123456789a", false), ("/a/b/c/d", false)] {
            assert_eq!(reach.has(1, path), there, "{path}");
        }
    }
}
