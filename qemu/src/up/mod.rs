//! `weir up`: everything in order, and everything down again.

mod images;
mod plan;
mod ready;

use crate::ctl;
use crate::host::accel::Accel;
use crate::host::child::{self, Launcher};
use crate::host::programs::{Programs, check_port_free};
use crate::logs::Collector;
use crate::relay::Relay;
use crate::supervisor::Supervisor;
use crate::vm::net::{NetKind, parse_address};
use crate::vm::{Host, Vm};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use plan::Plan;
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

pub use images::Images;

/// What `weir up` is told.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// The configuration; the demo's if there is none.
    pub config: Option<PathBuf>,
    /// Port of 127.0.0.1 that leads to the appliance's first HTTP port. Its other ports keep their numbers.
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub http_port: u16,
    /// Port of 127.0.0.1 that leads to the appliance's first HTTPS port.
    #[arg(long, value_name = "N", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub https_port: u16,
    /// The appliance's memory.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = plan::parse_memory)]
    pub memory: u32,
    /// Accelerator; auto takes kvm where the CPU shows vmx or svm.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// `user`, or `tap:IFNAME` for an existing tap interface.
    #[arg(long, value_name = "NET", default_value = "user")]
    pub net: NetKind,
    /// Static IPv4 address of the appliance instead of DHCP, such as 192.168.7.2/24.
    #[arg(long, value_name = "CIDR")]
    pub address: Option<String>,
    /// A directory with another libhermit.a and loader.
    #[arg(long, value_name = "DIR")]
    pub kernel: Option<PathBuf>,
    /// A Unix socket to be made for `weir ctl`.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// One more argument for the appliance's QEMU; may be repeated (its network is `net0`).
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

/// Runs until a signal comes (Ok) or something that cannot be mended ends (Err). Nothing it started is left either way.
pub fn run(args: &UpArgs) -> Result<()> {
    child::adopt_orphans()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let result = runtime.block_on(LocalSet::new().run_until(until_signal(args)));
    // A build that was interrupted still waits for its compilers, which end in the next line.
    runtime.shutdown_background();
    child::stop_descendants();
    result
}

async fn until_signal(args: &UpArgs) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let name = tokio::select! {
        result = up(args) => return result,
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    };
    eprintln!("[weir] {name}: stopping");
    Ok(())
}

/// Returns only with an error: success is to be interrupted.
async fn up(args: &UpArgs) -> Result<()> {
    let options = image::Options::new()?;
    let path = args.config.clone().unwrap_or_else(|| options.workspace.join("qemu/demo/weir.toml"));
    let mut config = image::check(&path)?;
    for warning in &config.warnings {
        eprintln!("[weir] {warning}");
    }
    if let Some(address) = &args.address {
        config.address = Some(parse_address(address)?);
    }
    plan::refuse_vsock(&config)?;
    let programs = Programs::find(&options.workspace)?;
    let host = Host { launcher: Launcher::new()?, programs };
    let net = plan::network(args, &config)?;
    for (port, _) in &net.forwards {
        check_port_free(*port)?;
    }

    let runtime_dir =
        tempfile::Builder::new().prefix("weir-").tempdir().context("making a runtime directory")?;
    let images = {
        let (config, kernel) = (config.clone(), args.kernel.clone());
        let out = runtime_dir.path().join("images");
        tokio::task::spawn_blocking(move || Images::build(&config, kernel, Some(out))).await?
    }
    .context("building the images")?;

    let plan = Plan::new(args, &config, &images, net)?;
    let mut running = Running::start(plan, &host, runtime_dir.path(), args.control.as_deref()).await?;
    let outcome = running.watch().await;
    running.appliance.stop().await;
    outcome
}

/// The appliance and everything around it. Dropping it kills it.
struct Running {
    appliance: Vm,
    settled: watch::Receiver<bool>,
    url: ready::Url,
    _tasks: JoinSet<()>,
}

impl Running {
    async fn start(plan: Plan, host: &Host, directory: &Path, control: Option<&Path>) -> Result<Self> {
        let vsock = directory.join("appliance.vsock");
        let workers = directory.join("workers");
        // Relays first: a stream to a port where nobody listens is not refused but times out.
        let (handle, settled, supervising) =
            Supervisor::start(plan.pools, host.clone(), workers, vsock.clone())?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(supervising);
        if let Some(path) = control {
            tasks.spawn_local(ctl::serve(path, handle)?);
        }
        if let Some(log) = &plan.log {
            let path = Relay::path_for(&vsock, log.settings.port);
            tasks.spawn_local(Collector::bind(&path, log)?.run());
        }
        let directory = directory.join("appliance");
        std::fs::create_dir(&directory).with_context(|| format!("{}", directory.display()))?;
        let appliance = Vm::start(&plan.appliance, host, &directory, &vsock).await?;
        Ok(Self { appliance, settled, url: plan.url, _tasks: tasks })
    }

    /// Says when everything is up, and returns when the appliance has ended.
    async fn watch(&mut self) -> Result<()> {
        let serial = self.appliance.serial().clone();
        let all_up = async {
            if self.settled.wait_for(|settled| *settled).await.is_err() {
                std::future::pending::<()>().await;
            }
            let url = self.url.answers(&serial).await;
            // A closed standard output is no reason to stop serving.
            let _ = writeln!(std::io::stdout(), "ready {url}").and_then(|()| std::io::stdout().flush());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            cause = self.appliance.ended() => Err(anyhow!(cause)),
            () = all_up => Ok(()),
        }
    }
}
