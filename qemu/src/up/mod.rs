//! `weir up`: everything in order, and everything down again.

mod drain;
pub(crate) mod images;
mod plan;
mod ready;

use crate::ctl::{self, Begun, ControlArgs, Desk};
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

/// What `weir up` is told.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// The configuration; the demo's if there is none.
    pub config: Option<PathBuf>,
    /// Port of the host that leads to the appliance's first HTTP port. Its other ports keep their numbers.
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub http_port: u16,
    /// Port of the host that leads to the appliance's first HTTPS port.
    #[arg(long, value_name = "N", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub https_port: u16,
    /// The appliance's memory.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = plan::parse_memory)]
    pub memory: u32,
    /// Accelerator; auto takes kvm where the CPU shows vmx or svm.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// `passt` (if left out, and it is installed), `user` for QEMU's user network, which loses clients where many come at once,
    /// `tap` for an interface that is made and removed, as root, or `tap:IFNAME` for an existing one.
    #[arg(long, value_name = "NET")]
    pub net: Option<NetKind>,
    /// The host's IPv4 address at which its ports lead to the appliance: 127.0.0.1 if left out; 0.0.0.0 for all.
    #[arg(long, value_name = "ADDR", value_parser = plan::parse_listen)]
    pub listen: Option<Ipv4Addr>,
    /// Static IPv4 address of the appliance instead of DHCP, such as 192.168.7.2/24.
    #[arg(long, value_name = "CIDR")]
    pub address: Option<String>,
    /// A directory with another libhermit.a and loader.
    #[arg(long, value_name = "DIR")]
    pub kernel: Option<PathBuf>,
    /// The socket for `weir ctl`.
    #[command(flatten)]
    pub control: ControlArgs,
    /// A directory for sockets and images, kept; a temporary one if left out.
    #[arg(long, value_name = "DIR", value_parser = runtime_dir::parse)]
    pub runtime_dir: Option<PathBuf>,
    /// Do not look after workers: `weir supervise --runtime-dir DIR` does, as a process of its own.
    #[arg(long, requires = "runtime_dir")]
    pub no_supervisor: bool,
    /// One more argument for the appliance's QEMU; may be repeated (its network is `net0`).
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

/// Runs until a signal comes and what is under way is done (Ok), or something that cannot be mended ends (Err). Nothing it started is left either way.
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

/// The appliance and everything around it. Dropping it kills it.
struct Running {
    appliance: Vm,
    /// Whether the workers that are kept running are there, where that is this program's business.
    settled: Option<watch::Receiver<bool>>,
    url: ready::Url,
    client: Client,
    shutdown_limit: Duration,
    /// Orders of `weir ctl drain`.
    drains: mpsc::UnboundedReceiver<Begun>,
    _tasks: JoinSet<()>,
    _directory: RuntimeDir,
}

impl Running {
    async fn start(plan: Plan, host: &Host, runtime: RuntimeDir, control: Option<OwnSocket>) -> Result<Self> {
        let vsock = runtime.vsock();
        let mut tasks = JoinSet::new();
        // Relays first: a stream to a port where nobody listens is not refused but times out.
        let (client, pools, settled) = match plan.pools {
            Some(pools) => {
                let directory = runtime.of(Role::Supervisor)?;
                let (handle, settled, supervising) =
                    Supervisor::start(pools, host.clone(), directory, vsock.clone(), false)?;
                // It ends only when it is told to, which nobody does.
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
            let desk = Desk { client: client.clone(), pools, drain: Some(drain), logs: Some(logs.clone()) };
            tasks.spawn_local(ctl::serve(socket, desk)?);
        }
        if let Some(log) = &plan.log {
            let path = Relay::path_for(&vsock, log.settings.port);
            // Left over from one that was killed.
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

    /// Serves until it is told to end, and then until what is under way is done, the time for that is over, or it is told again.
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

/// Says when everything is up, and returns why the appliance has ended.
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
