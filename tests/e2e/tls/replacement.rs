//! Replacing certificates while the appliance runs.

use super::*;

/// Certificates are replaced at run time: an invalid replacement changes nothing, and existing connections stay open.
pub(super) fn replacement(client: &Client<'_>) -> Result<()> {
    let lab = client.lab;
    lab.certificate("fresh", "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "ca", "fresh.test", 30)?;
    lab.openssl("ocsp -issuer ca.pem -cert fresh.pem -reqout req.der")?;
    lab.openssl(
        "ocsp -index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem -reqin req.der -respout ocsp.der -ndays 7",
    )?;
    let ctl = |words: &str| -> Result<(bool, String)> {
        let mut ctl = Command::new(weir_tests::weir::program());
        ctl.args(["ctl", "--control", "control"]).args(words.split(' ')).current_dir(lab.0.path());
        let done = output(&mut ctl)?;
        Ok((done.status.success(), text(&done.stdout) + &text(&done.stderr)))
    };
    let is_shown = |subject: &str| -> Result<()> {
        let said = client.s_client("ec.test", "-status")?;
        ensure!(said.contains(&format!("subject=CN = {subject}")) && said.contains("200 OK"), "{said}");
        let stapled = said.contains("OCSP Response Status: successful");
        ensure!(stapled == (subject == "fresh.test"), "{said}");
        Ok(())
    };
    for (words, expected) in [
        ("certificate ec --chain fresh.pem --key ec.key", "ec.key is not the key of fresh.pem"),
        (
            "certificate ec --chain fresh.pem --key fresh.pem",
            "fresh.pem: a certificate, expected a private key",
        ),
        ("certificate ec --chain fresh.key --key fresh.key", "fresh.key: "),
        ("certificate ec --chain expired.pem --key expired.key", "expired.pem: expired "),
        (
            "certificate ec --chain fresh.pem --key fresh.key --ocsp ca.pem",
            "ca.pem: expected an OCSP response",
        ),
        ("certificate plain --chain fresh.pem --key fresh.key", "the site does not serve https"),
        ("certificate nobody --chain fresh.pem --key fresh.key", "no such site"),
    ] {
        let (done, said) = ctl(words)?;
        ensure!(!done && said.contains(expected) && said.lines().count() == 1, "{words}: {said}");
        let key = std::fs::read_to_string(lab.path("fresh.key"))?;
        ensure!(key.lines().all(|line| !said.contains(line)), "{words}: a key in {said}");
    }
    is_shown("ec.test")?;
    let mut held = command("openssl")
        .args(["s_client", "-quiet", "-servername", "ec.test", "-connect"])
        .arg(client.https.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (stdin, stdout) = (held.stdin.take().context("stdin")?, held.stdout.take().context("stdout")?);
    let served = std::io::BufReader::new(stdout);
    let outcome = keeps_its_connection(stdin, served, || {
        let (done, said) = ctl("certificate ec --chain fresh.pem --key fresh.key --ocsp ocsp.der")?;
        ensure!(done, "{said}");
        is_shown("fresh.test")
    });
    held.kill()?;
    held.wait()?;
    outcome?;
    let (_, metrics) = ctl("metrics")?;
    for name in ["weir_site_certificate_not_after_seconds{site=\"ec\"", "weir_entropy_seeded 1"] {
        ensure!(metrics.contains(name), "no {name} in {metrics}");
    }
    Ok(())
}

/// Sends two requests on one connection, with something in between.
fn keeps_its_connection(
    mut to: impl std::io::Write,
    mut from: impl std::io::BufRead,
    between: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut ask = || -> Result<()> {
        to.write_all(b"HEAD /128 HTTP/1.1\r\nHost: ec.test\r\n\r\n")?;
        to.flush()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(from.read_line(&mut head)? > 0, "the connection ended: {head}");
        }
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        Ok(())
    };
    ask()?;
    between()?;
    ask()
}
