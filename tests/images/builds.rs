//! Results of a build: the same bytes each time, everything listed, no partial files.

use crate::Test;
use crate::shelf::Shelf;
use anyhow::{Context, Result, ensure};
use image::Program;
use image::artifact::hex_sha256;
use image::deploy::{Format, IMAGE_LEN_MAX};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use weir_tests::wait_for;
use weir_tests::weir::program;

/// The resolution of the coarsest time stamp in any format.
const FAT_CLOCK: Duration = Duration::from_secs(2);

pub(crate) const TESTS: &[Test] = &[
    ("builds::twice_the_same_bytes", twice_the_same_bytes),
    ("builds::unchanged_compiles_nothing", unchanged_compiles_nothing),
    ("builds::everything_is_listed", everything_is_listed),
    ("builds::every_crate_is_in_the_bill_of_materials", bill_of_materials),
    ("builds::interrupted_leaves_nothing", interrupted),
    ("builds::killed_leaves_the_old_image", killed),
];

/// In another directory, at another time, from the same settings and files elsewhere.
fn twice_the_same_bytes(shelf: &Shelf) -> Result<()> {
    let other = Shelf::new()?;
    let mut first_built = SystemTime::UNIX_EPOCH;
    for format in Format::ALL {
        first_built = first_built.max(std::fs::metadata(shelf.image(format)?)?.modified()?);
    }
    // The files' times are part of the image: Last-Modified.
    let files = [("weir.toml", "weir.toml"), ("weir/index.html", "weir/index.html")];
    for (from, to) in files {
        let modified = std::fs::metadata(shelf.path(from))?.modified()?;
        std::fs::File::options().append(true).open(other.path(to))?.set_modified(modified)?;
    }
    // So that every time stamp of a build would differ.
    wait_for(
        || "the clock to move on".to_owned(),
        || Ok((SystemTime::now() > first_built + FAT_CLOCK).then_some(())),
    )?;
    for format in Format::ALL {
        let (first, second) = (shelf.image(format)?, other.image(format)?);
        for suffix in ["", ".json", ".cdx.json"] {
            let read = |path: &std::path::Path| std::fs::read(format!("{}{suffix}", path.display()));
            ensure!(read(&first)? == read(&second)?, "{format}{suffix} differs");
        }
    }
    Ok(())
}

/// Both programs share a target directory, so the requirements of one must not invalidate the other's crates.
fn unchanged_compiles_nothing(_: &Shelf) -> Result<()> {
    let options = image::Options::new()?;
    for program in [Program::Worker, Program::Appliance, Program::Worker] {
        image::build_program(program, &options, &|_| ())?;
        let log = options.target_dir.join(format!("programs/{}.log", program.binary()));
        let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        ensure!(!log.contains("Compiling"), "{}: {log}", program.binary());
    }
    Ok(())
}

fn everything_is_listed(shelf: &Shelf) -> Result<()> {
    for format in Format::ALL {
        let image = shelf.image(format)?;
        let text = std::fs::read_to_string(format!("{}.json", image.display()))?;
        let manifest: serde_json::Value = serde_json::from_str(&text)?;
        let files = manifest["files"].as_array().context("files")?;
        ensure!(files.len() == if format == Format::Elf { 3 } else { 2 }, "{text}");
        for file in files {
            let content = std::fs::read(shelf.path(file["name"].as_str().context("name")?))?;
            ensure!(
                file["bytes"] == content.len() && file["sha256"] == hex_sha256(&content),
                "{format}: {file}"
            );
        }
        let size = |part: &str| manifest[part].as_u64().with_context(|| part.to_owned());
        let mut parts = 0;
        for part in ["kernel_bytes", "appliance_bytes", "tls_bytes", "loader_bytes"] {
            ensure!(size(part)? > 50_000, "{part}: {}", size(part)?);
            parts += size(part)?;
        }
        parts += size("boot_bytes")?;
        ensure!(parts < IMAGE_LEN_MAX, "{parts} bytes");
    }
    Ok(())
}

fn bill_of_materials(shelf: &Shelf) -> Result<()> {
    let image = shelf.image(Format::Raw)?;
    let text = std::fs::read_to_string(format!("{}.cdx.json", image.display()))?;
    let bill: serde_json::Value = serde_json::from_str(&text)?;
    ensure!(bill["bomFormat"] == "CycloneDX" && bill["specVersion"] == "1.5");
    let components = bill["components"].as_array().context("components")?;
    for name in ["appliance", "netdrv", "smoltcp", "libhermit-rs", "core", "rusty-loader-x86_64", "grub2"] {
        ensure!(components.iter().any(|c| c["name"] == name), "{name} is missing");
    }
    for component in components.iter().filter(|c| c.get("purl").is_some()) {
        ensure!(component["hashes"][0]["content"].as_str().is_some_and(|h| h.len() == 64), "{component}");
    }
    Ok(())
}

/// Ends a build with `signal` after `delay`; true if it had finished before.
fn cut_off(shelf: &Shelf, out: &str, signal: Signal, delay: Duration) -> Result<bool> {
    let mut build = Command::new(program());
    build
        .args(["image", "build", "--format", "raw", "--out"])
        .arg(shelf.path(out))
        .arg(shelf.path("weir.toml"));
    let mut child = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("starting weir")?;
    std::thread::sleep(delay);
    kill_process(Pid::from_raw(child.id().try_into()?).context("pid")?, signal)?;
    Ok(child.wait()?.success())
}

const DELAYS: [u64; 5] = [50, 200, 500, 800, 1200];

fn interrupted(shelf: &Shelf) -> Result<()> {
    for delay in DELAYS.map(Duration::from_millis) {
        std::fs::create_dir_all(shelf.path("cut"))?;
        let done = cut_off(shelf, "cut/weir.raw", Signal::INT, delay)?;
        let left: Vec<_> = std::fs::read_dir(shelf.path("cut"))?.map(|e| e.map(|e| e.file_name())).collect();
        ensure!(done || left.is_empty(), "after {delay:?}: {left:?}");
        std::fs::remove_dir_all(shelf.path("cut"))?;
    }
    Ok(())
}

fn killed(shelf: &Shelf) -> Result<()> {
    let whole = std::fs::read(shelf.image(Format::Raw)?)?;
    std::fs::create_dir_all(shelf.path("kill"))?;
    for delay in DELAYS.map(Duration::from_millis) {
        let old = b"the image of before";
        std::fs::write(shelf.path("kill/weir.raw"), old)?;
        cut_off(shelf, "kill/weir.raw", Signal::KILL, delay)?;
        let now = std::fs::read(shelf.path("kill/weir.raw"))?;
        ensure!(now == old || now == whole, "after {delay:?}: {} bytes", now.len());
    }
    Ok(())
}
