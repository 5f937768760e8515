//! Malformed requests.

use crate::demo::{Demo, SharedTest};
use anyhow::{Context, Result, ensure};
use weir_tests::curl::curl;
use weir_tests::pattern;

pub(crate) const TESTS: &[(&str, SharedTest)] = &[
    ("robust::malformed_requests_are_refused", malformed_requests_are_refused),
    ("robust::oversized_heads_are_refused", oversized_heads_are_refused),
    ("robust::abandoned_connections", abandoned_connections),
];

const MALFORMED: &[(&str, &str)] = &[
    ("no version", "GET /128\r\n\r\n"),
    ("nonsense", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
    ("bad method", "G(T /128 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("unknown version", "GET /128 HTTP/3.0\r\nHost: a\r\n\r\n"),
    ("no host", "GET /128 HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /128 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("bare line feeds", "GET /128 HTTP/1.1\nHost: a\n\n"),
    ("space before the colon", "GET /128 HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("folded field", "GET /128 HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    ("control character", "GET /128 HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
    ("two lengths", "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    (
        "length and chunked",
        "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("signed length", "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
    ("unknown coding", "POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("broken chunk", "POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    ("bad percent-encoding", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("path leaves the root", "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"),
];

fn malformed_requests_are_refused(demo: &Demo) -> Result<()> {
    for (what, request) in MALFORMED {
        let mut connection = demo.connect()?;
        connection.send(request)?;
        // Any other response than an error would answer something the client did not send.
        while let Some(response) = connection.response().with_context(|| what.to_string())? {
            let refused =
                matches!(response.status, 400 | 403 | 404 | 411 | 413 | 414 | 431 | 501 | 502 | 505);
            ensure!(refused, "{what}: {}", response.head);
        }
        ensure!(curl([demo.url("/128")])?.stdout == pattern(128), "after {what}");
    }
    Ok(())
}

fn oversized_heads_are_refused(demo: &Demo) -> Result<()> {
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000)),
        format!("GET /128 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(200_000)),
        format!("GET /128 HTTP/1.1\r\nHost: a\r\n{}\r\n", "Z: 1\r\n".repeat(20_000)),
    ] {
        let mut connection = demo.connect()?;
        // It may be rejected long before all of it is sent.
        let _ = connection.send(&request);
        if let Some(response) = connection.response()? {
            ensure!((400..500).contains(&response.status), "{:.40}: {}", request, response.head);
        }
    }
    ensure!(curl([demo.url("/128")])?.stdout == pattern(128));
    Ok(())
}

fn abandoned_connections(demo: &Demo) -> Result<()> {
    let mut open = Vec::new();
    for n in 0..200 {
        let mut connection = demo.connect()?;
        match n % 4 {
            0 => {}
            1 => connection.send("GET /1")?,
            2 => connection.send("GET /1m.bin HTTP/1.1\r\nHost: a\r\n\r\n")?,
            _ => connection.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")?,
        }
        if n % 8 < 4 {
            open.push(connection);
        }
    }
    ensure!(curl([demo.url("/4k")])?.stdout == pattern(4096), "with {} connections open", open.len());
    drop(open);
    ensure!(curl([demo.url("/api/hello")])?.text() == "hello from a worker VM\n");
    Ok(())
}
