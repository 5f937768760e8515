//! The appliance's image: opens the bundle and runs one shard on this machine's devices.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(target_os = "hermit")]
mod image {
    use appliance::boot::{self, ConfigurationError, Origin};
    use appliance::shard::{SettingsError, Shard, ShardConfig, Wake};
    use appliance::time::Instant;
    use core::fmt;
    use netdrv::fwcfg::FwCfgError;
    use netdrv::hermit::{Machine, StartError, heap_use, payload};
    use netdrv::println;

    netdrv::entry!(main);

    /// Why the appliance does not start; printed before the machine powers off with a failure code.
    enum Failure {
        FwCfg(&'static str, FwCfgError),
        Configuration(ConfigurationError),
        Machine(StartError),
        /// No source of real random numbers.
        NoEntropy,
        /// Pools, but no vsock device that leads to their workers.
        NoWorkers,
        Settings(SettingsError),
    }

    /// What `netdrv::entry!` prints behind `error: `.
    impl fmt::Debug for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::FwCfg(name, error) => write!(f, "fw_cfg {name}: {error}"),
                Self::Configuration(error) => write!(f, "{error}"),
                Self::Machine(error) => write!(f, "this machine cannot be used: {error:?}"),
                Self::NoEntropy => {
                    f.write_str("no source of random numbers, expected virtio-rng, RDSEED or RDRAND")
                }
                Self::NoWorkers => {
                    f.write_str("the configuration has pools, expected a virtio-vsock device to reach them")
                }
                Self::Settings(error) => write!(f, "settings: {error}"),
            }
        }
    }

    /// What the host gave under `name`; it stays for the life of the machine.
    fn from_host(machine: &Machine, name: &'static str) -> Result<Option<&'static [u8]>, Failure> {
        let Some(mut device) = machine.fw_cfg() else { return Ok(None) };
        let content = device.read(name).map_err(|error| Failure::FwCfg(name, error))?;
        Ok(content.map(|content| &*content.leak()))
    }

    fn main() -> Result<(), Failure> {
        let mut machine = Machine::start().map_err(Failure::Machine)?;
        let given = from_host(&machine, boot::CONFIG_NAME)?;
        let configuration = boot::choose(given, payload::payload()).map_err(Failure::Configuration)?;
        println!("weir: configuration: {configuration}");
        if let Some(keys) = from_host(&machine, boot::KEYS_NAME)? {
            let entries = boot::check_keys(keys).map_err(Failure::Configuration)?;
            println!(
                "weir: keys: {}, {entries} entries, not used by this version",
                Origin::FwCfg(boot::KEYS_NAME)
            );
        }
        let bundle = configuration.bundle;
        let (clock, entropy) = (machine.clock(), machine.entropy());
        let mut seed = [0; 4];
        for word in &mut seed {
            *word = entropy.seed_u64().map_err(|_| Failure::NoEntropy)?;
        }
        let nic = machine.take_nic().map_err(Failure::Machine)?;
        let vsock = match machine.take_vsock() {
            Ok(vsock) => Some(vsock),
            Err(StartError::NoVsock) if bundle.manifest.settings.pools.is_empty() => None,
            Err(StartError::NoVsock) => return Err(Failure::NoWorkers),
            Err(error) => return Err(Failure::Machine(error)),
        };
        let heap = heap_use();
        let free = heap.total.saturating_sub(heap.allocated);
        let config = ShardConfig::for_memory(free, seed, clock.unix_seconds());
        let now = || Instant::from_nanos(clock.now_ns());
        let mut shard = Shard::new(config, &bundle, nic, vsock, now()).map_err(Failure::Settings)?;
        println!(
            "weir: {} sites, {} pools, {} files; {} KiB free",
            bundle.manifest.settings.sites.len(),
            bundle.manifest.settings.pools.len(),
            bundle.manifest.files.len(),
            free >> 10,
        );
        let mut address = None;
        loop {
            let wake = shard.poll(now());
            if shard.address() != address {
                address = shard.address();
                match address {
                    Some(address) => println!("weir: serving at {address}"),
                    None => println!("weir: address lost"),
                }
            }
            if let Wake::At(deadline) = wake
                && shard.arm()
            {
                machine.wait(deadline.map(Instant::as_nanos));
            }
        }
    }
}

/// Only so that `cargo build` of the whole workspace works on the host.
#[cfg(not(target_os = "hermit"))]
fn main() {
    eprintln!("weir-appliance is a Hermit program: build its image with `weir image build`");
    std::process::exit(1);
}
