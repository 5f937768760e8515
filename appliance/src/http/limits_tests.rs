use super::*;
use crate::http::h1::request::{Parsed, Progress, parse};

#[test]
fn segments_are_measured_in_characters() {
    let limits = RequestLimits { url_segment_max_length: 10, ..RequestLimits::STRICT };
    let fits = |path: &str| {
        let input = format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut scratch = [0; 9000];
        let parsed = parse(input.as_bytes(), &limits, &mut scratch, &mut Progress::default());
        let Parsed::Complete { head, len } = parsed else { return false };
        // The second check, against a site's limits, agrees.
        assert_eq!(head.check_limits(&limits, len), Ok(()), "{path}");
        true
    };
    // A smiley is two UTF-16 units.
    for (character, most) in [
        ("a", 10),
        ("%41", 10),
        ("%C3%BC", 10),
        ("%E2%82%AC", 10),
        ("%F0%9F%98%80", 5),
        ("%2F", 10),
        ("%2f", 10),
    ] {
        assert!(fits(&character.repeat(most)), "{most} of {character}");
        assert!(!fits(&character.repeat(most + 1)), "{} of {character}", most + 1);
    }
}
