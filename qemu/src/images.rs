//! `weir image`: building and inspecting images.

use crate::host::{child, message};
use crate::up;
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use image::deploy::{self, Format};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Subcommands of `weir image`.
#[derive(Subcommand)]
pub enum ImageCommand {
    /// Build the appliance with a configuration's settings and files. Without --format: loader and ELF in the target directory,
    /// and the worker images that the configuration uses.
    Build(BuildArgs),
    /// Check an image or a bundle for damage and show its contents.
    Inspect {
        /// Image in any format, or bundle.
        file: PathBuf,
    },
    /// Write private keys as a bundle, for QEMU's -fw_cfg name=opt/weir/keys,file=FILE.
    Keys {
        /// NAME=FILE: PEM file of a key, for certificates with key = "fw_cfg:NAME".
        #[arg(required = true)]
        keys: Vec<String>,
        /// Output file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write a configuration's bundle, for QEMU's -fw_cfg name=opt/weir/config,file=FILE.
    Bundle {
        /// The weir.toml to use.
        config: PathBuf,
        /// Output file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Arguments of `weir image build`.
#[derive(Args)]
pub struct BuildArgs {
    /// The weir.toml to use.
    config: PathBuf,
    /// Image format: elf, iso, raw, qcow2, vmdk or gcp.
    #[arg(long, requires = "out")]
    format: Option<Format>,
    /// Output file; its manifest and bill of materials are written beside it.
    #[arg(long, value_name = "FILE", requires = "format")]
    out: Option<PathBuf>,
    /// Directory of another libhermit.a and loader.
    #[arg(long, value_name = "DIR")]
    kernel: Option<PathBuf>,
}

/// Runs the command.
pub fn run(command: ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Build(args) => match (args.format, &args.out) {
            (Some(format), Some(out)) => build(&args.config, format, out, args.kernel.clone()),
            _ => build_direct(&args),
        },
        ImageCommand::Inspect { file } => {
            print!("{}", deploy::inspect::inspect(&file)?.report()?);
            Ok(())
        }
        ImageCommand::Keys { keys, out } => {
            println!("{}", image::cert::write_keys(&keys, &out)?);
            Ok(())
        }
        ImageCommand::Bundle { config, out } => {
            println!("{}", deploy::write_bundle(&message::check(&config)?, &out)?);
            Ok(())
        }
    }
}

fn build_direct(args: &BuildArgs) -> Result<()> {
    let config = message::check(&args.config)?;
    let images = up::Images::build(&config, args.kernel.clone(), None).context("building the images")?;
    println!("{}\n{}", images.appliance.loader, images.appliance.elf);
    say_memory(images.appliance.bundle_len);
    if let Some(worker) = &images.worker {
        println!("{}", worker.elf);
    }
    Ok(())
}

/// Builds until done or interrupted; leaves no unfinished files either way.
fn build(config: &Path, format: Format, out: &Path, kernel: Option<PathBuf>) -> Result<()> {
    let config = message::check(config)?;
    let bundle_len = image::bundle(&config)?.len() as u64;
    let options = image::Options { kernel, ..image::Options::new()? };
    let work = deploy::work_dir(format, out)?;
    child::adopt_orphans()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let result = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let (out, work) = (out.to_owned(), work.path().to_owned());
        let building = tokio::task::spawn_blocking(move || {
            let progress = |line: &str| eprintln!("[image] {line}");
            deploy::build(&config, &options, format, &out, &work, &progress)
        });
        let name = tokio::select! {
            result = building => return result?,
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        };
        Err(anyhow!("interrupted by {name}; nothing was written"))
    });
    // An interrupted build is still waiting for its compilers, which are ended here.
    runtime.shutdown_background();
    child::stop_descendants();
    drop(work);
    for file in result?.files {
        println!("{} {} bytes sha256 {}", file.name, file.bytes, file.sha256);
    }
    say_memory(bundle_len);
    Ok(())
}

/// Prints how much memory an image with a bundle of this length needs.
fn say_memory(bundle_len: u64) {
    println!("needs {} MiB of memory, plus what UEFI firmware needs", image::least_memory_mib(bundle_len));
}
