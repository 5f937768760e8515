//! Static files from the appliance's memory.

use crate::demo::{Demo, SharedTest};
use anyhow::{Context, Result, ensure};
use weir_tests::curl::curl;
use weir_tests::{pattern, workspace};

pub(crate) const TESTS: &[(&str, SharedTest)] = &[
    ("static::files_are_exact", files_are_exact),
    ("static::index_page_has_its_type", index_page_has_its_type),
    ("static::head_has_no_content", head_has_no_content),
    ("static::not_modified_by_entity_tag", not_modified_by_entity_tag),
    ("static::not_modified_since", not_modified_since),
    ("static::missing_file", missing_file),
    ("static::connection_is_reused", connection_is_reused),
    ("static::connection_close", connection_close),
    ("static::pipelined_requests_are_answered_in_order", pipelined),
];

fn files_are_exact(demo: &Demo) -> Result<()> {
    for (path, len) in [("/128", 128), ("/4k", 4096), ("/1m.bin", 1 << 20)] {
        let got = curl([demo.url(path)])?.stdout;
        ensure!(got == pattern(len), "{path}: {} bytes, which differ", got.len());
    }
    Ok(())
}

fn index_page_has_its_type(demo: &Demo) -> Result<()> {
    let got = curl(["-v", &demo.url("/")])?;
    ensure!(got.stdout == std::fs::read(workspace().join("qemu/demo/www/index.html"))?, "{}", got.text());
    let media_type = got.field("content-type").context("no Content-Type")?;
    ensure!(media_type.starts_with("text/html"), "{media_type}");
    Ok(())
}

fn head_has_no_content(demo: &Demo) -> Result<()> {
    let head = curl(["--head", &demo.url("/128")])?.text().to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-length: 128\r\n"), "{head}");
    let mut connection = demo.connect()?;
    connection.send(
        "HEAD /4k HTTP/1.1\r\nHost: a\r\n\r\nGET /128 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )?;
    // If there were content, the next response would not begin here.
    let mut wire = Vec::new();
    while let Some(line) = connection.line()? {
        wire.push(line);
    }
    let statuses = wire.iter().filter(|line| line.starts_with("HTTP/1.1 200")).count();
    ensure!(statuses == 2 && wire.iter().filter(|line| line.starts_with("00000")).count() == 8, "{wire:#?}");
    Ok(())
}

fn not_modified_by_entity_tag(demo: &Demo) -> Result<()> {
    let etag = curl(["-v", &demo.url("/128")])?.field("etag").context("no ETag")?;
    ensure!(etag.starts_with('"') && etag.ends_with('"'), "not a strong entity tag: {etag}");
    for (sent, expected) in
        [(etag.clone(), "304 0"), ("\"other\"".into(), "200 128"), (format!("\"x\", W/{etag}"), "304 0")]
    {
        let field = format!("If-None-Match: {sent}");
        let got = curl([
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{size_download}",
            "-H",
            &field,
            &demo.url("/128"),
        ])?;
        ensure!(got.text() == expected, "{field}: {}, expected {expected}", got.text());
    }
    Ok(())
}

fn not_modified_since(demo: &Demo) -> Result<()> {
    let modified = curl(["-v", &demo.url("/128")])?.field("last-modified").context("no Last-Modified")?;
    for (since, expected) in [(modified.as_str(), "304"), ("Thu, 01 Jan 1970 00:00:01 GMT", "200")] {
        let field = format!("If-Modified-Since: {since}");
        let got = curl(["-o", "/dev/null", "-w", "%{http_code}", "-H", &field, &demo.url("/128")])?;
        ensure!(got.text() == expected, "{field}: {}", got.text());
    }
    Ok(())
}

fn missing_file(demo: &Demo) -> Result<()> {
    for path in ["/nothing", "/128/", "/%2e%2e/etc/passwd"] {
        let got = curl(["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", &demo.url(path)])?;
        ensure!(matches!(got.text().as_str(), "404" | "403" | "400"), "{path}: {}", got.text());
    }
    Ok(())
}

fn connection_is_reused(demo: &Demo) -> Result<()> {
    let got = curl(["-v", &demo.url("/128"), &demo.url("/4k"), &demo.url("/128")])?;
    ensure!(got.stderr.matches("Re-using existing connection").count() == 2, "{}", got.stderr);
    ensure!(got.stdout.len() == 128 + 4096 + 128);
    Ok(())
}

fn connection_close(demo: &Demo) -> Result<()> {
    let mut connection = demo.connect()?;
    connection.send("GET /128 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let response = connection.response()?.context("no response")?;
    ensure!(response.status == 200 && response.content == pattern(128));
    ensure!(connection.is_over()?, "the connection stays open");
    Ok(())
}

fn pipelined(demo: &Demo) -> Result<()> {
    let mut connection = demo.connect()?;
    let paths = ["/128", "/nothing", "/4k", "/api/bytes/100", "/128", "/api/bytes/5000", "/4k"];
    let requests: String = paths.iter().map(|p| format!("GET {p} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    connection.send(requests)?;
    for (path, len) in
        paths.iter().zip([Some(128), None, Some(4096), Some(100), Some(128), Some(5000), Some(4096)])
    {
        let response = connection.response()?.with_context(|| format!("no response to {path}"))?;
        match len {
            Some(len) => ensure!(response.content == pattern(len), "{path}: {}", response.head),
            None => ensure!(response.status == 404, "{path}: {}", response.head),
        }
    }
    Ok(())
}
