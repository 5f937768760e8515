//! Checks that a build's output names are free or belong to an earlier build.

use super::{Format, Manifest, beside};
use crate::place;
use anyhow::{Result, bail, ensure};
use model::bundle::MAGIC;
use std::io::Read;
use std::path::Path;

/// Fails unless the image `out` and its companion files do not exist, or are listed in the manifest beside them.
pub(super) fn refuse_foreign(format: Format, out: &Path) -> Result<()> {
    let manifest = beside(out, "json");
    let listed = Manifest::listed(&manifest);
    let mut outputs = vec![out.to_owned(), beside(out, "cdx.json")];
    if format == Format::Elf {
        outputs.push(beside(out, "loader"));
    }
    for path in &outputs {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if place::has_file(path)? && !listed.iter().flatten().any(|listed| *listed == name) {
            bail!(
                "{}: exists and is not listed in {}; remove it or choose another name",
                path.display(),
                manifest.display()
            );
        }
    }
    ensure!(
        listed.is_some() || !place::has_file(&manifest)?,
        "{}: exists and is not an image's manifest; remove it or choose another name",
        manifest.display()
    );
    Ok(())
}

/// Fails unless `out` does not exist or is a bundle.
pub(crate) fn refuse_unless_bundle(out: &Path) -> Result<()> {
    let is_bundle = || {
        let mut start = Vec::new();
        let read =
            std::fs::File::open(out).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
        read.is_ok() && start == MAGIC
    };
    if place::has_file(out)? && !is_bundle() {
        bail!("{}: exists and is not a bundle; remove it or choose another name", out.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_earlier_build_wrote_is_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let put = |name: &str, text: &str| std::fs::write(at(name), text).expect("written");
        let judge = |format| refuse_foreign(format, &at("weir.elf"));
        judge(Format::Elf).expect("nothing is there");
        put("weir.elf.loader", "mine");
        judge(Format::Raw).expect("no disk has a loader beside it");
        assert!(judge(Format::Elf).is_err());
        let manifest =
            r#"{"format":"elf","weir":"0.1.0","files":[{"name":"weir.elf"},{"name":"weir.elf.loader"}]}"#;
        put("weir.elf.json", manifest);
        put("weir.elf", "an image");
        judge(Format::Elf).expect("listed");
        put("weir.elf.cdx.json", "mine");
        assert!(judge(Format::Elf).is_err());
        std::fs::remove_file(at("weir.elf.cdx.json")).expect("removed");
        put("weir.elf.json", "{\"files\":[]}");
        assert!(judge(Format::Elf).is_err(), "no manifest");
    }

    #[test]
    fn only_a_bundle_is_overwritten_by_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().join("app.toml");
        refuse_unless_bundle(&out).expect("nothing is there");
        std::fs::write(&out, "[[site]]\n").expect("written");
        assert!(refuse_unless_bundle(&out).is_err());
        std::fs::write(&out, [&MAGIC[..], b"and so on"].concat()).expect("written");
        refuse_unless_bundle(&out).expect("a bundle");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&out, &link).expect("linked");
        assert!(refuse_unless_bundle(&link).is_err());
    }
}
