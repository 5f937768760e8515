//! Requests that go through the appliance to the worker VM and back.

use crate::demo::{Demo, SharedTest};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use weir_tests::curl::curl;
use weir_tests::pattern;
use weir_tests::raw::Connection;

pub(crate) const TESTS: &[(&str, SharedTest)] = &[
    ("forward::hello", hello),
    ("forward::head_as_the_worker_sees_it", head_as_the_worker_sees_it),
    ("forward::echo", echo),
    ("forward::echo_chunked", echo_chunked),
    ("forward::expect_continue", expect_continue),
    ("forward::ten_megabytes_are_exact", ten_megabytes_are_exact),
    ("forward::sleeping_requests_do_not_hold_others", sleeping_requests_do_not_hold_others),
    ("forward::upload_of_200_megabytes", upload_of_200_megabytes),
    ("forward::client_that_leaves", client_that_leaves),
    ("forward::slow_reader", slow_reader),
];

fn hello(demo: &Demo) -> Result<()> {
    let got = curl(["-v", &demo.url("/api/hello"), &demo.url("/api/hello")])?;
    ensure!(got.text() == "hello from a worker VM\n".repeat(2), "{}", got.text());
    ensure!(got.stderr.contains("Re-using existing connection"), "{}", got.stderr);
    let missing = curl(["-o", "/dev/null", "-w", "%{http_code}", &demo.url("/api/nothing")])?;
    ensure!(missing.text() == "404", "the worker's own 404 is {}", missing.text());
    Ok(())
}

fn head_as_the_worker_sees_it(demo: &Demo) -> Result<()> {
    let got = curl([
        "-H",
        "X-Test: one",
        "-H",
        "Connection: keep-alive, X-Hop",
        "-H",
        "X-Hop: 1",
        &demo.url("/api/headers?a=b"),
    ])?;
    let head = got.text();
    ensure!(head.contains("\"target\":\"/api/headers?a=b\""), "{head}");
    ensure!(head.to_ascii_lowercase().contains("[\"x-test\",\"one\"]"), "{head}");
    ensure!(
        !head.to_ascii_lowercase().contains("\"x-hop\",\"1\""),
        "a hop-by-hop field was forwarded: {head}"
    );
    Ok(())
}

fn echo(demo: &Demo) -> Result<()> {
    let url = demo.url("/api/echo");
    let got = curl(["-v", "-H", "Content-Type: text/x-test", "--data-binary", "some content", &url])?;
    ensure!(got.text() == "some content", "{}", got.text());
    ensure!(got.field("content-type").as_deref() == Some("text/x-test"), "{}", got.stderr);
    let empty = curl(["-X", "POST", "-w", "%{http_code}", &url])?;
    ensure!(empty.text() == "200", "{}", empty.text());
    Ok(())
}

fn echo_chunked(demo: &Demo) -> Result<()> {
    let content = pattern(300_000);
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&content)?;
    let file = format!("@{}", file.path().display());
    let url = demo.url("/api/echo");
    let got =
        curl(["-v", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", &file, &url])?;
    ensure!(got.stdout == content, "{} bytes, which differ", got.stdout.len());
    ensure!(got.field("transfer-encoding").as_deref() == Some("chunked"), "{}", got.stderr);
    Ok(())
}

fn expect_continue(demo: &Demo) -> Result<()> {
    let url = demo.url("/api/echo");
    let got = curl([
        "-v",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "150",
        "--data-binary",
        "waited",
        &url,
    ])?;
    ensure!(got.text() == "waited" && got.stderr.contains("< HTTP/1.1 100"), "{}", got.stderr);
    ensure!(!got.stderr.contains("Done waiting for 100-continue"), "{}", got.stderr);
    Ok(())
}

fn ten_megabytes_are_exact(demo: &Demo) -> Result<()> {
    let got = curl([demo.url("/api/bytes/10000000")])?.stdout;
    ensure!(got.len() == 10_000_000, "{} bytes", got.len());
    let wrong = weir_worker::pattern::mismatch(0, &got);
    ensure!(wrong.is_none(), "differs from byte {wrong:?} on");
    Ok(())
}

/// Other requests are served before sleeping ones.
fn sleeping_requests_do_not_hold_others(demo: &Demo) -> Result<()> {
    let sleep = |ms: u32| {
        let mut connection = demo.connect()?;
        connection.send(format!("GET /api/sleep/{ms} HTTP/1.1\r\nHost: a\r\n\r\n"))?;
        Ok(connection)
    };
    let mut sleepers = (0..5).map(|_| sleep(60_000)).collect::<Result<Vec<_>>>()?;
    for _ in 0..5 {
        curl([demo.url("/api/hello")])?;
    }
    for sleeper in &mut sleepers {
        ensure!(sleeper.is_waiting()?, "the sleepers were answered first");
    }
    let response = sleep(10)?.response()?.context("no response")?;
    ensure!(response.content == b"slept 10 ms\n", "{}", response.head);
    Ok(())
}

fn upload_of_200_megabytes(demo: &Demo) -> Result<()> {
    const LEN: usize = 200_000_000;
    let mut file = tempfile::NamedTempFile::new()?;
    let mut crc = crc32fast::Hasher::new();
    let mut piece = vec![0; 1_000_000];
    for offset in (0..LEN).step_by(piece.len()) {
        weir_worker::pattern::fill(offset as u64, &mut piece);
        crc.update(&piece);
        file.write_all(&piece)?;
    }
    let path = file.path().to_string_lossy();
    let got = curl(["-T", &path, &demo.url("/api/discard")])?.text();
    let expected = format!("{{\"bytes\":{LEN},\"crc32\":\"{:08x}\"}}\n", crc.finalize());
    ensure!(got == expected, "the worker counted {got}, expected {expected}");
    Ok(())
}

fn client_that_leaves(demo: &Demo) -> Result<()> {
    for _ in 0..20 {
        let mut connection = demo.connect()?;
        connection.send("GET /api/bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n")?;
        connection.some()?;
        drop(connection);
        let mut connection = demo.connect()?;
        connection.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly this")?;
        drop(connection);
    }
    ensure!(curl([demo.url("/api/hello")])?.text() == "hello from a worker VM\n");
    Ok(())
}

fn slow_reader(demo: &Demo) -> Result<()> {
    // More than all buffers on the way hold, for clients that do not read: the appliance's memory must not fill up.
    let mut readers = (0..8)
        .map(|_| {
            let mut connection = demo.connect()?;
            connection.send("GET /api/bytes/40000000 HTTP/1.1\r\nHost: a\r\n\r\n")?;
            Ok(connection)
        })
        .collect::<Result<Vec<_>>>()?;
    readers.iter_mut().try_for_each(Connection::some)?;
    ensure!(curl([demo.url("/api/bytes/100000")])?.stdout == pattern(100_000));
    let response = readers[0].response()?.context("no response")?;
    ensure!(
        weir_worker::pattern::mismatch(0, &response.content).is_none()
            && response.content.len() == 40_000_000
    );
    Ok(())
}
