//! Configuration over QEMU's `fw_cfg`.

use crate::Test;
use crate::damage::find;
use crate::shelf::{PAGE, Shelf};
use anyhow::{Context, Result, ensure};
use image::deploy::Format;
use model::bundle::VERSION;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use weir_tests::PATIENCE;
use weir_tests::curl::curl;
use weir_tests::machine::{Machine, Setup};

pub(crate) const TESTS: &[Test] = &[
    ("fw_cfg::wins_over_the_built_in", wins),
    ("fw_cfg::keys_come_from_the_host", keys_from_the_host),
    ("fw_cfg::keys_are_checked", keys_are_checked),
    ("fw_cfg::bad_bundles_are_refused", bad_bundles),
];

const OTHER: &[u8] = b"<p>from the host</p>\n";

fn setup(shelf: &Shelf, given: &[(&str, &Path)]) -> Result<Setup> {
    let mut setup = Setup::new(Format::Elf, &shelf.image(Format::Elf)?);
    for (name, file) in given {
        setup.extra.extend(["-fw_cfg".into(), format!("name={name},file={}", file.display()).into()]);
    }
    Ok(setup)
}

fn other(shelf: &Shelf) -> Result<std::path::PathBuf> {
    shelf.bundle(&shelf.configuration("other", OTHER)?, "other.bundle")
}

fn wins(shelf: &Shelf) -> Result<()> {
    let mut machine = Machine::boot(&setup(shelf, &[("opt/weir/config", &other(shelf)?)])?)?;
    let (_, page) = machine.first_200("/", PATIENCE)?;
    ensure!(page == OTHER, "{}", String::from_utf8_lossy(&page));
    let log = machine.log();
    ensure!(log.contains("weir: configuration: fw_cfg opt/weir/config, "), "{log}");
    Ok(())
}

/// An https site whose key is in neither the image nor the configuration, but in a separate file on the host.
fn keys_from_the_host(shelf: &Shelf) -> Result<()> {
    const NAME: &str = "handed.test";
    let directory = shelf.path("certificates");
    let made = image::cert::dev(&directory, &[NAME.to_owned()])?;
    let toml = shelf.path("handed.toml");
    let text = format!(
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://{NAME}:80/\"\nfiles = \"weir\"\n\
         [[site.certificate]]\nchain = {:?}\nkey = \"fw_cfg:handed\"\n",
        made.chain
    );
    std::fs::write(&toml, text)?;
    let config = shelf.bundle(&toml, "handed.bundle")?;
    let keys = shelf.path("handed.keys");
    let key = format!("handed={}", made.key.display());
    let words = ["keys".as_ref(), key.as_ref(), "--out".as_ref(), keys.as_os_str()];
    let output = shelf.weir_image(words)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let secret = PrivateKeyDer::from_pem_file(&made.key).context("the key")?;
    let holds =
        |file: &Path| std::fs::read(file).map(|content| find(&content, secret.secret_der()).is_some());
    ensure!(holds(&keys)? && !holds(&config)?, "the key belongs into its own file alone");

    let given: [(&str, &Path); 2] = [("opt/weir/config", &config), ("opt/weir/keys", &keys)];
    let mut machine = Machine::boot(&setup(shelf, &given)?)?;
    machine.line("serving at", PATIENCE)?;
    let port = machine.port();
    let page = curl([
        "--retry".into(),
        "20".into(),
        "--retry-all-errors".into(),
        "--retry-delay".into(),
        "1".into(),
        "--cacert".into(),
        made.ca.display().to_string(),
        "--resolve".into(),
        format!("{NAME}:{port}:127.0.0.1"),
        format!("https://{NAME}:{port}/"),
    ])?;
    ensure!(page.stdout == PAGE, "{}", page.text());
    drop(machine);

    let mut machine = Machine::boot(&setup(shelf, &given[..1])?)?;
    machine.line("weir: https is not served: a private key was not handed over, expected it in", PATIENCE)?;
    Ok(())
}

fn keys_are_checked(shelf: &Shelf) -> Result<()> {
    let keys = other(shelf)?;
    let mut machine = Machine::boot(&setup(shelf, &[("opt/weir/keys", &keys)])?)?;
    ensure!(machine.first_200("/", PATIENCE)?.1 == PAGE, "the built-in configuration serves");
    let log = machine.log();
    ensure!(log.contains("weir: keys: fw_cfg opt/weir/keys, 1 entries"), "{log}");
    let damaged = shelf.damaged(&keys, |content| content[40] ^= 1)?;
    refused(shelf, "opt/weir/keys", &damaged, "bundle checksum is wrong")
}

fn refused(shelf: &Shelf, name: &str, bundle: &Path, why: &str) -> Result<()> {
    let (code, log) = Machine::boot(&setup(shelf, &[(name, bundle)])?)?.ended(PATIENCE)?;
    let line = format!("error: configuration (fw_cfg {name}): {why}");
    ensure!(code == Some(3), "QEMU's exit code {code:?}: {log}");
    ensure!(log.contains(&line) && !log.contains("serving"), "no {line:?}: {log}");
    Ok(())
}

fn bad_bundles(shelf: &Shelf) -> Result<()> {
    let good = other(shelf)?;
    let name = "opt/weir/config";
    let newer =
        shelf.damaged(&good, |content| content[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes()))?;
    let why = format!("bundle has format version {}, this build reads {VERSION}", VERSION + 1);
    refused(shelf, name, &newer, &why)?;
    let truncated = shelf.damaged(&good, |content| content.truncate(content.len() - 1))?;
    refused(shelf, name, &truncated, "bundle is truncated")?;
    let flipped = shelf.damaged(&good, |content| *content.last_mut().expect("not empty") ^= 0x80)?;
    refused(shelf, name, &flipped, "bundle checksum is wrong")?;
    let other = shelf.damaged(&good, |content| content[0] = b'w')?;
    refused(shelf, name, &other, "no bundle here (bad magic)")
}
