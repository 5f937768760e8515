//! The appliance's image: opens the bundle and runs one shard on this machine's devices.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(target_os = "hermit")]
mod image {
    use appliance::bundle::{Bundle, BundleError};
    use appliance::shard::{SettingsError, Shard, ShardConfig, Wake};
    use appliance::time::Instant;
    use netdrv::hermit::{Machine, StartError, heap_use, payload};
    use netdrv::println;

    netdrv::entry!(main);

    /// Why the appliance does not start; printed before the machine powers off with a failure code.
    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    enum Failure {
        NoBundle,
        Bundle(BundleError),
        Machine(StartError),
        /// No source of real random numbers.
        NoEntropy,
        Settings(SettingsError),
    }

    fn main() -> Result<(), Failure> {
        let mut machine = Machine::start().map_err(Failure::Machine)?;
        let bundle = payload::payload().ok_or(Failure::NoBundle)?;
        let bundle = Bundle::parse(bundle).map_err(Failure::Bundle)?;
        let (clock, entropy) = (machine.clock(), machine.entropy());
        let mut seed = [0; 4];
        for word in &mut seed {
            *word = entropy.seed_u64().map_err(|_| Failure::NoEntropy)?;
        }
        let nic = machine.take_nic().map_err(Failure::Machine)?;
        let vsock = machine.take_vsock().map_err(Failure::Machine)?;
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
