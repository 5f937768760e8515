//! The appliance's image: opens the bundle and runs the shard on this machine.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(target_os = "hermit")]
netdrv::entry!(main);

#[cfg(target_os = "hermit")]
fn main() -> Result<(), appliance::bundle::BundleError> {
    use appliance::bundle::{Bundle, BundleError};
    let payload = netdrv::hermit::payload::payload().ok_or(BundleError::Truncated)?;
    let bundle = Bundle::parse(payload)?;
    netdrv::println!(
        "bundle: {} bytes, {} sites, {} files",
        payload.len(),
        bundle.manifest.settings.sites.len(),
        bundle.manifest.files.len()
    );
    Ok(())
}

/// Only so that `cargo build` of the whole workspace works on the host.
#[cfg(not(target_os = "hermit"))]
fn main() {}
