//! llhttp, inside Node.js, as a second request parser.

use crate::differential::Other;
use crate::host::Meaning;
use crate::hyper::in_order;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// The first request in each; `None` without Node.js.
pub fn read(requests: &[&[u8]]) -> Option<Vec<Other>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/llhttp.js");
    let mut node =
        Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let input: Vec<String> = requests.iter().map(|request| hex(request)).collect();
    let mut stdin = node.stdin.take().expect("it is piped");
    stdin.write_all(serde_json::to_string(&input).expect("strings").as_bytes()).expect("node reads");
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("node answers in JSON");
    Some(answers.iter().map(answer).collect())
}

fn answer(answer: &Value) -> Other {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    if let Some(error) = text("error") {
        return Err(error);
    }
    let version = text("version").unwrap_or_default();
    let words: Vec<String> =
        serde_json::from_value(answer["fields"].clone()).expect("an array of names and values");
    // Node represents bytes as characters with the same number.
    let latin = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<_>>();
    let fields = words.chunks(2).map(|pair| (pair[0].to_ascii_lowercase(), latin(&pair[1]))).collect();
    let content = text("content").unwrap_or_default();
    Ok(Meaning {
        method: text("method").unwrap_or_default(),
        target: text("target").unwrap_or_default(),
        version: if version == "1.0" { (1, 0) } else { (1, 1) },
        host: String::new(),
        fields: in_order(fields),
        content: (0..content.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&content[i..i + 2], 16).expect("hex"))
            .collect(),
        keep_alive: true,
        len: 0,
    })
}
