//! Request and response heads: the verdict does not depend on how they are split, and forwarded heads are strictly valid.

use crate::input::Input;
use appliance::http::forward::Forwarded;
use appliance::http::h1::Encoder;
use appliance::http::h1::forward::write_request;
use appliance::http::h1::request::{self, Parsed, Progress};
use appliance::http::h1::response::{self, RequestInfo};
use appliance::http::request::TargetForm;
use appliance::http::response::{Framing, ResponseLimits};
use appliance::http::{Encode, Reply, RequestHead, RequestLimits, Sink, Version};
use model::date::DateCache;
use model::url::Scheme;
use std::net::{IpAddr, Ipv4Addr};

/// Bytes before a head that control how it is parsed.
const PREAMBLE: usize = 4;

/// A comparable verdict.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Partial,
    Complete(usize, String),
    Refused(u16, &'static str),
}

fn verdict(parsed: &Parsed<'_>) -> Verdict {
    match parsed {
        Parsed::Partial => Verdict::Partial,
        Parsed::Complete { head, len } => Verdict::Complete(*len, format!("{head:?}")),
        Parsed::Refused(refusal) => Verdict::Refused(refusal.status, refusal.reason.as_str()),
    }
}

/// The verdict on input that arrives in these pieces.
fn piecewise(input: &[u8], limits: &RequestLimits, ends: impl Iterator<Item = usize>) -> Verdict {
    let mut scratch = vec![0; limits.max_url_length + 1];
    let mut progress = Progress::default();
    for end in ends.chain([input.len()]) {
        let verdict = verdict(&request::parse(&input[..end], limits, &mut scratch, &mut progress));
        if verdict != Verdict::Partial {
            return verdict;
        }
    }
    Verdict::Partial
}

/// A request head after four bytes for limits and split positions.
pub fn request_head(data: &[u8]) {
    let mut choice = Input::new(data);
    let limits = if choice.byte() & 1 == 0 { RequestLimits::STRICT } else { RequestLimits::HTTP_SYS };
    let (step, first) = (usize::from(choice.byte()) + 1, usize::from(choice.u16()));
    // Always terminated, because an unterminated head may be examined later (`Progress`).
    let input = &[choice.rest(), b"\r\n\r\n"].concat()[..];
    let whole = piecewise(input, &limits, std::iter::empty());
    assert_eq!(
        piecewise(input, &limits, (first..input.len()).step_by(step)),
        whole,
        "by {step} from {first}"
    );
    let mut scratch = vec![0; limits.max_url_length + 1];
    let Parsed::Complete { head, len } =
        request::parse(input, &limits, &mut scratch, &mut Progress::default())
    else {
        return;
    };
    assert!(len <= input.len().min(limits.max_request_bytes) && input[..len].ends_with(b"\r\n\r\n"));
    meaning(&head);
    forwarded(&head);
}

/// Properties of an accepted head.
fn meaning(head: &RequestHead<'_>) {
    let asterisk = head.form == TargetForm::Asterisk;
    assert!(head.path.starts_with('/') || asterisk && head.path == "*");
    assert!(head.path.split('/').all(|segment| segment != ".." && segment != "."), "{:?}", head.path);
    assert!(!head.path.contains(['\0', '\r', '\n', '\\']) && !head.path.chars().any(char::is_control));
    assert!(!head.host.iter().any(|b| b"/@ ?#".contains(b)) && head.host.is_ascii());
    for field in head.fields {
        assert!(!field.name.is_empty() && !field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
}

/// What a worker receives has the same meaning, and is strictly valid.
fn forwarded(head: &RequestHead<'_>) {
    let mut out = vec![0; 64 << 10];
    let mut sink = Sink::new(&mut out);
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let protocols = ["websocket".to_owned(), "tcp".to_owned()];
    let what = Forwarded {
        expect_answered: false,
        upgrade: &protocols,
        ..Forwarded::new(client, (client, 80), Scheme::Http)
    };
    write_request(head, &what, &mut sink).expect("it fits");
    let written = sink.written();
    let limits = RequestLimits {
        max_request_bytes: 64 << 10,
        max_field_length: 48 << 10,
        max_url_length: 48 << 10,
        max_fields: RequestLimits::MAX_FIELDS,
        ..RequestLimits::HTTP_SYS
    };
    // Our fields are added to the client's.
    if head.fields.into_iter().count() > RequestLimits::MAX_FIELDS - 11 {
        return;
    }
    let mut scratch = vec![0; limits.max_url_length + 1];
    let again = match request::parse(written, &limits, &mut scratch, &mut Progress::default()) {
        Parsed::Complete { head, len } if len == written.len() => head,
        other => panic!("{other:?} to {:?}", String::from_utf8_lossy(written)),
    };
    assert_eq!(again.method, head.method);
    assert_eq!((again.path, again.query()), (head.path, head.query()));
    // HTTP/1.0 may omit Host, which is then replaced by our address.
    if head.host.is_empty() {
        assert_eq!((again.host, again.port), (&b"127.0.0.1"[..], None));
    } else {
        assert_eq!((again.host, again.port), (head.host, head.port));
    }
    assert_eq!(again.framing, head.framing);
}

/// A worker's response head after four bytes for the request and split positions.
pub fn response_head(data: &[u8]) {
    let mut choice = Input::new(data);
    let flags = choice.byte();
    let asked =
        RequestInfo { is_head: flags & 1 != 0, upgrade: if flags & 2 != 0 { b"websocket" } else { b"" } };
    let bounds = ResponseLimits { bytes: if flags & 4 == 0 { 8192 } else { 256 }, fields: 100 };
    let split = usize::from(choice.u16());
    let _ = choice.byte();
    let input = choice.rest();
    debug_assert!(data.len() < PREAMBLE || input.len() == data.len() - PREAMBLE);
    let whole = response::parse_for(input, asked, bounds);
    if let Some(front) = input.get(..split) {
        match (response::parse_for(front, asked, bounds), &whole) {
            (response::Parsed::Partial, _) => {}
            (response::Parsed::Invalid(a), response::Parsed::Invalid(b)) => assert_eq!(a, *b),
            (
                response::Parsed::Complete { head: a, len },
                response::Parsed::Complete { head: b, len: whole_len },
            ) => assert_eq!((format!("{a:?}"), len), (format!("{b:?}"), *whole_len)),
            (a, b) => panic!("{a:?} of {split} bytes, {b:?} of all"),
        }
    }
    let response::Parsed::Complete { head, len } = whole else { return };
    assert!(input[..len].ends_with(b"\r\n\r\n"));
    let version = if flags & 8 == 0 { Version::Http11 } else { Version::Http10 };
    let mut encoder = Encoder::new(version, asked.is_head, flags & 16 == 0);
    let mut out = vec![0; 64 << 10];
    let mut sink = Sink::new(&mut out);
    encoder.head(&Reply::from(&head), &DateCache::new(1_700_000_000), &mut sink).expect("it fits");
    let written = sink.written();
    // HTTP/1.0 has no interim heads.
    if written.is_empty() {
        return assert!(head.is_interim() && version == Version::Http10);
    }
    // The client sees the same status, and framing that matches what is sent to it.
    let response::Parsed::Complete { head: again, len } =
        response::parse_for(written, asked, ResponseLimits::default())
    else {
        panic!("not a response: {:?}", String::from_utf8_lossy(written));
    };
    assert_eq!((again.status, len), (head.status, written.len()));
    if !head.is_interim() && !head.is_upgrade() {
        let text = String::from_utf8_lossy(written);
        assert_eq!(again.framing == Framing::Chunked, encoder.overhead() > 0, "{text:?}");
        assert_eq!(again.framing == Framing::None, head.framing == Framing::None, "{text:?}");
        if let Framing::Length(length) = head.framing {
            assert_eq!(again.framing, Framing::Length(length), "{text:?}");
        }
        assert!(again.framing != Framing::UntilClose || !encoder.keeps_alive(), "{text:?}");
    }
}
