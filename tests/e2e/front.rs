//! Proxies in front of the image: `curl` with the PROXY protocol, trusted proxies, and paths and fields that try to bypass a
//! rule.

use crate::demo::{Demo, SharedTest};
use crate::logs::Logged;
use anyhow::{Context, Result, ensure};
use weir_tests::PATIENCE;
use weir_tests::curl::curl;
use weir_tests::raw::Connection;

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[("front::proxy_protocol", proxy_protocol)];
pub(crate) const SHARED: &[(&str, SharedTest)] = &[
    ("front::paths_that_lead_round_a_prefix", paths_that_lead_round_a_prefix),
    ("front::what_a_worker_is_told", what_a_worker_is_told),
];

fn paths_that_lead_round_a_prefix(demo: &Demo) -> Result<()> {
    for path in
        ["//api/hello", "/api%2Fhello", "/%2Fapi/hello", "/api;x/hello", "/;/api/hello", "/api./hello"]
    {
        let status = curl(["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", &demo.url(path)])?;
        ensure!(status.text() == "400", "{path}: {}", status.text());
    }
    // Below the same prefix under every normalisation.
    for (path, expected) in
        [("/api//hello", "404"), ("/api/a%2Fb;c", "404"), ("/API/hello", "404"), ("//nothing", "404")]
    {
        let status = curl(["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", &demo.url(path)])?;
        ensure!(status.text() == expected, "{path}: {}", status.text());
    }
    Ok(())
}

fn what_a_worker_is_told(demo: &Demo) -> Result<()> {
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Original-URL: /6.6.6.6\r\n\
                  Forwarded: for=6.6.6.6\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: 6.6.6.6\r\n";
    for (start, host) in [("HTTP/1.1\r\nHost: weir.test:8080", "weir.test:8080"), ("HTTP/1.0", "10.0.2.15")] {
        let mut connection = demo.connect()?;
        connection.send(format!("GET /api/headers {start}\r\n{forged}\r\n"))?;
        let response = connection.response()?.context("no response")?;
        let told = String::from_utf8_lossy(&response.content).to_ascii_lowercase();
        ensure!(response.status == 200 && !told.contains("6.6.6.6") && !told.contains("upgrade"), "{told}");
        let port = host.split(':').nth(1).unwrap_or("80");
        // Without a Host field, the address is the network's.
        let ours = ["host", "x-forwarded-host"].map(|name| {
            let start = format!("[\"{name}\",\"");
            let value = told.split(&start).nth(1).and_then(|rest| rest.split('"').next());
            value.unwrap_or_default().to_owned()
        });
        ensure!(ours[0] == ours[1] && !ours[0].is_empty(), "{told}");
        ensure!(start.len() < 10 || ours[0] == host, "{told}");
        ensure!(told.contains(&format!("[\"x-forwarded-port\",\"{port}\"]")), "{told}");
    }
    Ok(())
}

/// One machine whose port 80 is behind a load balancer.
fn proxy_protocol() -> Result<()> {
    let settings = "fields = [\"c-ip\", \"c-port\", \"cs-uri-stem\", \"sc-status\"]\n\
                    [server]\ntrusted_proxies = [\"0.0.0.0/0\", \"::/0\"]\nproxy_protocol = [80]\n";
    let machine = Logged::start(settings)?;
    let url = |path: &str| format!("http://{}{path}", machine.at);
    // curl reports its own end of the connection.
    let got = curl(["--haproxy-protocol", "-o", "/dev/null", "-w", "%{http_code}", &url("/curl")])?;
    ensure!(got.text() == "404", "{}", got.text());
    let line = machine.wait_for("access-", " /curl ")?;
    ensure!(line.starts_with("127.0.0.1 ") && line.ends_with(" 404"), "{line}");
    let mut connection = Connection::open(machine.at, PATIENCE)?;
    connection.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x08\x0a\0\0\x01\x12\x67\0\x50")?;
    for path in ["/first", "/second"] {
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))?;
        ensure!(connection.response()?.context("no response")?.status == 404);
        ensure!(machine.wait_for("access-", path)? == format!("203.0.113.8 4711 {path} 404"));
    }
    // Without a header there is no response.
    let mut connection = Connection::open(machine.at, PATIENCE)?;
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure!(!matches!(connection.response(), Ok(Some(_))), "an answer without a header");
    machine.wait_for("httperr-", " Proxy_Header ")?;
    Ok(())
}
