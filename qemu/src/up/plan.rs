//! From a checked configuration to the machines, relays and ports it takes.

use super::ready::Url;
use super::{Images, UpArgs};
use crate::host::accel::Accel;
use crate::relay::target::{Target, Until};
use crate::supervisor::PoolPlan;
use crate::supervisor::worker::{Kind, Place};
use crate::vm::Spec;
use crate::vm::net::{Net, NetKind};
use anyhow::{Context, Result, bail, ensure};
use appliance::site::Scheme;
use image::Image;
use image::config::{Address, Config, Log, Pool, VmImage, Worker, WorkerKind};
use std::path::Path;
use std::time::Duration;

/// The appliance's vsock context identifier. 0 to 2 are taken by the standard.
const APPLIANCE_CID: u32 = 3;
/// Every worker VM's: only its own daemon sees it.
const WORKER_CID: u32 = 4;
/// Least memory QEMU's firmware and the loader boot with.
const LEAST_MEMORY_MIB: u32 = 16;

/// Every Linux worker's kernel command line: messages that matter on the serial line, a panic ends the VM, and no test of
/// the timer against the host's, which a busy emulator fails.
const LINUX_APPEND: &str = "console=ttyS0 quiet panic=-1 no_timer_check";

// A worker VM is dialled at one port, whatever runs in it.
const _: () = assert!(weir_worker::PORT == weir_agent::PORT);

/// What to start.
pub(super) struct Plan {
    pub(super) appliance: Spec,
    pub(super) pools: Vec<PoolPlan>,
    pub(super) url: Url,
    pub(super) log: Option<Log>,
    pub(super) shutdown_limit: Duration,
}

impl Plan {
    pub(super) fn new(args: &UpArgs, config: &Config, images: &Images, net: Net) -> Result<Self> {
        let url = Url::new(&net, args, config)?;
        let appliance = Spec {
            name: "appliance".into(),
            kernel: images.appliance.loader.path.clone(),
            initrd: images.appliance.elf.path.clone(),
            append: None,
            memory_mib: args.memory,
            cid: APPLIANCE_CID,
            accel: args.accel,
            net: Some(net),
            more: args.qemu_arg.clone(),
        };
        let loader = &images.appliance.loader.path;
        let pools = pools(config, loader, images.worker.as_ref(), args.accel)?;
        let (log, shutdown_limit) = (config.log.clone(), config.shutdown_limit);
        Ok(Self { appliance, pools, url, log, shutdown_limit })
    }
}

/// What the supervisor has to do for each pool. `loader` boots Hermit workers, `demo` is the demo's.
pub(super) fn pools(
    config: &Config,
    loader: &Path,
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
            WorkerKind::Process { command, listens_on } => Kind::Process(command.clone(), *listens_on),
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
        Ok(PoolPlan { name: pool.name.clone(), policy: pool.supervision.clone(), places, addresses })
    };
    config.pools.iter().map(plan).collect()
}

fn worker_vm(
    name: String,
    image: &VmImage,
    memory_mib: u32,
    loader: &Path,
    demo: Option<&Image>,
    accel: Accel,
) -> Result<Spec> {
    let (kernel, initrd, append) = match image {
        VmImage::Worker => {
            let image = demo.context("the worker image was not built")?;
            (image.loader.path.clone(), image.elf.path.clone(), None)
        }
        VmImage::Elf(path) => (loader.to_owned(), path.clone(), None),
        VmImage::Linux { kernel, initrd, append } => {
            let append = format!("{LINUX_APPEND} {append}");
            (kernel.clone(), initrd.clone(), Some(append.trim_end().to_owned()))
        }
    };
    Ok(Spec { name, kernel, initrd, append, memory_mib, cid: WORKER_CID, accel, net: None, more: Vec::new() })
}

/// Where a relay leads to a worker that is there already. The appliance dials vsock addresses itself.
fn relayed(address: &Address) -> Option<Target> {
    match address {
        Address::Tcp { host, port } => Some(Target::Tcp(host.clone(), *port, Until::new())),
        Address::Unix(path) => Some(Target::Unix(path.clone(), Until::new())),
        Address::Vsock { .. } => None,
    }
}

/// Under `weir up` the appliance's vsock ends at this program.
pub(super) fn refuse_vsock(config: &Config) -> Result<()> {
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

/// The appliance's network. In user mode its lowest ports for http and https are reached at `--http-port` and
/// `--https-port`, any other at its own number.
pub(super) fn network(args: &UpArgs, config: &Config) -> Result<Net> {
    let ports = config.ports();
    let (http, https) = (config.first_port(Scheme::Http), config.first_port(Scheme::Https));
    let host = |port: u16| match Some(port) {
        port if port == http => args.http_port,
        port if port == https => args.https_port,
        _ => port,
    };
    let forwards: Vec<_> = match &args.net {
        NetKind::Tap(_) => Vec::new(),
        NetKind::User => ports.iter().map(|&port| (host(port), port)).collect(),
    };
    ensure!(!ports.is_empty(), "{}: no site has a URL prefix", config.path.display());
    for (i, (host, port)) in forwards.iter().enumerate() {
        if let Some((_, other)) = forwards[..i].iter().find(|(other, _)| other == host) {
            bail!(
                "port {host} of the host would lead to the appliance's ports {other} and {port}; \
                 choose another --http-port or --https-port"
            );
        }
    }
    Ok(Net { kind: args.net.clone(), address: config.address, forwards })
}

/// Reads `--memory`: MiB, or with `M` or `G`.
pub(super) fn parse_memory(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix(['G', 'g']) {
        Some(number) => (number, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let mib = number.parse::<u32>().ok().and_then(|n| n.checked_mul(unit));
    mib.filter(|mib| (LEAST_MEMORY_MIB..=65_536).contains(mib))
        .ok_or_else(|| format!("expected a size such as 64M, at least {LEAST_MEMORY_MIB}M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("64M"), Ok(64));
        assert_eq!(parse_memory("48"), Ok(48));
        assert_eq!(parse_memory("1G"), Ok(1024));
        for bad in ["", "M", "15M", "-1", "64K", "9999999999", "65G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }
}
