//! The command line. Every failure is one line on standard error and an exit status of 1.

use crate::ctl;
use crate::host::child;
use crate::images::{self, ImageCommand};
use crate::up;
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "weir",
    version,
    about = "HTTP.sys as a unikernel: build it, run it, look after its workers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the images, boot the appliance and its workers in QEMU, run until SIGINT or SIGTERM.
    Up(up::UpArgs),
    /// Check a configuration and everything it names.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// See and change what a running `weir up --control PATH` does.
    Ctl(ctl::CtlArgs),
    /// Build images, and look into them.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Run a program that dies with this one (for the supervisor itself).
    #[command(name = child::SUBCOMMAND, hide = true)]
    Tethered {
        #[arg(long)]
        parent: i32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up(args) => up::run(&args),
        Command::Check { config } => check(&config),
        Command::Ctl(args) => ctl::run(&args),
        Command::Image(command) => images::run(command),
        Command::Tethered { parent, command } => child::become_tethered(parent, &command),
    }
}

fn check(path: &Path) -> Result<()> {
    let config = image::check(path)?;
    let workers: usize = config.pools.iter().map(|pool| pool.workers.len()).sum();
    println!(
        "{}: {} sites, {} pools, {workers} workers",
        path.display(),
        config.sites.len(),
        config.pools.len()
    );
    Ok(())
}

/// An error and its causes on one line, whatever a tool's message inside it looks like.
fn one_line(error: &anyhow::Error) -> String {
    let lines = format!("{error:#}");
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}
