//! Measures deployed images and prints Markdown tables: build time, sizes of parts, boot time and minimum memory.
//! `tests/bench images` builds what it needs.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use image::deploy::Format;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_tests::machine::{Machine, Setup, has_uefi};

/// Arguments passed on by `tests/bench images`.
#[derive(Parser, Clone, Debug)]
struct Options {
    /// The `weir` program.
    #[arg(long)]
    weir: PathBuf,
    /// Boots per format; the median is reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also build kernel and appliance from scratch, in a separate directory. Takes minutes.
    #[arg(long)]
    cold: bool,
}

const PATIENCE: Duration = Duration::from_secs(120);
/// With too little memory some machines hang rather than end.
const SHORT_PATIENCE: Duration = Duration::from_secs(15);
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 8..=256;

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let directory = TempDir::new()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("www"))?;
    std::fs::write(path("www/index.html"), "<p>weir</p>\n")?;
    let config = "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n";
    std::fs::write(path("weir.toml"), config)?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("Load average before the start: {}\n", load.split(' ').next().unwrap_or("unknown"));

    println!("| format | build, warm | file | kernel | appliance | TLS | bundle | loader | GRUB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for format in Format::ALL {
        let out = path(&format!("weir.{format}"));
        // The first build may compile; the next one is measured.
        build(options, format, &path("weir.toml"), &out, None)?;
        let took = build(options, format, &path("weir.toml"), &out, None)?;
        let manifest = std::fs::read_to_string(path(&format!("weir.{format}.json")))?;
        let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
        let part = |name: &str| manifest[name].as_u64().unwrap_or(0);
        println!(
            "| {format} | {:.1} s | {} | {} | {} | {} | {} | {} | {} |",
            took.as_secs_f64(),
            std::fs::metadata(&out)?.len(),
            part("kernel_bytes"),
            part("appliance_bytes"),
            part("tls_bytes"),
            part("bundle_bytes"),
            part("loader_bytes"),
            part("boot_bytes"),
        );
    }
    if options.cold {
        let target = path("target");
        let took = build(options, Format::Raw, &path("weir.toml"), &path("cold.raw"), Some(&target))?;
        println!("\nraw, cold (kernel and appliance from nothing): {:.0} s", took.as_secs_f64());
    }

    println!("\n| booted | first 200, median | least | smallest memory |\n|---|---|---|---|");
    for (format, uefi) in [
        (Format::Elf, false),
        (Format::Raw, false),
        (Format::Qcow2, false),
        (Format::Vmdk, false),
        (Format::Iso, false),
        (Format::Raw, true),
        (Format::Iso, true),
    ] {
        if uefi && !has_uefi() {
            continue;
        }
        let mut setup = Setup::new(format, &path(&format!("weir.{format}")));
        (setup.uefi, setup.memory_mib) = (uefi, 128);
        let mut times = Vec::new();
        for _ in 0..if uefi { options.rounds.min(2) } else { options.rounds } {
            times.push(Machine::boot(&setup)?.first_200("/", PATIENCE)?.0);
        }
        times.sort();
        let middle = times.get(times.len() / 2).context("no round")?;
        let name = format!("{format}, {}", if uefi { "UEFI" } else { "BIOS" });
        let least = times[0].as_millis();
        println!("| {name} | {} ms | {least} ms | {} MiB |", middle.as_millis(), smallest(&setup)?);
    }
    Ok(())
}

/// Builds an image and returns the duration.
fn build(
    options: &Options,
    format: Format,
    config: &Path,
    out: &Path,
    target: Option<&Path>,
) -> Result<Duration> {
    let mut weir = Command::new(&options.weir);
    weir.args(["image", "build", "--format", format.name(), "--out"]).arg(out).arg(config);
    if let Some(target) = target {
        weir.env("CARGO_TARGET_DIR", target);
    }
    let start = Instant::now();
    let output = weir.stdout(Stdio::null()).output().context("starting weir")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(start.elapsed())
}

/// The minimum memory that the image serves with, by bisection.
fn smallest(setup: &Setup) -> Result<u32> {
    let (mut fails, mut serves) = (*MEMORY_MIB.start(), setup.memory_mib.min(*MEMORY_MIB.end()));
    while serves - fails > 1 {
        let memory_mib = fails + (serves - fails) / 2;
        let setup = Setup { memory_mib, ..setup.clone() };
        let patience = if setup.uefi { PATIENCE } else { SHORT_PATIENCE };
        match Machine::boot(&setup)?.first_200("/", patience) {
            Ok(_) => serves = memory_mib,
            Err(_) => fails = memory_mib,
        }
    }
    Ok(serves)
}
