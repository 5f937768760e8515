//! TLS with independent clients: curl and OpenSSL.

mod alerts;
mod entropy;
mod replacement;

use crate::lab::{Lab, output, text};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use weir_tests::weir::{Weir, command};
use weir_tests::{PATIENCE, free_port, pattern, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] =
    &[("tls::real_clients", real_clients), ("tls::without_entropy", entropy::without_entropy)];

const START: Duration = Duration::from_secs(300);

/// Certificates of all kinds, and a configuration with them.
fn prepare() -> Result<Lab> {
    let lab = Lab::new()?;
    lab.certificate("ec", "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "ca", "ec.test", 30)?;
    lab.certificate("p384", "-newkey ec -pkeyopt ec_paramgen_curve:P-384", "ca", "p384.test", 30)?;
    lab.certificate("rsa", "-newkey rsa:2048", "ca", "rsa.test", 30)?;
    lab.certificate("ed", "-newkey ed25519", "ca", "ed.test", 30)?;
    lab.certificate("wild", "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "ca", "*.wild.test", 30)?;
    lab.certificate("default", "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "ca", "default.test", 30)?;
    for (name, days) in [("client", 30), ("revoked", 30), ("expired", -1)] {
        lab.certificate(
            name,
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
            "ca",
            &format!("{name}.client"),
            days,
        )?;
    }
    lab.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout self.key -out self.pem -days 30 -nodes -subj /CN=self.client")?;
    lab.write("index.txt", "")?;
    lab.write("crlnumber", "01\n")?;
    lab.write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\n\
             default_crl_days=30\n[crl_ext]\nauthorityKeyIdentifier=keyid\n",
    )?;
    lab.openssl("ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem")?;
    lab.openssl("ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -crlexts crl_ext -out crl.pem")?;
    std::fs::create_dir(lab.0.path().join("www"))?;
    std::fs::write(lab.0.path().join("www/128"), pattern(128))?;
    std::fs::write(lab.0.path().join("www/1m.bin"), pattern(1 << 20))?;
    lab.write("weir.toml", &CONFIG.replace("SITES", &sites()))?;
    Ok(lab)
}

const CONFIG: &str = r#"
SITES
[[site]]
name = "dual"
[[site.prefix]]
url = "https://dual.test:443/"
files = "www"
[[site.certificate]]
chain = "ec.pem"
key = "ec.key"
[[site.certificate]]
chain = "rsa.pem"
key = "rsa.key"

[[site]]
name = "modern"
[[site.prefix]]
url = "https://modern.test:443/"
files = "www"
[[site.certificate]]
chain = "ec.pem"
key = "ec.key"
[site.tls]
tls12 = false
resumption = false
hsts = "max-age=31536000; includeSubDomains"

[[site]]
name = "clients"
[[site.prefix]]
url = "https://clients.test:443/"
pool = "app"
[[site.prefix]]
url = "https://clients.test:443/api/"
pool = "app"
client_certificates = "require"
[[site.prefix]]
url = "https://clients.test:443/open/"
files = "www"
client_certificates = "ignore"
[[site.certificate]]
chain = "default.pem"
key = "default.key"
[site.tls]
client_certificates = "request"
client_ca = ["ca.pem"]
client_crl = ["crl.pem"]

[[site]]
name = "plain"
redirect_https = 8443
[[site.prefix]]
url = "http://*:80/"
files = "www"

[[pool]]
name = "app"
[[pool.worker]]
kind = "vm"
image = "worker"
memory = "32M"
"#;

fn sites() -> String {
    let mut all = String::new();
    for (name, host, file) in [
        ("ec", "ec.test", "ec"),
        ("p384", "p384.test", "p384"),
        ("rsa", "rsa.test", "rsa"),
        ("ed", "ed.test", "ed"),
        ("wild", "*.wild.test", "wild"),
        ("default", "*", "default"),
    ] {
        all += &format!(
            "[[site]]\nname = \"{name}\"\n[[site.prefix]]\nurl = \"https://{host}:443/\"\nfiles = \"www\"\n\
             [[site.certificate]]\nchain = \"{file}.pem\"\nkey = \"{file}.key\"\n"
        );
    }
    all
}

/// The client side.
struct Client<'l> {
    lab: &'l Lab,
    http: SocketAddr,
    https: SocketAddr,
}

impl Client<'_> {
    /// Output of `curl`, its exit code, and its standard error, with `%{http_code}` and the like at the end.
    fn curl(&self, host: &str, path: &str, more: &[&str]) -> Result<(i32, String, String)> {
        let port = self.https.port();
        let done = output(
            Command::new("curl")
                .args(["-sS", "--max-time", "300", "--cacert", &self.lab.path("ca.pem")])
                .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
                .args(more)
                .arg(format!("https://{host}:{port}{path}")),
        )?;
        Ok((done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr)))
    }

    fn status(&self, host: &str, path: &str, more: &[&str]) -> Result<String> {
        let (_, out, err) =
            self.curl(host, path, &[&["-o", "/dev/null", "-w", "%{http_code}"], more].concat())?;
        ensure!(out != "000", "{host}{path}: {err}");
        Ok(out)
    }

    /// Output of `openssl s_client` after a request.
    fn s_client(&self, host: &str, more: &str) -> Result<String> {
        let request = format!("GET /128 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.s_client_given(host, more, &request)
    }

    /// Output of `openssl s_client` until it ends, with this standard input.
    fn s_client_given(&self, host: &str, more: &str, input: &str) -> Result<String> {
        let port = self.https.port();
        let name = if host.is_empty() { "-noservername".into() } else { format!("-servername {host}") };
        let words = format!("s_client -connect 127.0.0.1:{port} {name} {more}");
        let mut client = command("openssl")
            .args(words.split_whitespace())
            .current_dir(self.lab.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = client.stdin.take().context("stdin")?;
        // It may have ended already, with an alert.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        // Keep its input open until it has ended: otherwise it would not wait for the response.
        let ended = wait_for(|| "openssl s_client goes on".into(), || Ok(client.try_wait()?.map(drop)));
        if ended.is_err() {
            client.kill()?;
        }
        drop(stdin);
        let done = client.wait_with_output()?;
        Ok(text(&done.stdout) + &text(&done.stderr))
    }
}

fn real_clients() -> Result<()> {
    let lab = prepare()?;
    let (http, https) = (free_port()?.to_string(), free_port()?.to_string());
    let (config, control) = (lab.path("weir.toml"), lab.path("control"));
    let mut weir =
        Weir::start([&config, "--http-port", &http, "--https-port", &https, "--control", &control])?;
    let http = weir.ready(START)?;
    let client = Client { lab: &lab, http, https: weir.https()? };
    let outcome = versions_suites_and_keys(&client)
        .and_then(|()| names(&client))
        .and_then(|()| resumption(&client))
        .and_then(|()| client_certificates(&client))
        .and_then(|()| redirect_and_hsts(&client))
        .and_then(|()| bad_input(&client))
        .and_then(|()| alerts::say_why(&client))
        .and_then(|()| replacement::replacement(&client));
    weir.signal(Signal::TERM)?;
    outcome.with_context(|| weir.log())
}

fn versions_suites_and_keys(client: &Client<'_>) -> Result<()> {
    for host in ["ec.test", "p384.test", "rsa.test", "ed.test"] {
        for version in ["1.2", "1.3"] {
            let version = ["--tls-max", version, &format!("--tlsv{version}")].map(str::to_owned);
            let more: Vec<&str> = version.iter().map(String::as_str).collect();
            let (code, out, err) = client.curl(host, "/128", &more)?;
            ensure!(code == 0 && out.as_bytes() == pattern(128), "{host} {version:?}: {code} {err}");
        }
    }
    let (_, _, err) = client.curl("ec.test", "/1m.bin", &["-o", &client.lab.path("got")])?;
    ensure!(std::fs::read(client.lab.path("got"))? == pattern(1 << 20), "1 MiB differs: {err}");
    for suite in ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"] {
        let said = client.s_client("ec.test", &format!("-tls1_3 -ciphersuites {suite}"))?;
        ensure!(said.contains(&format!("Cipher is {suite}")) && said.contains("200 OK"), "{suite}: {said}");
    }
    for (host, kind) in [("ec.test", "ECDSA"), ("rsa.test", "RSA")] {
        for cipher in ["AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305"] {
            let suite = format!("ECDHE-{kind}-{cipher}");
            let said = client.s_client(host, &format!("-tls1_2 -cipher {suite}"))?;
            ensure!(
                said.contains(&format!("Cipher is {suite}")) && said.contains("200 OK"),
                "{suite}: {said}"
            );
        }
    }
    for (sigalgs, key) in [("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")] {
        let said = client.s_client("dual.test", &format!("-tls1_3 -sigalgs {sigalgs}"))?;
        ensure!(said.contains(&format!("Peer signature type: {key}")), "{sigalgs}: {said}");
    }
    let said = client.s_client("ec.test", "-alpn h2,http/1.1")?;
    ensure!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = client.s_client("ec.test", "-alpn h2")?;
    ensure!(said.contains("no application protocol"), "{said}");
    for old in ["-tls1", "-tls1_1"] {
        let said = client.s_client("ec.test", &format!("{old} -cipher ALL:@SECLEVEL=0"))?;
        ensure!(said.contains("SSL alert number") && !said.contains("200 OK"), "{old}: {said}");
    }
    let said = client.s_client("modern.test", "-tls1_2")?;
    ensure!(said.contains("SSL alert number"), "TLS 1.2 is off there: {said}");
    Ok(())
}

fn names(client: &Client<'_>) -> Result<()> {
    for (host, subject) in
        [("ec.test", "ec.test"), ("a.wild.test", "*.wild.test"), ("other.test", "default.test")]
    {
        let said = client.s_client(host, "")?;
        ensure!(said.contains(&format!("subject=CN = {subject}")), "{host}: {said}");
    }
    let said = client.s_client("", "")?;
    ensure!(said.contains("subject=CN = default.test"), "{said}");
    // A host of a site other than the handshake's.
    let (_, out, _) = client.curl("ec.test", "/128", &["-H", "Host: rsa.test", "-w", "%{http_code}"])?;
    ensure!(out.starts_with("421") && out.contains("Misdirected") && out.ends_with("421"), "{out}");
    Ok(())
}

fn resumption(client: &Client<'_>) -> Result<()> {
    for version in ["-tls1_2", "-tls1_3"] {
        let ticket = client.lab.path("ticket");
        let said = client.s_client("ec.test", &format!("{version} -sess_out {ticket}"))?;
        ensure!(said.contains("New, TLS"), "{version}: {said}");
        let said = client.s_client("ec.test", &format!("{version} -sess_in {ticket}"))?;
        ensure!(said.contains("Reused, TLS") && said.contains("200 OK"), "{version}: {said}");
        // A ticket of one site is not accepted by another.
        let said = client.s_client("p384.test", &format!("{version} -sess_in {ticket}"))?;
        ensure!(said.contains("New, TLS"), "{version}: {said}");
    }
    let ticket = client.lab.path("no-ticket");
    client.s_client("modern.test", &format!("-tls1_3 -sess_out {ticket}"))?;
    ensure!(!Path::new(&ticket).exists(), "a ticket although resumption is off");
    Ok(())
}

fn client_certificates(client: &Client<'_>) -> Result<()> {
    let with =
        |name: &str| [client.lab.path(&format!("{name}.pem")), client.lab.path(&format!("{name}.key"))];
    let forged = [
        "-H",
        "X-Client-Cert-Subject: CN=root",
        "-H",
        "X_Client_Cert_Verify: SUCCESS",
        "-H",
        "Client-Cert: :AA==:",
    ];
    let get = |path: &str, who: Option<&str>| -> Result<String> {
        let files = who.map(with);
        let mut more: Vec<&str> = forged.to_vec();
        more.extend(["-w", "\n%{http_code}"]);
        if let Some([cert, key]) = &files {
            more.extend(["--cert", cert, "--key", key]);
        }
        let (code, out, err) = client.curl("clients.test", path, &[&more[..], &["--insecure"]].concat())?;
        ensure!(code == 0, "{path} {who:?}: {code} {err}");
        Ok(out)
    };
    for (who, reason) in [
        (None, "ClientCert_Required"),
        (Some("self"), "ClientCert_Untrusted"),
        (Some("expired"), "ClientCert_Expired"),
        (Some("revoked"), "ClientCert_Revoked"),
    ] {
        let out = get("/api/headers", who)?;
        ensure!(out.contains(reason) && out.ends_with("\n403"), "{who:?}: {out}");
    }
    let out = get("/api/headers", Some("client"))?.to_lowercase();
    ensure!(out.ends_with("\n200") && out.contains("cn=client.client"), "{out}");
    for field in
        ["x-client-cert-verify", "x-client-cert-issuer", "x-client-cert-serial", "x-client-cert-fingerprint"]
    {
        ensure!(out.contains(field), "{field}: {out}");
    }
    ensure!(!out.contains("cn=root") && !out.contains("aa==") && out.contains("success"), "{out}");
    let (files, up) = (with("client"), client.lab.path("up"));
    std::fs::write(&up, pattern(3_000_000))?;
    for more in [&["-T", &up][..], &["--data-binary", &format!("@{up}"), "-H", "Transfer-Encoding: chunked"]]
    {
        let (code, out, err) = client.curl(
            "clients.test",
            "/api/discard",
            &[more, &["-k", "--cert", &files[0], "--key", &files[1]]].concat(),
        )?;
        ensure!(code == 0 && out.contains("3000000"), "{more:?}: {code} {out} {err}");
    }
    // Where certificates are only requested, and where they are not.
    let out = get("/headers", None)?;
    ensure!(!out.ends_with("\n403"), "{out}");
    ensure!(get("/open/128", None)?.ends_with("\n200"));
    Ok(())
}

fn redirect_and_hsts(client: &Client<'_>) -> Result<()> {
    let at = client.http;
    let done = output(
        Command::new("curl")
            .args(["-sS", "-i", "--max-time", "300", "-H", "Host: ec.test"])
            .arg(format!("http://{at}/a%20b?c=d")),
    )?;
    let out = text(&done.stdout);
    ensure!(
        out.starts_with("HTTP/1.1 308 ") && out.contains("Location: https://ec.test:8443/a%20b?c=d\r\n"),
        "{out}"
    );
    let (_, out, err) = client.curl("modern.test", "/128", &["-i", "-k"])?;
    ensure!(
        out.contains("Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"),
        "{out} {err}"
    );
    let (_, out, _) = client.curl("ec.test", "/128", &["-i"])?;
    ensure!(!out.contains("Strict-Transport-Security"), "{out}");
    ensure!(client.status("ec.test", "/none", &[])? == "404");
    Ok(())
}

fn bad_input(client: &Client<'_>) -> Result<()> {
    let url = format!("http://{}/", client.https);
    let out = text(&output(Command::new("curl").args(["-sS", "-i", "--max-time", "300", &url]))?.stdout);
    ensure!(
        out.starts_with("HTTP/1.1 400 ") && out.contains("plain HTTP was sent to an HTTPS port"),
        "{out}"
    );
    // A renegotiation is rejected, and gets no further response.
    let out = client.s_client_given("ec.test", "-tls1_2", "R\n")?;
    ensure!(out.contains("RENEGOTIATING"), "{out}");
    ensure!(out.contains("no renegotiation") || out.contains("alert") || out.contains("error"), "{out}");
    let mut garbage = std::net::TcpStream::connect(client.https)?;
    garbage.set_read_timeout(Some(PATIENCE))?;
    std::io::Write::write_all(&mut garbage, &[0; 64])?;
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut garbage, &mut answer);
    ensure!(answer == [21, 3, 3, 0, 2, 2, 10], "{answer:?}");
    Ok(())
}
