//! `weir supervise`: the supervisor as a separate process, beside an appliance run by `weir up --no-supervisor`.
//!
//! If it dies, the appliance keeps serving files and queues requests for workers. Its workers end with it, because their streams
//! run through its relays. The next supervisor finds what it left behind, and the appliance.

use crate::ctl::{self, ControlArgs, Responder};
use crate::host::accel::Accel;
use crate::host::child::{self, Launcher};
use crate::host::message;
use crate::host::programs::Programs;
use crate::host::runtime_dir::{self, Role, RuntimeDir};
use crate::host::signals::Signals;
use crate::supervisor::{Supervisor, plan};
use crate::up::images::Images;
use crate::vm::Host;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use tokio::task::JoinSet;

/// Arguments of `weir supervise`.
#[derive(Args, Clone, Debug)]
pub struct SuperviseArgs {
    /// The configuration the appliance was started with [default: the demo's]
    pub config: Option<PathBuf>,
    /// The directory given to `weir up --no-supervisor`.
    #[arg(long, value_name = "DIR", value_parser = runtime_dir::parse)]
    pub runtime_dir: PathBuf,
    /// Accelerator of worker VMs; auto is kvm if the CPU shows vmx or svm, otherwise tcg.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Directory of another libhermit.a and loader.
    #[arg(long, value_name = "DIR")]
    pub kernel: Option<PathBuf>,
    /// The socket for `weir ctl`.
    #[command(flatten)]
    pub control: ControlArgs,
}

/// Runs until a signal arrives and the workers have finished their requests (`Ok`), or until the appliance turns out to have
/// other pools (`Err`). Child processes never outlive it.
pub fn run(args: &SuperviseArgs) -> Result<()> {
    child::run(supervise(args))
}

async fn supervise(args: &SuperviseArgs) -> Result<()> {
    let mut signals = Signals::new()?;
    let options = image::Options::new()?;
    let path = args.config.clone().unwrap_or_else(|| options.workspace.join("qemu/demo/weir.toml"));
    let config = message::check(&path)?;
    plan::refuse_vsock(&config)?;
    let runtime = RuntimeDir::shared(&args.runtime_dir, &[Role::Supervisor])?;
    let control = args.control.bind()?;
    match child::end_marked(runtime.path()) {
        0 => {}
        ended => eprintln!("[weir] ended {ended} processes of an earlier supervisor"),
    }
    let launcher = Launcher::new()?.marking(runtime.path());
    let host = Host { launcher, programs: Programs::find(&options.workspace)? };
    let directory = runtime.of(Role::Supervisor)?;
    let building = {
        let (config, kernel, out) = (config.clone(), args.kernel.clone(), directory.join("images"));
        tokio::task::spawn_blocking(move || Images::worker(&config, kernel, out))
    };
    let worker = tokio::select! {
        built = building => built?.context("building the images")?,
        name = signals.next() => {
            eprintln!("[weir] {name}: stopping");
            return Ok(());
        }
    };
    let loader = worker.as_ref().map(|worker| worker.loader.path.as_path());
    let pools = plan::pools(&config, loader, worker.as_ref(), args.accel)?;
    let (handle, mut settled, supervising) =
        Supervisor::start(pools, host, directory, runtime.vsock(), true)?;
    let mut supervising = std::pin::pin!(supervising);
    let mut tasks = JoinSet::new();
    if let Some(socket) = control {
        let responder =
            Responder { client: handle.client.clone(), pools: Some(handle.clone()), drain: None, logs: None };
        tasks.spawn_local(ctl::serve(socket, responder)?);
    }
    tasks.spawn_local(async move {
        if settled.wait_for(|settled| *settled).await.is_ok() {
            // A closed standard output is no reason to stop.
            let _ = writeln!(std::io::stdout(), "ready").and_then(|()| std::io::stdout().flush());
        }
    });
    tokio::select! {
        ended = &mut supervising => return ended,
        name = signals.next() => eprintln!("[weir] {name}: waiting for workers to finish; repeat to stop at once"),
    }
    handle.leave();
    tokio::select! {
        ended = &mut supervising => ended,
        name = signals.next() => {
            eprintln!("[weir] {name}: stopping at once");
            Ok(())
        }
    }
}
