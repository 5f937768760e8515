//! From a checked configuration to the machines, relays and ports it takes.

use super::ready::Url;
use super::{Images, UpArgs};
use crate::relay::target::Target;
use crate::supervisor::lifecycle::Policy;
use crate::vm::Spec;
use crate::vm::net::{Net, NetKind};
use anyhow::{Context, Result, bail, ensure};
use appliance::site::Scheme;
use image::config::{Address, Config, Log, VmImage, Worker, WorkerKind};
use std::time::Duration;

/// The appliance's vsock context identifier; workers follow. 0 to 2 are taken by the standard.
const FIRST_CID: u32 = 3;
/// Least memory QEMU's firmware and the loader boot with.
const LEAST_MEMORY_MIB: u32 = 16;

/// Every Linux worker's kernel command line: messages that matter on the serial line, a panic ends the VM, and no test of
/// the timer against the host's, which a busy emulator fails.
const LINUX_APPEND: &str = "console=ttyS0 quiet panic=-1 no_timer_check";
/// A Linux worker may take this long to answer: under emulation an interpreter and its libraries start slowly.
const LINUX_START_LIMIT: Duration = Duration::from_secs(90);

// A worker VM is dialled at one port, whatever runs in it.
const _: () = assert!(weir_worker::PORT == weir_agent::PORT);

/// What to start.
pub(super) struct Plan {
    pub(super) appliance: Spec,
    pub(super) workers: Vec<PlannedVm>,
    /// Relays to workers that are there already: the port the appliance dials, and where it leads.
    pub(super) addresses: Vec<(u32, Target)>,
    pub(super) url: Url,
    pub(super) log: Option<Log>,
}

/// A worker VM to start.
pub(super) struct PlannedVm {
    pub(super) spec: Spec,
    pub(super) port: u32,
    pub(super) relay_port: u32,
    pub(super) policy: Policy,
}

impl Plan {
    pub(super) fn new(args: &UpArgs, config: &Config, images: &Images, net: Net) -> Result<Self> {
        let loader = images.appliance.loader.path.clone();
        let (mut workers, mut addresses) = (Vec::new(), Vec::new());
        for pool in &config.pools {
            for (number, worker) in pool.workers.iter().enumerate() {
                let name = format!("{}-{number}", pool.name);
                match &worker.kind {
                    WorkerKind::Vm { image, memory_mib } => {
                        let (kernel, initrd, append) = match image {
                            VmImage::Worker => {
                                let image =
                                    images.worker.as_ref().context("the worker image was not built")?;
                                (image.loader.path.clone(), image.elf.path.clone(), None)
                            }
                            VmImage::Elf(path) => (loader.clone(), path.clone(), None),
                            VmImage::Linux { kernel, initrd, append } => {
                                let append = format!("{LINUX_APPEND} {append}");
                                (kernel.clone(), initrd.clone(), Some(append.trim_end().to_owned()))
                            }
                        };
                        let cid = FIRST_CID + 1 + u32::try_from(workers.len())?;
                        let spec = Spec {
                            name,
                            kernel,
                            initrd,
                            append,
                            memory_mib: *memory_mib,
                            cid,
                            accel: args.accel,
                            net: None,
                            more: Vec::new(),
                        };
                        let (port, relay_port) = (weir_worker::PORT, worker.dial.port);
                        let mut policy = Policy::default();
                        if spec.append.is_some() {
                            policy.start_limit = LINUX_START_LIMIT;
                        }
                        workers.push(PlannedVm { spec, port, relay_port, policy });
                    }
                    WorkerKind::Address(address) => {
                        let target =
                            relayed(address, worker).with_context(|| format!("pool {}", pool.name))?;
                        addresses.push((worker.dial.port, target));
                    }
                }
            }
        }
        let url = Url::new(&net, args, config)?;
        let appliance = Spec {
            name: "appliance".into(),
            kernel: loader,
            initrd: images.appliance.elf.path.clone(),
            append: None,
            memory_mib: args.memory,
            cid: FIRST_CID,
            accel: args.accel,
            net: Some(net),
            more: args.qemu_arg.clone(),
        };
        Ok(Self { appliance, workers, addresses, url, log: config.log.clone() })
    }
}

fn relayed(address: &Address, worker: &Worker) -> Result<Target> {
    Ok(match address {
        Address::Tcp { host, port } => Target::Tcp(host.clone(), *port),
        Address::Unix(path) => Target::Unix(path.clone()),
        Address::Vsock { .. } => bail!(
            "vsock:{}:{} cannot be reached from an appliance under `weir up`, whose vsock ends at this program; \
             expected tcp:HOST:PORT or unix:PATH",
            worker.dial.cid,
            worker.dial.port
        ),
    })
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
