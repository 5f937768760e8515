//! Derives the appliance's VM and ports from a checked configuration.

use super::ready::Url;
use super::{Images, UpArgs};
use crate::host::tap;
use crate::supervisor::PoolPlan;
use crate::supervisor::plan;
use crate::vm::Spec;
use crate::vm::net::{Net, NetKind, gateway};
use anyhow::{Result, bail, ensure};
use image::config::{Config, Log};
use model::settings::StaticAddress;
use model::url::Scheme;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The appliance's vsock context identifier. The standard reserves 0 to 2.
const APPLIANCE_CID: u32 = 3;
/// Minimum memory that QEMU's firmware and the loader boot with.
const LEAST_MEMORY_MIB: u32 = 16;

/// What to start.
pub(super) struct Plan {
    pub(super) appliance: Spec,
    /// `None` if another process manages workers.
    pub(super) pools: Option<Vec<PoolPlan>>,
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
        let pools = match args.no_supervisor {
            true => None,
            false => {
                let loader = images.worker.as_ref().map(|worker| worker.loader.path.as_path());
                Some(plan::pools(config, loader, images.worker.as_ref(), args.accel)?)
            }
        };
        let (log, shutdown_limit) = (config.log.clone(), config.shutdown_limit);
        Ok(Self { appliance, pools, url, log, shutdown_limit })
    }
}

/// The appliance's network. If ports are forwarded, its lowest http and https ports are reached at `--http-port` and
/// `--https-port`, all others at their own numbers.
pub(super) fn network(args: &UpArgs, config: &mut Config, passt: bool) -> Result<Net> {
    let kind = match &args.net {
        Some(kind) => kind.clone(),
        None if passt => NetKind::Passt,
        None => {
            eprintln!(
                "[weir] no passt in PATH: using QEMU's user network instead, which loses clients if many arrive at once and \
                 hides their addresses; install passt"
            );
            NetKind::User
        }
    };
    let ports = config.ports();
    let (http, https) = (config.first_port(Scheme::Http), config.first_port(Scheme::Https));
    let host = |port: u16| match Some(port) {
        port if port == http => args.http_port,
        port if port == https => args.https_port,
        _ => port,
    };
    let forwards: Vec<_> = match &kind {
        NetKind::Tap(_) => {
            ensure!(args.listen.is_none(), "--listen: no ports are forwarded with --net tap:IFNAME");
            Vec::new()
        }
        NetKind::Passt | NetKind::User | NetKind::OwnTap => {
            ports.iter().map(|&port| (host(port), port)).collect()
        }
    };
    ensure!(!ports.is_empty(), "{}: no site has a URL prefix", config.path.display());
    for (i, (host, port)) in forwards.iter().enumerate() {
        if let Some((_, other)) = forwards[..i].iter().find(|(other, _)| other == host) {
            bail!(
                "host port {host} would be forwarded to both ports {other} and {port} of the appliance; \
                 choose another --http-port or --https-port"
            );
        }
    }
    let listen = args.listen.unwrap_or(Ipv4Addr::LOCALHOST);
    if kind == NetKind::OwnTap {
        tap::check(listen)?;
        let address = config.address.map_or_else(tap::free_address, Ok)?;
        config.address = Some(StaticAddress { gateway: Some(gateway(&address).octets()), ..address });
    }
    Ok(Net { kind, address: config.address, listen, forwards })
}

/// Parses `--listen`.
pub(super) fn parse_listen(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err("IPv6 is not supported; expected an IPv4 address".into()),
        Err(_) => Err("expected an IPv4 address, such as 0.0.0.0".into()),
    }
}

/// Parses `--memory`: MiB, or a number with `M` or `G`.
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
