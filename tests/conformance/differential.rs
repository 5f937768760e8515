//! Requests accepted by our parser are also accepted by hyper and llhttp, with the same meaning; exceptions are listed here, with
//! the reason why ours is right.

use crate::host::{Meaning, judge};
use crate::{hyper, llhttp};
use weir_tests::corpus::{Row, rows};
use weir_tests::require::require;

/// Result of another implementation: a meaning without its length, or its error message.
pub type Other = Result<Meaning, String>;

/// Rows on which hyper differs, and why ours is right.
const HYPER: &[(&str, &str)] = &[
    (
        "ok/absolute-form-no-path",
        "RFC 9110 §4.2.3: an empty path is the path /, which is how hyper shows the target",
    ),
    ("ok/absolute-form-case", "RFC 9110 §4.2.3: schemes have no case; hyper shows the target in lower case"),
];

/// The same for llhttp.
const LLHTTP: &[(&str, &str)] = &[
    ("method/x-of-a-file", "RFC 9110 §9.1: any token is a method; llhttp has a list"),
    ("limit/method-32", "as above"),
];

/// Accepted rows with our interpretation.
fn accepted() -> Vec<(Row, Meaning)> {
    let rows = rows().expect("the corpus is well-formed");
    rows.into_iter()
        .filter_map(|row| match judge(&[&row.request]) {
            Some(Ok(meaning)) => Some((row, meaning)),
            _ => None,
        })
        .collect()
}

/// Reports every unlisted disagreement, and every listed one that does not occur.
fn compare(who: &str, listed: &[(&str, &str)], ours: &[(Row, Meaning)], theirs: &[Other]) {
    assert_eq!(ours.len(), theirs.len(), "{who} did not answer for every request");
    let mut wrong = Vec::new();
    for ((row, ours), theirs) in ours.iter().zip(theirs) {
        let agree = match theirs {
            Ok(theirs) => {
                let same = Meaning {
                    len: ours.len,
                    keep_alive: ours.keep_alive,
                    host: ours.host.clone(),
                    ..theirs.clone()
                };
                same == *ours
            }
            Err(_) => false,
        };
        let is_listed = listed.iter().any(|(name, _)| *name == row.name);
        if agree == is_listed {
            wrong.push(format!("{}: ours {ours:?}, {who} {theirs:?}, listed: {is_listed}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements: {wrong:#?}", wrong.len());
    assert!(listed.iter().all(|(name, _)| ours.iter().any(|(row, _)| row.name == *name)), "listed but gone");
}

#[test]
fn hyper_agrees() {
    let ours = accepted();
    assert!(ours.len() > 120, "{}", ours.len());
    let theirs: Vec<Other> = ours.iter().map(|(row, _)| hyper::read(&row.request)).collect();
    compare("hyper", HYPER, &ours, &theirs);
}

#[test]
fn llhttp_agrees() {
    let ours = accepted();
    let requests: Vec<&[u8]> = ours.iter().map(|(row, _)| &row.request[..]).collect();
    let theirs = llhttp::read(&requests);
    if require("node", theirs.is_some())
        && let Some(theirs) = theirs
    {
        compare("llhttp", LLHTTP, &ours, &theirs);
    }
}
