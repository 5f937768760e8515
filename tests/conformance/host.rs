//! The corpus against the parser, whole and split at every byte.

use appliance::http::h1::chunked::Decoder;
use appliance::http::h1::request::{Parsed, Progress, parse};
use appliance::http::{Framing, RequestHead, RequestLimits};
use model::url::Scheme;
use weir_tests::corpus::{Refused, Row, rows};

/// Longer heads are split at some bytes only.
const SPLIT_EVERYWHERE: usize = 700;

/// The parser's verdict: the meaning of a request, or why it was rejected.
pub type Verdict = Result<Meaning, Refused>;

/// What an accepted request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub method: String,
    pub target: String,
    pub version: (u8, u8),
    pub host: String,
    /// Names in lower case, and values; sorted by name, preserving the order of values.
    pub fields: Vec<(String, Vec<u8>)>,
    pub content: Vec<u8>,
    pub keep_alive: bool,
    /// Its length in bytes.
    pub len: usize,
}

fn refused(status: u16, reason: &str) -> Verdict {
    Err(Refused { status, reason: reason.to_owned() })
}

/// `None` while the request is incomplete.
pub fn judge(pieces: &[&[u8]]) -> Option<Verdict> {
    let limits = RequestLimits::STRICT;
    let mut scratch = vec![0; limits.max_url_length + 1];
    let mut progress = Progress::default();
    let mut input = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        match parse(&input, &limits, &mut scratch, &mut progress) {
            Parsed::Partial => {}
            Parsed::Refused(refusal) => return Some(refused(refusal.status, refusal.reason.as_str())),
            Parsed::Complete { head, len } => {
                if let Err(refusal) = head.check_scheme(Scheme::Http) {
                    return Some(refused(refusal.status, refusal.reason.as_str()));
                }
                let mut meaning = meaning(&head, len);
                // The rest arrives in the same pieces.
                let whole = pieces.concat();
                let cut = input.len();
                return content(head.framing, &mut meaning, [&whole[len..cut], &whole[cut..]]);
            }
        }
    }
    None
}

fn meaning(head: &RequestHead<'_>, len: usize) -> Meaning {
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    Meaning {
        method: head.method.as_str().to_owned(),
        target: head.target.to_owned(),
        version: if head.version == appliance::http::Version::Http10 { (1, 0) } else { (1, 1) },
        host: String::from_utf8_lossy(head.host).into_owned(),
        fields: crate::hyper::in_order(
            head.fields.into_iter().map(|f| (name(f.name), f.value.to_vec())).collect(),
        ),
        content: Vec::new(),
        keep_alive: head.keep_alive(),
        len,
    }
}

fn content(framing: Framing, meaning: &mut Meaning, pieces: [&[u8]; 2]) -> Option<Verdict> {
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            let rest = pieces.concat();
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len())?;
            meaning.content = rest[..length].to_vec();
            meaning.len += length;
        }
        Framing::Chunked => {
            let mut decoder = Decoder::new();
            let mut finished = false;
            for mut piece in pieces {
                while !piece.is_empty() && !finished {
                    let Ok(step) = decoder.decode(piece) else { return Some(refused(400, "BadRequest")) };
                    meaning.content.extend_from_slice(&piece[step.content]);
                    meaning.len += step.consumed;
                    piece = &piece[step.consumed..];
                    finished = step.finished;
                }
            }
            if !finished {
                return None;
            }
        }
    }
    Some(Ok(meaning.clone()))
}

fn all() -> Vec<Row> {
    rows().expect("the corpus is well-formed")
}

#[test]
fn at_least_three_hundred_requests_have_their_verdict() {
    let rows = all();
    assert!(rows.len() >= 300, "{}", rows.len());
    for row in &rows {
        let verdict = judge(&[&row.request]);
        match (&row.refused, verdict) {
            (None, Some(Ok(meaning))) => {
                assert_eq!(meaning.len, row.request.len(), "{}", row.name);
                assert_eq!(meaning.keep_alive, !row.closes, "{}", row.name);
            }
            (Some(expected), Some(Err(found))) => assert_eq!(found, *expected, "{}", row.name),
            (expected, found) => panic!("{}: {found:?}, expected {expected:?}", row.name),
        }
    }
}

#[test]
fn no_verdict_depends_on_how_the_request_was_split() {
    for row in all() {
        let (name, request) = (&row.name, &row.request[..]);
        let whole = judge(&[request]);
        let step = if request.len() <= SPLIT_EVERYWHERE { 1 } else { request.len() / 40 };
        for cut in (0..=request.len()).step_by(step) {
            let (front, back) = request.split_at(cut);
            assert_eq!(judge(&[front, back]), whole, "{name}, cut at {cut}");
        }
        if request.len() <= SPLIT_EVERYWHERE {
            let bytes: Vec<&[u8]> = request.chunks(1).collect();
            assert_eq!(judge(&bytes), whole, "{name}, byte by byte");
        }
    }
}
