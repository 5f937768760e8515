//! The demo's site `slow.test`, limited to 512 KiB/s.

use crate::demo::{Demo, SharedTest};
use anyhow::{Result, ensure};
use std::time::Instant;
use weir_tests::curl::curl;
use weir_tests::pattern;

pub(crate) const TESTS: &[(&str, SharedTest)] = &[("slow_site::takes_its_time", takes_its_time)];

fn takes_its_time(demo: &Demo) -> Result<()> {
    let began = Instant::now();
    let got = curl(["-H", "Host: slow.test", &demo.url("/8m.bin")])?.stdout;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(got == pattern(8 << 20), "{} bytes, which differ", got.len());
    // 16 s minus the burst. How much longer it takes depends on the host; the simulator measures it exactly.
    ensure!(seconds >= 15.5, "8 MiB in {seconds:.2} s");
    Ok(())
}
