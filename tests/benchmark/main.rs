//! Measures Weir beside nginx on Debian's kernel, both in the same QEMU on this machine, and prints Markdown tables.
//! `tests/bench` builds what it needs; everything runs in a separate network namespace.

mod bandwidth;
mod curl;
mod load;
mod machine;
mod plot;
mod pools;
mod relay;
mod single;
mod tls;
mod uploads;
mod wrk;

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_tests::net::Namespace;

/// Arguments passed on by `tests/bench`.
#[derive(Parser, Clone, Debug)]
struct Options {
    /// The `weir` program.
    #[arg(long)]
    weir: PathBuf,
    /// Directory of the other machine's `vmlinuz` and `initrd`.
    #[arg(long)]
    nginx: PathBuf,
    /// Rounds of load; the median is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load per round.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Run only these parts: single, relay, load, tls, bandwidth, pools.
    #[arg(long, value_delimiter = ',', default_values = ["single", "relay", "load", "tls"])]
    only: Vec<String>,
    /// Configuration of the appliance, relative to the checkout.
    #[arg(long, default_value = "qemu/demo/weir.toml")]
    config: PathBuf,
    /// Directory for the bandwidth report.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Set inside the namespace.
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.inside {
        return measure(options);
    }
    let namespace = Namespace::new().context("a network namespace (takes root and iproute2)")?;
    let status = namespace
        .command(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .status()
        .context("running in the namespace")?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

fn measure(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let lab = machine::Lab::new(options)?;
        println!("Host: {}\n", host());
        for part in &options.only {
            match part.as_str() {
                "single" => single::measure(&lab).await?,
                "relay" => relay::measure(&lab).await?,
                "load" => load::measure(&lab, options).await?,
                "tls" => tls::measure(&lab, options).await?,
                "pools" => pools::measure(&lab, options).await?,
                "bandwidth" => bandwidth::measure(&lab, options).await?,
                other => bail!("no part named {other}"),
            }
        }
        Ok(())
    })
}

/// A description of the host. Other load slows both machines, and the one with more threads more.
fn host() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{processors} processors, load average before the start {}",
        load.split(' ').next().unwrap_or("unknown")
    )
}

/// The median.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
