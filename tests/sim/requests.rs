//! Client requests and their expected responses.

use crate::client::{Exchange, Expected};
use crate::world::{ETAG, FILES, pattern};

fn exchange(request: Vec<u8>, status: u16, content: Option<Vec<u8>>) -> Exchange {
    Exchange { request, expected: Expected { status, content }, may_break: false }
}

pub fn get(path: &str, content: Vec<u8>) -> Exchange {
    exchange(format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes(), 200, Some(content))
}

pub fn file(len: usize) -> Exchange {
    get(&format!("/f/{len}"), pattern(len))
}

pub fn hello() -> Exchange {
    get("/api/hello", b"hello from a worker VM\n".to_vec())
}

pub fn echo(content: &[u8], chunked: bool, rng: &mut fastrand::Rng) -> Exchange {
    post("echo", content, chunked, content.to_vec(), rng)
}

/// Content that the worker only counts: it responds once all of it has arrived.
pub fn discard(content: &[u8], chunked: bool, rng: &mut fastrand::Rng) -> Exchange {
    let (len, crc) = (content.len(), crc32fast::hash(content));
    let answer = format!("{{\"bytes\":{len},\"crc32\":\"{crc:08x}\"}}\n");
    post("discard", content, chunked, answer.into_bytes(), rng)
}

fn post(handler: &str, content: &[u8], chunked: bool, answer: Vec<u8>, rng: &mut fastrand::Rng) -> Exchange {
    let mut request =
        format!("POST /api/{handler} HTTP/1.1\r\nHost: sim\r\nContent-Type: text/x-sim\r\n").into_bytes();
    if chunked {
        request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        let mut rest = content;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rng.usize(1..=rest.len().min(20_000)));
            request.extend(
                format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"),
            );
            rest = later;
        }
        request.extend_from_slice(b"0\r\n\r\n");
    } else {
        request.extend(
            format!("Content-Length: {}\r\n\r\n", content.len()).bytes().chain(content.iter().copied()),
        );
    }
    exchange(request, 200, Some(answer))
}

/// Any valid request, served from memory or by a worker.
pub fn any(rng: &mut fastrand::Rng) -> Exchange {
    let len = FILES[rng.usize(..FILES.len())];
    match rng.u8(..10) {
        0..3 => file(len),
        3 => exchange(format!("HEAD /f/{len} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes(), 200, None),
        4 => exchange(
            format!("GET /f/{len} HTTP/1.1\r\nHost: sim\r\nIf-None-Match: {ETAG}\r\n\r\n").into_bytes(),
            304,
            None,
        ),
        5 => hello(),
        6 => {
            let len = rng.usize(..200_000);
            get(&format!("/api/bytes/{len}"), pattern(len))
        }
        7 => get("/api/sleep/20", b"slept 20 ms\n".to_vec()),
        _ => {
            let content = pattern(rng.usize(..150_000));
            let chunked = rng.bool();
            if rng.bool() { echo(&content, chunked, rng) } else { discard(&content, chunked, rng) }
        }
    }
}
