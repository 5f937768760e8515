//! A temporary tap interface for the appliance, with address and forwarding rules: `--net tap`.
//!
//! QEMU creates the interface, and the kernel removes it, its address and its settings when QEMU ends. The forwarding rules are
//! an nftables table with the interface's name: it is removed at the end, or, after a killed run, by the next run, which finds no
//! such interface.

use anyhow::{Context, Result, bail, ensure};
use image::toolchain::in_path;
use model::settings::StaticAddress;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long QEMU may take to create the interface.
const LIMIT: Duration = Duration::from_secs(20);
/// Prefix of our interfaces and tables; the process ID follows.
const PREFIX: &str = "weir";

/// Addresses and ports of an interface.
#[derive(Clone, Debug)]
pub struct Ports<'a> {
    /// The appliance's address, with the host's as gateway.
    pub address: &'a StaticAddress,
    /// The host address whose ports are forwarded.
    pub listen: Ipv4Addr,
    /// Forwarded ports: (host, appliance).
    pub forwards: &'a [(u16, u16)],
}

/// An interface that is up. Dropping it removes its rules.
#[derive(Debug)]
pub struct Tap {
    nft: PathBuf,
    name: String,
}

/// The name of this process's interface.
pub fn name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Checks the requirements; the error says in one line what is missing.
pub fn check(listen: Ipv4Addr) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "--net tap requires root; expected root, or --net passt");
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        ensure!(in_path(program).is_some(), "--net tap: {program} is not in PATH; install {package}");
    }
    let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    ensure!(
        listen.is_loopback() || forwards.trim() == "1",
        "--net tap --listen {listen}: IP forwarding is off; expected net.ipv4.ip_forward = 1 (sysctl), or --net passt"
    );
    Ok(())
}

/// Finds an unrouted network: the appliance's address in it, with the host's as gateway.
pub fn free_address() -> Result<StaticAddress> {
    let routes = std::fs::read_to_string("/proc/net/route").context("/proc/net/route")?;
    let network = (0..=255).find(|&n| is_free(&routes, Ipv4Addr::new(10, 83, n, 0)));
    let n = network.context("--net tap: every network in 10.83.0.0/16 is in use; expected --address")?;
    Ok(StaticAddress { address: [10, 83, n, 2], prefix_len: 24, gateway: Some([10, 83, n, 1]) })
}

/// Whether no route of /proc/net/route but the default route covers this network of 256 addresses.
fn is_free(routes: &str, network: Ipv4Addr) -> bool {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let covers = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (to, mask) = (number(columns.get(1)?)?, number(columns.get(7)?)?);
        let both = mask & 0xffff_ff00;
        Some(mask != 0 && to & both == u32::from(network) & both)
    };
    !routes.lines().skip(1).any(|line| covers(line) == Some(true))
}

impl Tap {
    /// Waits for the interface, and sets its address and rules.
    pub async fn bring_up(ports: &Ports<'_>) -> Result<Self> {
        let (name, limit) = (name(), Instant::now() + LIMIT);
        while !is_there(&name) {
            ensure!(
                Instant::now() < limit,
                "QEMU did not create interface {name} within {} s",
                LIMIT.as_secs()
            );
            sleep(Duration::from_millis(2)).await;
        }
        let tap = Self { nft: in_path("nft").context("no nft")?, name };
        let gateway = Ipv4Addr::from(ports.address.gateway.context("an address without a gateway")?);
        let own = format!("{gateway}/{}", ports.address.prefix_len);
        tell("ip", &["addr", "add", &own, "dev", &tap.name], "")?;
        tell("ip", &["link", "set", &tap.name, "up", "txqueuelen", "2000"], "")?;
        // Connections from this machine to itself leave through the interface with its address.
        let setting = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", tap.name);
        std::fs::write(&setting, "1").with_context(|| setting.clone())?;
        tap.remove_rules_of_the_dead();
        tell(&tap.nft, &["-f", "-"], &rules(&tap.name, ports))?;
        Ok(tap)
    }

    fn remove_rules_of_the_dead(&self) {
        let tables = Command::new(&self.nft).args(["list", "tables", "ip"]).stdin(Stdio::null()).output();
        let text =
            tables.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for name in text.lines().filter_map(|line| line.trim().strip_prefix("table ip ")) {
            let number = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok());
            if number.is_some() && !is_there(name) {
                // Another run may have removed it already.
                let _ = tell(&self.nft, &["delete", "table", "ip", name], "");
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = tell(&self.nft, &["delete", "table", "ip", &self.name], "");
    }
}

fn is_there(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// The nftables table that forwards the host's ports, for connections from outside and from the host itself.
fn rules(name: &str, Ports { address, listen, forwards }: &Ports) -> String {
    let to = match listen.is_unspecified() {
        true => "fib daddr type local".to_owned(),
        false => format!("ip daddr {listen}"),
    };
    let guest = Ipv4Addr::from(address.address);
    let lines: String = forwards
        .iter()
        .map(|(host, port)| format!("{to} tcp dport {host} dnat to {guest}:{port}\n"))
        .collect();
    format!(
        "table ip {name} {{\n\
         chain from-elsewhere {{ type nat hook prerouting priority dstnat\n{lines}}}\n\
         chain from-here {{ type nat hook output priority -100\n{lines}}}\n\
         chain loopback {{ type nat hook postrouting priority srcnat\noifname \"{name}\" ip saddr 127.0.0.0/8 masquerade\n}}\n}}\n"
    )
}

/// Runs a program with this input; its failure is one line.
fn tell(program: impl AsRef<Path>, args: &[&str], input: &str) -> Result<()> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    let started =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("starting {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it does not read, its own output says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("{}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} {}: {}", program.display(), args.join(" "), said.lines().next().unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000530A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        eth1\t8001530A\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0\n";

    #[test]
    fn a_network_is_free_that_only_the_default_route_leads_to() {
        assert!(!is_free(ROUTES, Ipv4Addr::new(10, 83, 0, 0)));
        assert!(!is_free(ROUTES, Ipv4Addr::new(10, 83, 1, 0)), "part of it is another's");
        assert!(is_free(ROUTES, Ipv4Addr::new(10, 83, 2, 0)));
        let wide = ROUTES.replace("00FFFFFF", "000000FF").replace("0000530A", "0000000A");
        assert!(!is_free(&wide, Ipv4Addr::new(10, 83, 2, 0)));
    }

    #[test]
    fn ports_of_one_address_or_of_all_are_forwarded() {
        let address =
            StaticAddress { address: [10, 83, 0, 2], prefix_len: 24, gateway: Some([10, 83, 0, 1]) };
        let listen = Ipv4Addr::new(192, 0, 2, 1);
        let text = rules("weir1", &Ports { address: &address, listen, forwards: &[(8080, 80)] });
        assert_eq!(text.matches("ip daddr 192.0.2.1 tcp dport 8080 dnat to 10.83.0.2:80\n").count(), 2);
        let ports = Ports { address: &address, listen: Ipv4Addr::UNSPECIFIED, forwards: &[(8080, 80)] };
        assert!(rules("weir1", &ports).contains("fib daddr type local tcp dport 8080 "));
    }
}
