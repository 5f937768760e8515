//! Internationalised host names: converts Unicode hosts to the ASCII form that browsers send (IDNA 2008 with UTS #46).

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// A URL prefix with its host in ASCII, and how to map offsets back to the original text.
pub(super) struct Url {
    pub(super) url: String,
    /// Offset of the host.
    host: usize,
    /// Length of the host as written, and in ASCII.
    lens: (usize, usize),
}

impl Url {
    /// Maps an offset in `url` to one in the original text.
    pub(super) fn written(&self, at: usize) -> usize {
        let (written, ascii) = self.lens;
        match at {
            // Offsets inside a converted host cannot be mapped exactly.
            at if written != ascii && at > self.host && at < self.host + ascii => self.host,
            at if at >= self.host + ascii => at - ascii + written,
            at => at,
        }
    }
}

/// Converts the host of `url` to ASCII. The error has an offset and a message.
pub(super) fn to_ascii(url: &str) -> Result<Url, (usize, String)> {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(scheme..).unwrap_or_default();
    let wildcard = if rest.starts_with("*.") { 2 } else { 0 };
    let start = scheme + wildcard;
    let name = url.get(start..).unwrap_or_default();
    let name = name.split([':', '/']).next().unwrap_or_default();
    let is_encoded = |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    if name.is_ascii() && !name.split('.').any(is_encoded) {
        return Ok(Url { url: url.into(), host: start, lens: (name.len(), name.len()) });
    }
    let ascii = Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| (start, format!("host {name:?}, expected a name that IDNA allows (RFC 5891)")))?;
    let (head, tail) = (&url[..start], &url[start + name.len()..]);
    Ok(Url { url: format!("{head}{ascii}{tail}"), host: start, lens: (name.len(), ascii.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_ascii() {
        for (written, ascii) in [
            ("http://bücher.example:80/", "http://xn--bcher-kva.example:80/"),
            ("http://BÜCHER.example:80/ä/", "http://xn--bcher-kva.example:80/ä/"),
            ("https://*.例え.テスト:443/", "https://*.xn--r8jz45g.xn--zckzah:443/"),
            ("http://faß.de:80/", "http://xn--fa-hia.de:80/"),
            ("http://xn--bcher-kva.example:80/", "http://xn--bcher-kva.example:80/"),
            ("http://Plain_name.example:80/", "http://Plain_name.example:80/"),
            ("http://+:80/ü/", "http://+:80/ü/"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("ü", "xn--tda"),
        ] {
            let url = to_ascii(written).map(|url| url.url);
            assert_eq!(url.as_deref(), Ok(ascii), "{written}");
        }
    }

    #[test]
    fn what_idna_does_not_allow_is_refused_where_it_stands() {
        for (url, at) in [
            ("http://xn--a.example:80/", 7),
            ("http://*.xn--:80/", 9),
            ("http://a\u{301}\u{200d}b.example:80/", 7),
            ("http://ü..example:80/", 7),
            ("http://ü .example:80/", 7),
            (&format!("http://{}.example:80/", "ü".repeat(80)), 7),
        ] {
            let wrong = to_ascii(url).map(|url| url.url).expect_err(url);
            assert_eq!(wrong.0, at, "{url}");
            assert!(wrong.1.contains("IDNA"), "{}", wrong.1);
        }
    }

    #[test]
    fn places_are_those_of_what_is_written() {
        let url = to_ascii("http://ü.example:x/").expect("a host");
        assert_eq!(url.url, "http://xn--tda.example:x/");
        // The port: two bytes of ü for seven of its label.
        assert_eq!((url.written(23), url.written(3), url.written(9)), (18, 3, 7));
    }
}
