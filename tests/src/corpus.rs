//! The corpus of requests, `tests/corpus/requests.txt`: each request with its expected outcome.

use anyhow::{Context, Result, bail, ensure};

/// A rejection: status and HTTPERR reason phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Status of the response.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// `group/what`.
    pub name: String,
    /// `None`: accepted.
    pub refused: Option<Refused>,
    /// Status sent by the image; 0 if it depends on the resource.
    pub status: u16,
    /// Whether the connection is closed after the response.
    pub closes: bool,
    /// The bytes.
    pub request: Vec<u8>,
}

/// All rows.
pub fn rows() -> Result<Vec<Row>> {
    let path = crate::workspace().join("tests/corpus/requests.txt");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let row = row(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
        ensure!(rows.iter().all(|other| other.name != row.name), "{}: twice", row.name);
        rows.push(row);
    }
    Ok(rows)
}

fn row(line: &str) -> Result<Row> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[name, verdict, status, fate, request] = &columns[..] else {
        bail!("{} columns, expected 5", columns.len())
    };
    let refused = match verdict.split_once(' ') {
        None if verdict == "ok" => None,
        Some((status, reason)) => Some(Refused { status: status.parse()?, reason: reason.to_owned() }),
        None => bail!("verdict {verdict:?}, expected ok, or status and reason"),
    };
    let closes = match fate {
        "close" => true,
        "open" => false,
        _ => bail!("fate {fate:?}, expected open or close"),
    };
    Ok(Row { name: name.to_owned(), refused, status: status.parse()?, closes, request: unescape(request)? })
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        rest = match chars.next() {
            Some('r') => push(&mut out, b'\r', chars.as_str()),
            Some('n') => push(&mut out, b'\n', chars.as_str()),
            Some('t') => push(&mut out, b'\t', chars.as_str()),
            Some('\\') => push(&mut out, b'\\', chars.as_str()),
            Some('x') => {
                let (hex, after) = chars.as_str().split_at_checked(2).context("\\x without two digits")?;
                push(&mut out, u8::from_str_radix(hex, 16)?, after)
            }
            Some('{') => {
                let (repeat, after) = chars.as_str().split_once('}').context("\\{ without }")?;
                let (what, times) = repeat.rsplit_once('*').context("\\{ without *")?;
                let what = unescape(what)?;
                for _ in 0..times.parse::<usize>()? {
                    out.extend_from_slice(&what);
                }
                after
            }
            other => bail!("unknown escape {other:?}"),
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn push<'a>(out: &mut Vec<u8>, byte: u8, rest: &'a str) -> &'a str {
    out.push(byte);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let bytes = unescape(r"a\r\n\t\\\xff\{xy\n*3}z").expect("well-formed");
        assert_eq!(bytes, b"a\r\n\t\\\xffxy\nxy\nxy\nz");
        for wrong in [r"\q", r"\x1", r"\{a", r"\{a}", r"\{a*b}", "\\"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}
