//! Derives the workers and relays of a checked configuration.

use super::PoolPlan;
use super::worker::{Kind, Place};
use crate::host::accel::Accel;
use crate::relay::target::{Target, Until};
use crate::vm::Spec;
use anyhow::{Context, Result, bail};
use image::Image;
use image::config::{Address, Config, Pool, VmImage, Worker, WorkerKind};
use nix::unistd::{User, geteuid};
use std::path::Path;

/// Vsock context identifier of every worker VM, seen only by its own daemon.
const WORKER_CID: u32 = 4;

/// Kernel command line of every Linux worker: important messages on the serial console, power off after a panic, and no check of
/// the timer against the host's, which fails on a busy emulator.
const LINUX_APPEND: &str = "console=ttyS0 quiet panic=-1 no_timer_check";

// Every worker VM listens on the same port.
const _: () = assert!(weir_worker::PORT == weir_agent::PORT);

/// The plan of each pool. `loader` boots Hermit workers; `demo` is the demo worker.
pub(crate) fn pools(
    config: &Config,
    loader: Option<&Path>,
    demo: Option<&Image>,
    accel: Accel,
) -> Result<Vec<PoolPlan>> {
    let place = |pool: &Pool, number: usize, worker: &Worker| -> Result<Option<Place>> {
        let name = format!("{}-{number}", pool.name);
        let kind = match &worker.kind {
            WorkerKind::Vm { image, memory_mib } => {
                let spec = worker_vm(name.clone(), image, *memory_mib, loader, demo, accel)?;
                Kind::Vm(spec, weir_worker::PORT)
            }
            WorkerKind::Process(process) => {
                may_change_user(process.user.as_deref()).with_context(|| format!("pool {}", pool.name))?;
                Kind::Process(process.clone())
            }
            WorkerKind::Address(_) => return Ok(None),
        };
        Ok(Some(Place { name, kind, instances: worker.instances }))
    };
    let plan = |pool: &Pool| -> Result<PoolPlan> {
        let (mut places, mut addresses) = (Vec::new(), Vec::new());
        for (number, worker) in pool.workers.iter().enumerate() {
            places.extend(place(pool, number, worker)?);
            if let WorkerKind::Address(address) = &worker.kind {
                addresses.extend(relayed(address));
            }
        }
        let (name, policy, secured) = (pool.name.clone(), pool.supervision.clone(), pool.tls.is_some());
        Ok(PoolPlan { name, policy, places, addresses, secured })
    };
    config.pools.iter().map(plan).collect()
}

/// Checks that this process may run a worker as this user, which only root may.
fn may_change_user(user: Option<&str>) -> Result<()> {
    let Some(name) = user else { return Ok(()) };
    let found = User::from_name(name)?.with_context(|| format!("no user {name:?} on this machine"))?;
    if !geteuid().is_root() && found.uid != geteuid() {
        bail!("a worker with user {name:?}, expected weir to run as root, or as that user");
    }
    Ok(())
}

fn worker_vm(
    name: String,
    image: &VmImage,
    memory_mib: u32,
    loader: Option<&Path>,
    demo: Option<&Image>,
    accel: Accel,
) -> Result<Spec> {
    let (kernel, initrd, append) = match image {
        VmImage::Worker => {
            let image = demo.context("the worker image was not built")?;
            (image.loader.path.clone(), image.elf.path.clone(), None)
        }
        VmImage::Elf(path) => (loader.context("no loader was built")?.to_owned(), path.clone(), None),
        VmImage::Linux { kernel, initrd, append } => {
            let append = format!("{LINUX_APPEND} {append}");
            (kernel.clone(), initrd.clone(), Some(append.trim_end().to_owned()))
        }
    };
    Ok(Spec { name, kernel, initrd, append, memory_mib, cid: WORKER_CID, accel, net: None, more: Vec::new() })
}

/// Relay target of an existing server; `None` for vsock addresses, to which the appliance connects itself.
fn relayed(address: &Address) -> Option<Target> {
    match address {
        Address::Tcp { host, port } => Some(Target::Tcp(host.clone(), *port, Until::new())),
        Address::Unix(path) => Some(Target::Unix(path.clone(), Until::new())),
        Address::Vsock { .. } => None,
    }
}

/// Rejects vsock addresses: the appliance's vsock ends at this program.
pub(crate) fn refuse_vsock(config: &Config) -> Result<()> {
    let workers = config.pools.iter().flat_map(|pool| pool.workers.iter().map(move |w| (pool, w)));
    for (pool, worker) in workers {
        if let WorkerKind::Address(Address::Vsock { cid, port }) = worker.kind {
            bail!(
                "pool {}: vsock:{cid}:{port} cannot be reached from an appliance under `weir up`, whose vsock ends at this \
                 program; expected tcp:HOST:PORT or unix:PATH",
                pool.name
            );
        }
    }
    Ok(())
}
