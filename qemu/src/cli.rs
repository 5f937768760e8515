//! The command line. Every error is one line on standard error, with exit status 1.

use crate::ctl;
use crate::host::child;
use crate::host::message;
use crate::host::tether::{self, Tether};
use crate::images::{self, ImageCommand};
use crate::supervise;
use crate::up;
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "weir",
    version,
    about = "HTTP.sys as a unikernel: build and run appliances, and manage their workers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the images, boot the appliance and its workers in QEMU, and run until SIGINT or SIGTERM.
    Up(up::UpArgs),
    /// Manage the workers of an appliance run by `weir up --no-supervisor`, until SIGINT or SIGTERM.
    Supervise(supervise::SuperviseArgs),
    /// Check a configuration and everything it refers to.
    Check {
        /// The weir.toml to check.
        config: PathBuf,
    },
    /// Print the JSON Schema of configurations, for editors.
    Schema {
        /// Print the Markdown reference of all tables and keys instead.
        #[arg(long)]
        reference: bool,
    },
    /// Issue certificates.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Query and control a running `weir up` or `weir supervise` (started with --control PATH).
    Ctl(ctl::CtlArgs),
    /// Build and inspect images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Run a program that dies with this one (for the supervisor itself).
    #[command(name = tether::SUBCOMMAND, hide = true)]
    Tethered(Tether),
}

#[derive(Subcommand)]
enum CertCommand {
    /// Issue a development certificate, creating the development CA if necessary.
    Dev {
        /// Host names, *.domain, or IP addresses.
        #[arg(required = true)]
        names: Vec<String>,
        /// Directory of the files [default: beside the images, where `dev` in a configuration looks]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("{}", error.to_string().trim_end());
            return ExitCode::from(2);
        }
        // Help is not an error.
        Err(help) => help.exit(),
    };
    // A worker's launcher keeps its umask.
    if !matches!(cli.command, Command::Tethered(_)) {
        child::restrict_umask();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up(args) => up::run(&args),
        Command::Supervise(args) => supervise::run(&args),
        Command::Check { config } => check(&config),
        Command::Schema { reference } => schema(reference),
        Command::Ctl(args) => ctl::run(&args),
        Command::Cert(CertCommand::Dev { names, dir }) => cert_dev(&names, dir),
        Command::Image(command) => images::run(command),
        Command::Tethered(tether) => tether.become_it(),
    }
}

fn check(path: &Path) -> Result<()> {
    let config = message::check(path)?;
    let least = image::least_memory_mib(image::bundle(&config)?.len() as u64);
    let workers: usize = config.pools.iter().map(|pool| pool.workers.len()).sum();
    println!(
        "{}: {} sites, {} pools, {workers} workers; needs {least} MiB of memory",
        path.display(),
        config.sites.len(),
        config.pools.len()
    );
    Ok(())
}

fn schema(reference: bool) -> Result<()> {
    let text = if reference { image::config::reference() } else { image::config::schema() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn cert_dev(names: &[String], dir: Option<PathBuf>) -> Result<()> {
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => image::Options::new()?.target_dir.join("dev"),
    };
    let made = image::cert::dev(&dir, names)?;
    println!(
        "authority   {}\ncertificate {}\nkey         {}",
        made.ca.display(),
        made.chain.display(),
        made.key.display()
    );
    println!("curl --cacert {} https://{}:8443/", made.ca.display(), names[0]);
    Ok(())
}

/// Prints an error and its causes on one line, even if they contain a tool's multi-line message; configuration errors take a line each.
fn print_error(error: &anyhow::Error) {
    let one_line = |text: &str| {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
    };
    match error.downcast_ref::<image::ConfigErrors>() {
        Some(errors) => errors.0.iter().for_each(message::say_fault),
        None => eprintln!("weir: {}", one_line(&format!("{error:#}"))),
    }
}
