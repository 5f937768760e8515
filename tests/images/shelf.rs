//! The images shared by the tests, each built when first needed.

use anyhow::{Context, Result, ensure};
use image::deploy::Format;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use weir_tests::weir::program;

/// Content of the page.
pub(crate) const PAGE: &[u8] = b"<p>from the image</p>\n";

/// A directory with a configuration and images built from it.
pub(crate) struct Shelf(TempDir);

impl Shelf {
    pub(crate) fn new() -> Result<Self> {
        let shelf = Self(TempDir::new()?);
        shelf.configuration("weir", PAGE)?;
        Ok(shelf)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes NAME.toml, a site with one page; no pools, so it needs no vsock.
    pub(crate) fn configuration(&self, name: &str, page: &[u8]) -> Result<PathBuf> {
        std::fs::create_dir_all(self.path(name))?;
        std::fs::write(self.path(name).join("index.html"), page)?;
        let toml = self.path(&format!("{name}.toml"));
        let text =
            format!("[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"{name}\"\n");
        std::fs::write(&toml, text)?;
        Ok(toml)
    }

    /// The image in this format.
    pub(crate) fn image(&self, format: Format) -> Result<PathBuf> {
        self.image_of("weir", format)
    }

    /// The image of this configuration in this format.
    pub(crate) fn image_of(&self, name: &str, format: Format) -> Result<PathBuf> {
        let path = self.path(&format!("{name}.{format}"));
        if !path.exists() {
            self.build_of(name, format, &path)?;
        }
        Ok(path)
    }

    fn build_of(&self, name: &str, format: Format, out: &Path) -> Result<()> {
        let output = self.weir_image([
            "build".as_ref(),
            "--format".as_ref(),
            format.name().as_ref(),
            "--out".as_ref(),
            out.as_os_str(),
            self.path(&format!("{name}.toml")).as_os_str(),
        ])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The bundle of a configuration, as a file.
    pub(crate) fn bundle(&self, config: &Path, out: &str) -> Result<PathBuf> {
        let out = self.path(out);
        let output =
            self.weir_image(["bundle".as_ref(), config.as_os_str(), "--out".as_ref(), out.as_os_str()])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(out)
    }

    /// Runs `weir image ARGS`.
    pub(crate) fn weir_image<'a>(&self, args: impl IntoIterator<Item = &'a OsStr>) -> Result<Output> {
        Command::new(program()).arg("image").args(args).output().context("starting weir")
    }

    /// A damaged copy of a file, with its loader beside it if it has one.
    pub(crate) fn damaged(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<PathBuf> {
        let mut content = std::fs::read(path)?;
        change(&mut content);
        let copy = self.path("damaged");
        std::fs::write(&copy, content)?;
        let loader = PathBuf::from(format!("{}.loader", path.display()));
        if loader.exists() {
            std::fs::copy(loader, self.path("damaged.loader"))?;
        }
        Ok(copy)
    }
}
