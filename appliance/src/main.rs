//! The appliance's image: opens the bundle and runs one shard on the devices of the machine.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(target_os = "hermit")]
mod image {
    use appliance::boot::{self, ConfigurationError};
    use appliance::shard::{SettingsError, Shard, ShardConfig, Wake};
    use appliance::time::Instant;
    use appliance::tls::Keys;
    use core::fmt;
    use model::id::SiteId;
    use model::memory::{self, TooLittleMemory};
    use netdrv::fwcfg::FwCfgError;
    use netdrv::hermit::{Entropy, FwCfg, Machine, StartError, heap_use, payload};
    use netdrv::println;
    use netdrv::queue::QueueError;
    use netdrv::transport::Faults;

    netdrv::entry!(main);

    /// Why the appliance does not start. Printed before the machine powers off with a failure code.
    enum Failure {
        FwCfg(&'static str, FwCfgError),
        Configuration(ConfigurationError),
        Machine(StartError),
        Memory(TooLittleMemory),
        /// There are pools, but no vsock device to reach their workers.
        NoWorkers,
        Settings(SettingsError),
    }

    /// Printed by `netdrv::entry!` after `error: `.
    impl fmt::Debug for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::FwCfg(name, error) => write!(f, "fw_cfg {name}: {error}"),
                Self::Configuration(error) => write!(f, "{error}"),
                Self::Machine(error) => write!(f, "this machine cannot be used: {error:?}"),
                Self::Memory(error) => write!(f, "{error}"),
                Self::NoWorkers => {
                    f.write_str("the configuration has pools, expected a virtio-vsock device to reach them")
                }
                Self::Settings(error) => write!(f, "settings: {error}"),
            }
        }
    }

    /// Data from the host.
    struct Host {
        device: Option<FwCfg>,
        /// Bytes read so far.
        len: u64,
    }

    impl Host {
        /// Reads the item with this name. It is kept for the life of the machine.
        fn take(&mut self, name: &'static str) -> Result<Option<&'static [u8]>, Failure> {
            let Some(device) = &mut self.device else { return Ok(None) };
            match device.read(name) {
                Ok(content) => {
                    let content = content.map(|content| &*content.leak());
                    self.len += content.map_or(0, |content| content.len() as u64);
                    Ok(content)
                }
                Err(error) => {
                    if let FwCfgError::TooLarge(len) = error {
                        self.len += u64::from(len);
                        self.leaves_enough_memory()?;
                    }
                    Err(Failure::FwCfg(name, error))
                }
            }
        }

        /// Checks that enough memory is left to serve: better now than to fail in the middle of a response.
        fn leaves_enough_memory(&mut self) -> Result<(), Failure> {
            let built_in = payload::payload().map_or(0, |bundle| bundle.len() as u64);
            let ram = self.device.as_mut().and_then(|device| device.ram_bytes().ok());
            memory::check(heap_use().total as u64, built_in, self.len, ram).map_err(Failure::Memory)
        }
    }

    /// Secret numbers for hash tables and initial sequence numbers. Without a source of random numbers, they
    /// come from the clock, which protects against accidents only; keys are never made from them.
    fn seed(machine: &Machine) -> [u64; 4] {
        let (clock, entropy) = (machine.clock(), machine.entropy());
        if !entropy.is_seeded() {
            println!("weir: no source of random numbers, expected virtio-rng, RDSEED or RDRAND");
        }
        let mut state = clock.now_ns() ^ clock.unix_seconds().rotate_left(32);
        core::array::from_fn(|_| {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            entropy.seed_u64().unwrap_or(mixed ^ mixed >> 27 ^ clock.now_ns())
        })
    }

    /// Reports certificates that have expired or soon will.
    fn report_expiry<N: netdrv::nic::Nic, H: appliance::hub::Hub>(
        shard: &Shard<N, H>,
        settings: &model::settings::Settings,
        now: u64,
    ) {
        const SOON: u64 = 14 * 86_400;
        let Some(store) = shard.certificates() else { return };
        for (id, site) in SiteId::first(settings.sites.len()).zip(&settings.sites) {
            for end in store.expires(id).iter().filter(|&&end| end < now + SOON) {
                let date = model::date::format(*end);
                let date = core::str::from_utf8(&date).unwrap_or_default();
                println!("weir: site {}: a certificate expires {date}", site.name);
            }
        }
    }

    /// Reports devices that had to be reset.
    fn report_faults(before: &mut [(&str, Faults); 2], now: [(&'static str, Faults); 2]) {
        for ((_, before), (name, faults)) in before.iter_mut().zip(now) {
            if before.resets != faults.resets {
                let broke = faults.ring_errors != before.ring_errors;
                let cause =
                    faults.last.filter(|_| broke).map_or("requested by the device", QueueError::as_str);
                let what = if faults.given_up { "given up after reset" } else { "reset" };
                println!("weir: {name}: {what} {}: {cause}", faults.resets);
                *before = faults;
            }
        }
    }

    fn main() -> Result<(), Failure> {
        let mut machine = Machine::start().map_err(Failure::Machine)?;
        let mut host = Host { device: machine.fw_cfg(), len: 0 };
        let (given, given_keys) = (host.take(boot::CONFIG_NAME)?, host.take(boot::KEYS_NAME)?);
        host.leaves_enough_memory()?;
        let configuration = boot::choose(given, payload::payload()).map_err(Failure::Configuration)?;
        println!("weir: configuration: {configuration}");
        let keys = given_keys.map(boot::keys).transpose().map_err(Failure::Configuration)?;
        if let Some(keys) = &keys {
            println!("weir: keys: fw_cfg {}, {} entries", boot::KEYS_NAME, keys.manifest.files.len());
        }
        let bundle = configuration.bundle;
        let (clock, seed) = (machine.clock(), seed(&machine));
        let nic = machine.take_nic().map_err(Failure::Machine)?;
        let vsock = match machine.take_vsock() {
            Ok(vsock) => Some(vsock),
            Err(StartError::NoVsock) if bundle.manifest.settings.pools.is_empty() => None,
            Err(StartError::NoVsock) => return Err(Failure::NoWorkers),
            Err(error) => return Err(Failure::Machine(error)),
        };
        let heap = heap_use();
        let free = heap.total.saturating_sub(heap.allocated);
        let settings = &bundle.manifest.settings;
        let entropy = Entropy::status;
        let config =
            ShardConfig { entropy, ..ShardConfig::for_memory(free, settings, seed, clock.unix_seconds()) };
        let now = || Instant::from_nanos(clock.now_ns());
        let handed = keys.as_ref().map_or(Keys::NONE, Keys::new);
        let mut shard = Shard::new(config, &bundle, handed, nic, vsock, now()).map_err(Failure::Settings)?;
        if let Some(error) = shard.tls_error() {
            println!("weir: https is not served: {error}");
        }
        for (pool, error) in shard.hub().without_links() {
            println!("weir: pool {pool} is out of service: {error}");
        }
        let missing = appliance::tls::missing_features();
        if settings.uses_tls() && !missing.is_empty() {
            println!("weir: TLS is slow: the processor lacks {}", missing.join(", "));
        }
        report_expiry(&shard, settings, clock.unix_seconds());
        println!(
            "weir: {} sites, {} pools, {} files; {} KiB free",
            bundle.manifest.settings.sites.len(),
            bundle.manifest.settings.pools.len(),
            bundle.manifest.files.len(),
            free >> 10,
        );
        let (mut address, mut faults) = (None, shard.faults());
        loop {
            let wake = shard.poll(now());
            report_faults(&mut faults, shard.faults());
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

/// Lets `cargo build` of the whole workspace succeed on the host.
#[cfg(not(target_os = "hermit"))]
fn main() {
    eprintln!("weir-appliance is a Hermit program: build its image with `weir image build`");
    std::process::exit(1);
}
