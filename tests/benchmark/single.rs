//! Single-machine figures: start, size, memory, idle load.

use crate::machine::{Kind, Lab, get};
use crate::median;
use anyhow::Result;
use std::time::Duration;

const BOOTS: usize = 5;
/// Memory sizes tried, in MiB. QEMU's firmware does not work below the first one.
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 8..=64;

pub(crate) async fn measure(lab: &Lab) -> Result<()> {
    println!("| what | Weir | nginx on Debian's cloud kernel |\n|---|---|---|");
    let (weir, nginx) = (starts(lab, Kind::Weir).await?, starts(lab, Kind::Nginx).await?);
    println!("| QEMU start to first 200, median of {BOOTS} | {weir:.2} s | {nginx:.2} s |");
    let image = lab.appliance.loader.len + lab.appliance.elf.len - lab.appliance.bundle_len;
    println!("| loader + image without site content | {:.2} MB | |", image as f64 / 1e6);
    println!("| smallest -m that serves the demo's files | {} MiB | |", smallest(lab).await?);
    let (weir, nginx) = (idle(lab, Kind::Weir).await?, idle(lab, Kind::Nginx).await?);
    println!("| idle, share of one host core over 10 s | {weir:.1} % | {nginx:.1} % |\n");
    Ok(())
}

async fn starts(lab: &Lab, kind: Kind) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        times.push(lab.boot(kind).await?.first_200(Duration::from_secs(30))?);
    }
    Ok(median(&times))
}

async fn smallest(lab: &Lab) -> Result<u32> {
    let (mut fails, mut serves) = (*MEMORY_MIB.start(), *MEMORY_MIB.end());
    while serves - fails > 1 {
        let middle = fails.midpoint(serves);
        let machine = lab.boot_weir(middle).await?;
        let patience = Duration::from_secs(3);
        let whole =
            machine.first_200(patience).is_ok() && get("/1m.bin", patience).is_ok_and(|len| len == 1 << 20);
        if whole { serves = middle } else { fails = middle }
    }
    Ok(serves)
}

async fn idle(lab: &Lab, kind: Kind) -> Result<f64> {
    let machine = lab.boot(kind).await?;
    machine.first_200(Duration::from_secs(30))?;
    std::thread::sleep(Duration::from_secs(2));
    machine.cpu_share(Duration::from_secs(10))
}
