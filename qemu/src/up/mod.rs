//! `weir up`: starts everything in order, and shuts it down.

mod drain;
pub(crate) mod images;
mod plan;
mod ready;

use crate::ctl::{self, Begun, ControlArgs, Responder};
use crate::host::accel::Accel;
use crate::host::child::{self, Launcher};
use crate::host::message;
use crate::host::own_socket::OwnSocket;
use crate::host::programs::{Programs, check_port_free};
use crate::host::runtime_dir::{self, Role, RuntimeDir};
use crate::host::signals::Signals;
use crate::logs;
use crate::relay::Relay;
use crate::supervisor::client::Client;
use crate::supervisor::{self, Supervisor};
use crate::vm::net::{NetKind, parse_address};
use crate::vm::{Host, Vm};
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use plan::Plan;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use images::Images;

/// Arguments of `weir up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// The configuration [default: the demo's]
    pub config: Option<PathBuf>,
    /// Host port forwarded to the appliance's first http port. Its other ports keep their numbers.
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub http_port: u16,
    /// Host port forwarded to the appliance's first https port.
    #[arg(long, value_name = "N", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub https_port: u16,
    /// Memory of the appliance.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = plan::parse_memory)]
    pub memory: u32,
    /// Accelerator; auto is kvm if the CPU shows vmx or svm, otherwise tcg.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// `passt` (default if installed), `user` for QEMU's user network, which loses clients if many arrive at once, `tap` for a
    /// temporary tap interface (requires root), or `tap:IFNAME` for an existing one.
    #[arg(long, value_name = "NET")]
    pub net: Option<NetKind>,
    /// IPv4 address of the host whose ports are forwarded to the appliance; 0.0.0.0: all [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", value_parser = plan::parse_listen)]
    pub listen: Option<Ipv4Addr>,
    /// Static IPv4 address of the appliance instead of DHCP, such as 192.168.7.2/24.
    #[arg(long, value_name = "CIDR")]
    pub address: Option<String>,
    /// Directory of another libhermit.a and loader.
    #[arg(long, value_name = "DIR")]
    pub kernel: Option<PathBuf>,
    /// The socket for `weir ctl`.
    #[command(flatten)]
    pub control: ControlArgs,
    /// Permanent directory for sockets and images [default: a temporary one]
    #[arg(long, value_name = "DIR", value_parser = runtime_dir::parse)]
    pub runtime_dir: Option<PathBuf>,
    /// Do not manage workers; `weir supervise --runtime-dir DIR` does so in a separate process.
    #[arg(long, requires = "runtime_dir")]
    pub no_supervisor: bool,
    /// Additional argument for the appliance's QEMU; may be repeated (the network is `net0`).
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

/// Runs until a signal arrives and requests in progress are done (`Ok`), or until something fails for good (`Err`). Child
/// processes never outlive it.
pub fn run(args: &UpArgs) -> Result<()> {
    child::run(until_signal(args))
}

async fn until_signal(args: &UpArgs) -> Result<()> {
    let mut signals = Signals::new()?;
    let mut running = tokio::select! {
        started = start(args) => started?,
        name = signals.next() => {
            eprintln!("[weir] {name}: stopping");
            return Ok(());
        }
    };
    let outcome = running.run(&mut signals).await;
    running.appliance.stop().await;
    outcome
}

/// Builds the images and boots the appliance.
async fn start(args: &UpArgs) -> Result<Running> {
    let options = image::Options::new()?;
    let path = args.config.clone().unwrap_or_else(|| options.workspace.join("qemu/demo/weir.toml"));
    let mut config = message::check(&path)?;
    if let Some(address) = &args.address {
        config.address = Some(parse_address(address)?);
    }
    supervisor::plan::refuse_vsock(&config)?;
    let programs = Programs::find(&options.workspace)?;
    let net = plan::network(args, &mut config, programs.passt.is_some())?;
    let host = Host { launcher: Launcher::new()?, programs };
    for (port, _) in &net.forwards {
        check_port_free(net.listen, *port)?;
    }

    let roles: &[Role] =
        if args.no_supervisor { &[Role::Appliance] } else { &[Role::Appliance, Role::Supervisor] };
    let runtime_dir = match &args.runtime_dir {
        Some(path) => RuntimeDir::shared(path, roles)?,
        None => RuntimeDir::temporary()?,
    };
    let control = args.control.bind()?;
    let images = {
        let (config, kernel) = (config.clone(), args.kernel.clone());
        let out = runtime_dir.of(Role::Appliance)?.join("images");
        tokio::task::spawn_blocking(move || Images::build(&config, kernel, Some(out))).await?
    }
    .context("building the images")?;
    let least = image::least_memory_mib(images.appliance.bundle_len);
    ensure!(
        args.memory >= least,
        "--memory {}M is too little for this configuration, expected at least {least}M",
        args.memory
    );

    let plan = Plan::new(args, &config, &images, net)?;
    Running::start(plan, &host, runtime_dir, control).await
}

/// The appliance and everything around it. Dropping it kills them.
struct Running {
    appliance: Vm,
    /// Whether the minimum number of workers is running, if this process manages workers.
    settled: Option<watch::Receiver<bool>>,
    url: ready::Url,
    client: Client,
    shutdown_limit: Duration,
    /// Requests of `weir ctl drain`.
    drains: mpsc::UnboundedReceiver<Begun>,
    _tasks: JoinSet<()>,
    _directory: RuntimeDir,
}

impl Running {
    async fn start(plan: Plan, host: &Host, runtime: RuntimeDir, control: Option<OwnSocket>) -> Result<Self> {
        let vsock = runtime.vsock();
        let mut tasks = JoinSet::new();
        // Relays first: a stream to a port without a listener is not refused but times out.
        let (client, pools, settled) = match plan.pools {
            Some(pools) => {
                let directory = runtime.of(Role::Supervisor)?;
                let (handle, settled, supervising) =
                    Supervisor::start(pools, host.clone(), directory, vsock.clone(), false)?;
                // Ends only when told to, which does not happen here.
                tasks.spawn_local(async { drop(supervising.await) });
                (handle.client.clone(), Some(handle), Some(settled))
            }
            None => {
                let (client, connection) = Client::start(vsock.clone(), None);
                tasks.spawn_local(connection);
                (client, None, None)
            }
        };
        let (drain, drains) = mpsc::unbounded_channel();
        let logs = Arc::new(logs::State::default());
        if let Some(socket) = control {
            let responder =
                Responder { client: client.clone(), pools, drain: Some(drain), logs: Some(logs.clone()) };
            tasks.spawn_local(ctl::serve(socket, responder)?);
        }
        if let Some(log) = &plan.log {
            let path = Relay::path_for(&vsock, log.settings.port);
            // Left behind by a killed process.
            image::place::remove_socket(&path)?;
            tasks.spawn_local(logs::Collector::bind(&path, log, logs)?.run());
        }
        let appliance = Vm::start(&plan.appliance, host, &runtime.of(Role::Appliance)?, &vsock).await?;
        Ok(Self {
            appliance,
            settled,
            url: plan.url,
            client,
            shutdown_limit: plan.shutdown_limit,
            drains,
            _tasks: tasks,
            _directory: runtime,
        })
    }

    /// Serves until told to stop, and then until requests in progress are done, the time limit is over, or it is told again.
    async fn run(&mut self, signals: &mut Signals) -> Result<()> {
        let (told, order) = tokio::select! {
            cause = watch(&mut self.appliance, self.settled.as_mut(), &self.url) => return Err(anyhow!(cause)),
            name = signals.next() => (name, None),
            Some(order) = self.drains.recv() => ("weir ctl drain", Some(order)),
        };
        let limit = self.shutdown_limit;
        eprintln!("[weir] {told}: draining for at most {} s; repeat to stop at once", limit.as_secs());
        tokio::select! {
            how = drain::drain(&self.client, limit, order, &mut self.drains) => eprintln!("[weir] {how}"),
            cause = self.appliance.ended() => return Err(anyhow!(cause)),
            name = signals.next() => eprintln!("[weir] {name}: stopping at once"),
        }
        Ok(())
    }
}

/// Prints the ready line when everything is up, and returns why the appliance ended.
async fn watch(appliance: &mut Vm, settled: Option<&mut watch::Receiver<bool>>, url: &ready::Url) -> String {
    let serial = appliance.serial().clone();
    let all_up = async {
        if let Some(settled) = settled
            && settled.wait_for(|settled| *settled).await.is_err()
        {
            std::future::pending::<()>().await;
        }
        let url = url.answers(&serial).await;
        // A closed standard output is no reason to stop serving.
        let _ = writeln!(std::io::stdout(), "ready {url}").and_then(|()| std::io::stdout().flush());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        cause = appliance.ended() => cause,
        () = all_up => String::new(),
    }
}
