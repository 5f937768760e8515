//! Responses by request target.

use crate::head::{Framing, Head};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Maximum delay of `/api/sleep/MS`, in milliseconds.
pub const MAX_SLEEP_MS: u64 = 60_000;

/// Length of `/8m.bin`, a generated file.
pub const EIGHT_MIB: u64 = 8 << 20;

/// How to handle a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Discard the content, then send this response.
    Answer(Answer),
    /// Discard the content, wait, then respond.
    Sleep(u64),
    /// Send the content back as it arrives, with this media type.
    Echo(String),
    /// Send this many bytes of the pattern.
    Bytes(u64),
    /// Read the content and respond with its length and checksum.
    Discard,
}

/// A small complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code and reason phrase.
    pub status: &'static str,
    /// Media type.
    pub media_type: &'static str,
    /// Content.
    pub content: Vec<u8>,
}

impl Answer {
    /// A line of text.
    pub fn text(status: &'static str, line: &str) -> Self {
        Self { status, media_type: "text/plain; charset=utf-8", content: format!("{line}\n").into_bytes() }
    }

    /// A JSON document.
    pub fn json(document: String) -> Self {
        Self { status: "200 OK", media_type: "application/json", content: document.into_bytes() }
    }
}

/// Decides how to handle a request.
pub fn plan(head: &Head) -> Plan {
    let path = head.target.split('?').next().unwrap_or_default();
    if path == "/8m.bin" {
        return Plan::Bytes(EIGHT_MIB);
    }
    match path.strip_prefix("/api/").unwrap_or_default() {
        "hello" => Plan::Answer(Answer::text("200 OK", "hello from a worker VM")),
        "headers" => Plan::Answer(Answer::json(head_as_json(head))),
        "echo" => Plan::Echo(head.field("content-type").unwrap_or("application/octet-stream").to_string()),
        "discard" => Plan::Discard,
        other => match other.split_once('/').map(|(name, n)| (name, n.parse::<u64>())) {
            Some(("bytes", Ok(n))) => Plan::Bytes(n),
            Some(("sleep", Ok(ms))) if ms <= MAX_SLEEP_MS => Plan::Sleep(ms),
            _ => Plan::Answer(Answer::text("404 Not Found", "no such handler")),
        },
    }
}

/// The response of `/api/discard`.
pub fn tally(bytes: u64, crc: u32) -> Answer {
    Answer::json(format!("{{\"bytes\":{bytes},\"crc32\":\"{crc:08x}\"}}\n"))
}

/// The head of a response.
pub fn response_head(status: &str, media_type: &str, framing: Framing, keep_alive: bool) -> Vec<u8> {
    let framing = match framing {
        Framing::Length(n) => format!("Content-Length: {n}"),
        Framing::Chunked => "Transfer-Encoding: chunked".to_string(),
    };
    let close = if keep_alive { "" } else { "Connection: close\r\n" };
    format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\n{framing}\r\n{close}\r\n").into_bytes()
}

fn head_as_json(head: &Head) -> String {
    let fields: Vec<_> =
        head.fields.iter().map(|(name, value)| format!("[{},{}]", quoted(name), quoted(value))).collect();
    format!(
        "{{\"method\":{},\"target\":{},\"version\":\"1.{}\",\"fields\":[{}]}}\n",
        quoted(&head.method),
        quoted(&head.target),
        head.minor,
        fields.join(",")
    )
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
