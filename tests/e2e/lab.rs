//! Certificates issued by OpenSSL.

use anyhow::{Context, Result, ensure};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with a CA and the certificates it has issued.
pub(crate) struct Lab(pub(crate) TempDir);

impl Lab {
    pub(crate) fn new() -> Result<Self> {
        let lab = Self(TempDir::new()?);
        lab.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -out ca.pem -days 30 -nodes -subj /CN=ca")?;
        Ok(lab)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<()> {
        Ok(std::fs::write(self.0.path().join(name), content)?)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub(crate) fn openssl(&self, words: &str) -> Result<()> {
        let done = output(Command::new("openssl").args(words.split(' ')).current_dir(self.0.path()))?;
        ensure!(done.status.success(), "openssl {words}: {}", text(&done.stderr));
        Ok(())
    }

    pub(crate) fn certificate(&self, file: &str, key: &str, ca: &str, name: &str, days: i32) -> Result<()> {
        self.write(
            &format!("{file}.ext"),
            &format!("subjectAltName=DNS:{name}\nauthorityKeyIdentifier=keyid\n"),
        )?;
        self.openssl(&format!("req {key} -keyout {file}.key -out {file}.csr -nodes -subj /CN={name}"))?;
        self.openssl(&format!(
            "x509 -req -in {file}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days {days} -extfile {file}.ext -out {file}.pem"
        ))
    }
}
